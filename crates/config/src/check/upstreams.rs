//! Upstreams: endpoints that can serve, times and numbers that make sense, files that are there.

use lockgate_core::Time;

use super::Findings;
use crate::decode::nearest;
use crate::model::{Document, Health, Retry, Sticky, Upstream};
use crate::source::Source;

/// More tries than this only make an outage worse.
const MAX_ATTEMPTS: u32 = 10;
const MAX_WEIGHT: u32 = 1_000_000;

pub(super) fn check(document: &Document, findings: &mut Findings<'_>) {
    for (name, upstream) in &document.upstreams {
        if findings.source.node(&["upstreams", name]).is_some() {
            one(name, upstream, findings);
        }
    }
}

fn one(name: &str, upstream: &Upstream, findings: &mut Findings<'_>) {
    let mut wrong = Wrong { name, source: findings.source, found: Vec::new() };
    endpoints(upstream, &mut wrong);
    if let Some(health) = &upstream.health {
        probes(health, &mut wrong);
    }
    if upstream.outlier.as_ref().is_some_and(|outlier| outlier.consecutive == 0) {
        let message = "`consecutive` is at least 1; `outlier: off` ends it";
        wrong.say(&["outlier", "consecutive"], message);
    }
    if upstream.breaker.as_ref().is_some_and(|breaker| breaker.of_last == 0 || breaker.trials == 0)
    {
        wrong.say(&["breaker"], "`of_last` and `trials` are at least 1; `breaker: off` ends it");
    }
    if upstream.timeout.connect == Time::default() {
        wrong.say(&["timeout", "connect"], "`timeout.connect` cannot be zero");
    }
    if let Some(message) = retry(&upstream.retry) {
        wrong.say(&["retry"], message);
    }
    if let Some(Sticky::Cookie { name, .. } | Sticky::Header { name }) = &upstream.sticky
        && http::HeaderName::from_bytes(name.as_bytes()).is_err()
    {
        wrong.say(&["sticky"], "a cookie's or header's name has letters, digits, `-` and `_`");
    }
    if upstream.tls.as_ref().is_some_and(|tls| tls.cert.is_some() != tls.key.is_some()) {
        wrong.say(&["tls"], "`cert` and `key` belong together");
    }
    for (path, message) in wrong.found {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        findings.error(&path, message);
    }
    if let Some(tls) = &upstream.tls {
        for (key, file) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
            findings.file(&["upstreams", name, "tls", key], file.as_deref());
        }
    }
}

fn endpoints(upstream: &Upstream, wrong: &mut Wrong<'_>) {
    let source = wrong.source;
    let none_written = source.node(&["upstreams", wrong.name, "endpoints"]).is_none_or(|node| {
        source.tree.pairs(node).is_empty() && source.tree.items(node).is_empty()
    });
    let weights = || upstream.endpoints.values().map(|endpoint| endpoint.weight);
    // A mistyped key has been complained about.
    let node = source.node(&["upstreams", wrong.name]);
    let mistyped = node.is_some_and(|node| {
        let keys = source.tree.pairs(node).iter().filter_map(|pair| source.tree.written(pair.0));
        keys.into_iter().any(|key| key != "endpoints" && nearest(key, &["endpoints"]).is_some())
    });
    if upstream.endpoints.is_empty() && none_written && !mistyped {
        wrong.say(&["endpoints"], "an upstream needs at least one endpoint");
    } else if !upstream.endpoints.is_empty() && weights().all(|weight| weight == 0) {
        wrong.say(&["endpoints"], "all endpoints have weight 0, so none would be used");
    }
    if weights().any(|weight| weight > MAX_WEIGHT) {
        wrong.say(&["endpoints"], "a weight is at most 1000000");
    }
}

fn probes(health: &Health, wrong: &mut Wrong<'_>) {
    if !health.path.starts_with('/') {
        wrong.say(&["health", "path"], "a health path begins with `/`");
    }
    if health.interval.0.as_millis() < 100 {
        wrong.say(&["health", "interval"], "health checks are at least 100ms apart");
    }
    if health.timeout == Time::default() {
        wrong.say(&["health", "timeout"], "a health check's `timeout` cannot be zero");
    }
    if health.unhealthy_after == 0 || health.healthy_after == 0 {
        wrong.say(&["health"], "`unhealthy_after` and `healthy_after` are at least 1");
    }
    if health.port == Some(0) {
        wrong.say(&["health", "port"], "port 0 cannot be probed");
    }
}

/// What is wrong with one upstream, and under which path of keys.
struct Wrong<'s> {
    name: &'s str,
    source: &'s Source,
    found: Vec<(Vec<String>, String)>,
}

impl Wrong<'_> {
    fn say(&mut self, keys: &[&str], message: &str) {
        let (key, rest) = keys.split_first().map_or(("", &[][..]), |(key, rest)| (*key, rest));
        let own = ["upstreams", self.name, key];
        // What is inherited is wrong where it was written.
        let inherited =
            self.source.node(&own).is_none() && self.source.node(&["defaults", key]).is_some();
        let start = if inherited { vec!["defaults", key] } else { own.to_vec() };
        let path = start.into_iter().chain(rest.iter().copied()).map(str::to_owned).collect();
        self.found.push((path, message.to_owned()));
    }
}

/// What is wrong with a retry, of an upstream or a route.
pub(super) fn retry(retry: &Retry) -> Option<&'static str> {
    (retry.attempts > MAX_ATTEMPTS).then_some("`attempts` is at most 10")
}
