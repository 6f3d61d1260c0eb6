//! The rules: what of the things that were seen is wrong now, and what cannot be judged yet.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use lockgate_config::model::{Below, Document, Rules, Severity};
use lockgate_core::{Percent, Standing, Time};
use lockgate_upstream::{Phase, Upstream};
use tokio::time::Instant;

use crate::figures::Figures;
use crate::{Served, StoreSeen, millis, sight};

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) id: Id,
    pub(crate) severity: Severity,
    pub(crate) summary: String,
    /// For how long it must be so before an alert fires.
    pub(crate) lasting: Duration,
}

/// What tells one alert from another: the rule's word, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) rule: String,
    pub(crate) subject: String,
}

impl Id {
    pub(crate) fn new(rule: &str, subject: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), subject: subject.into() }
    }
}

/// All that is wrong, and what nobody can say yet: an alert about that stays as it is.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Vec<Found>,
    pub(crate) unsure: BTreeSet<Id>,
    /// Rules that cannot be judged at all yet.
    pub(crate) unsure_rules: BTreeSet<&'static str>,
}

impl Findings {
    pub(crate) fn is_unsure(&self, id: &Id) -> bool {
        self.unsure.contains(id) || self.unsure_rules.contains(id.rule.as_str())
    }

    fn add(&mut self, id: Id, severity: Severity, lasting: Time, summary: impl FnOnce() -> String) {
        self.found.push(Found { id, severity, summary: summary(), lasting: lasting.0 });
    }
}

/// What is wrong with an upstream and its endpoints.
pub(crate) fn upstream(upstream: &Upstream, rules: &Rules, now: Instant, into: &mut Findings) {
    let name = upstream.name();
    let set = upstream.set();
    let (mut counted, mut usable, mut unsure) = (0_usize, 0_usize, false);
    for endpoint in set.endpoints() {
        let id = || Id::new("endpoint_down", format!("{name}/{}", endpoint.label()));
        if !sight::is_known(upstream, endpoint) {
            unsure = true;
            counted += 1;
            usable += 1;
            into.unsure.insert(id());
            continue;
        }
        let standing = sight::endpoint(endpoint, 0, now);
        counted += usize::from(standing != Standing::Out);
        usable += usize::from(standing == Standing::Up);
        if let (Standing::Down, Some(rule)) = (standing, &rules.endpoint_down) {
            into.add(id(), rule.severity, rule.lasting, || {
                let why = endpoint.usable(now).err().map(|out| endpoint.why(out));
                let why = why.unwrap_or_default();
                format!("{} of {name} takes no requests: {why}", endpoint.label())
            });
        }
    }
    if let Some(rule) = &rules.upstream_low {
        let id = Id::new("upstream_low", &**name);
        let panic = upstream.settings().panic_threshold;
        if unsure {
            into.unsure.insert(id);
        } else if is_low(rule.below, panic, usable, counted, set.endpoints().len()) {
            into.add(id, rule.severity, rule.lasting, || match usable {
                0 => format!("{name} has no endpoint that takes requests"),
                _ => format!("{name} has {usable} of {counted} endpoints that take requests"),
            });
        }
    }
    let open = upstream.breaker().is_some_and(|breaker| breaker.phase() != Phase::Closed);
    if let (true, Some(rule)) = (open, &rules.breaker_open) {
        into.add(Id::new("breaker_open", &**name), rule.severity, rule.lasting, || {
            format!("the circuit breaker of {name} is open: its requests are refused")
        });
    }
}

/// Endpoints that are out by hand are not counted, so that there are `all` of `total`: with all of
/// them out nothing is wrong.
fn is_low(below: Option<Below>, panic: Percent, usable: usize, all: usize, total: usize) -> bool {
    if all == 0 {
        return total == 0;
    }
    let under = |share: Percent| (usable as f64) < share.0 * all as f64;
    match below {
        None => usable == 0 || under(panic),
        // Where some are out, the rest need be no more than all of them.
        Some(Below::Count(count)) if all < total => usable < all.min(count as usize),
        Some(Below::Count(count)) => usable < count as usize,
        Some(Below::Share(share)) => under(share),
    }
}

/// What is wrong by the figures of the last minute.
pub(crate) fn figures(figures: &Figures, rules: &Rules, into: &mut Findings) {
    if !figures.is_whole() {
        into.unsure_rules.extend(["error_ratio", "p99"]);
    }
    if let Some(rule) = &rules.error_ratio {
        for (route, count) in figures.routes() {
            let share = count.failed as f64 / count.requests.max(1) as f64;
            if count.requests >= rule.requests && share > rule.above.0 {
                let route = if route.is_empty() { "(no route)" } else { route };
                into.add(Id::new("error_ratio", route), rule.severity, rule.lasting, || {
                    let share = (share * 1e3).round() / 10.0;
                    format!("{share}% of the requests to {route} fail (limit {})", rule.above)
                });
            }
        }
    }
    if let Some(rule) = &rules.p99 {
        for (upstream, spread) in figures.upstreams() {
            let latency = spread.latency();
            let limit = rule.above.0.as_secs_f64() * 1e3;
            if latency.count >= rule.requests && latency.p99_ms > limit {
                into.add(Id::new("p99", upstream), rule.severity, rule.lasting, || {
                    let p99 = latency.p99_ms.round();
                    format!("{upstream} answers slowly: p99 {p99} ms (limit {})", rule.above)
                });
            }
        }
    }
    if let (true, Some(rule)) = (figures.dropped() > 0, &rules.log_drops) {
        into.add(Id::new("log_drops", "access_log"), rule.severity, rule.lasting, || {
            format!("{} lines of the access log were lost in a minute", figures.dropped())
        });
    }
}

/// What is wrong with the gateway itself.
pub(crate) fn gateway(
    document: &Document,
    figures: &Figures,
    generation: u64,
    stores: &[StoreSeen],
    history_fails: bool,
    into: &mut Findings,
) {
    let rules = &document.alerts.rules;
    if let (true, Some(rule)) = (figures.count > 0 && !figures.config_taken, &rules.config_refused)
    {
        into.add(Id::new("config_refused", "config"), rule.severity, rule.lasting, || {
            format!("the changed configuration was refused: generation {generation} goes on")
        });
    }
    if let Some(rule) = &rules.store_failing {
        for store in stores.iter().filter(|store| store.failing) {
            let name = &store.name;
            into.add(Id::new("store_failing", name), rule.severity, rule.lasting, || {
                format!("the store {name} does not answer")
            });
        }
        if history_fails {
            // Nothing is lost but history.
            let id = Id::new("store_failing", "uptime.db");
            into.add(id, Severity::Warning, rule.lasting, || {
                "the history of the services cannot be written to disk".to_owned()
            });
        }
    }
}

/// Certificates that run out.
pub(crate) fn certificates(served: &[Served], rules: &Rules, now: SystemTime) -> Vec<Found> {
    let Some(rule) = &rules.certificate else { return Vec::new() };
    let mut findings = Findings::default();
    let now = i64::try_from(millis(now) / 1_000).unwrap_or(i64::MAX);
    let within = i64::try_from(rule.within.0.as_secs()).unwrap_or(i64::MAX);
    for one in served.iter().filter(|one| one.not_after.saturating_sub(now) < within) {
        let names = match one.names.as_slice() {
            [] => one.file.clone(),
            names => names.iter().take(3).cloned().collect::<Vec<_>>().join(", "),
        };
        let left = one.not_after - now;
        let severity = if left < 0 { Severity::Critical } else { rule.severity };
        findings.add(Id::new("certificate", &one.file), severity, rule.lasting, || match left {
            ..0 => format!("the certificate for {names} has run out"),
            0..172_800 => format!("the certificate for {names} runs out in {} hours", left / 3_600),
            _ => format!("the certificate for {names} runs out in {} days", left / 86_400),
        });
    }
    // One file may be served by several listeners.
    findings.found.sort_by(|a, b| a.id.cmp(&b.id));
    findings.found.dedup_by(|a, b| a.id == b.id);
    findings.found
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
