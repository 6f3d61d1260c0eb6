//! Upstreams: endpoints that can serve, times and numbers that make sense, files that are there.

use lockgate_core::Time;

use super::Findings;
use crate::model::{Document, Retry, Sticky, Upstream};

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
    let at = |keys: &[&'static str]| -> Vec<String> {
        let (key, rest) = keys.split_first().map_or(("", &[][..]), |(key, rest)| (*key, rest));
        let own = ["upstreams", name, key];
        // What is inherited is wrong where it was written.
        let inherited = findings.source.node(&own).is_none()
            && findings.source.node(&["defaults", key]).is_some();
        let start = if inherited { vec!["defaults", key] } else { own.to_vec() };
        start.into_iter().chain(rest.iter().copied()).map(str::to_owned).collect()
    };
    let mut wrong: Vec<(Vec<String>, String)> = Vec::new();
    let mut say = |keys: &[&'static str], message: &str| wrong.push((at(keys), message.into()));
    let source = findings.source;
    let none_written = source.node(&["upstreams", name, "endpoints"]).is_none_or(|node| {
        source.tree.pairs(node).is_empty() && source.tree.items(node).is_empty()
    });
    if upstream.endpoints.is_empty() && none_written {
        say(&["endpoints"], "an upstream needs at least one endpoint");
    } else if !upstream.endpoints.is_empty()
        && upstream.endpoints.values().all(|endpoint| endpoint.weight == 0)
    {
        say(&["endpoints"], "all endpoints have weight 0, so none would be used");
    }
    if upstream.endpoints.values().any(|endpoint| endpoint.weight > MAX_WEIGHT) {
        say(&["endpoints"], "a weight is at most 1000000");
    }
    if let Some(health) = &upstream.health {
        if !health.path.starts_with('/') {
            say(&["health", "path"], "a health path begins with `/`");
        }
        if health.interval.0.as_millis() < 100 {
            say(&["health", "interval"], "health checks are at least 100ms apart");
        }
        if health.timeout == Time::default() {
            say(&["health", "timeout"], "a health check's `timeout` cannot be zero");
        }
        if health.unhealthy_after == 0 || health.healthy_after == 0 {
            say(&["health"], "`unhealthy_after` and `healthy_after` are at least 1");
        }
        if health.port == Some(0) {
            say(&["health", "port"], "port 0 cannot be probed");
        }
    }
    if upstream.outlier.as_ref().is_some_and(|outlier| outlier.consecutive == 0) {
        say(&["outlier", "consecutive"], "`consecutive` is at least 1; `outlier: off` ends it");
    }
    if upstream.breaker.as_ref().is_some_and(|breaker| breaker.of_last == 0 || breaker.trials == 0)
    {
        say(&["breaker"], "`of_last` and `trials` are at least 1; `breaker: off` ends it");
    }
    if upstream.timeout.connect == Time::default() {
        say(&["timeout", "connect"], "`timeout.connect` cannot be zero");
    }
    if let Some(message) = retry(&upstream.retry) {
        say(&["retry"], message);
    }
    if let Some(Sticky::Cookie { name, .. } | Sticky::Header { name }) = &upstream.sticky
        && http::HeaderName::from_bytes(name.as_bytes()).is_err()
    {
        say(&["sticky"], "a cookie's or header's name has letters, digits, `-` and `_`");
    }
    if upstream.tls.as_ref().is_some_and(|tls| tls.cert.is_some() != tls.key.is_some()) {
        say(&["tls"], "`cert` and `key` belong together");
    }
    for (path, message) in wrong {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        findings.error(&path, message);
    }
    if let Some(tls) = &upstream.tls {
        for (key, file) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
            findings.file(&["upstreams", name, "tls", key], file.as_deref());
        }
    }
}

/// What is wrong with a retry, of an upstream or a route.
pub(super) fn retry(retry: &Retry) -> Option<&'static str> {
    (retry.attempts > MAX_ATTEMPTS).then_some("`attempts` is at most 10")
}
