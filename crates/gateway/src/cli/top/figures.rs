//! What the screen shows: rates between two scrapes, and how the endpoints are.

use std::cmp::Ordering;

use serde_json::Value;

use super::scrape::{Buckets, Scrape, Whole, grown};

/// What a gateway was asked at one moment.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) scrape: Scrape,
    pub(super) upstreams: Vec<Group>,
    pub(super) draining: bool,
}

/// The endpoints of an upstream.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) usable: usize,
    /// What its breaker does, unless it is closed.
    pub(super) breaker: Option<String>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) name: String,
    /// Why it takes no requests, if it does not.
    pub(super) out: Option<String>,
    /// An operator's word on it: up, down or drain.
    pub(super) ordered: Option<String>,
    pub(super) in_flight: u64,
    /// Milliseconds, on average.
    pub(super) latency: Option<f64>,
}

/// Rates and shares between two looks.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) all: Rates,
    pub(super) routes: Vec<RouteRow>,
    pub(super) upstreams: Vec<UpstreamRow>,
    pub(super) whole: Whole,
    /// Cores in use.
    pub(super) cores: f64,
    /// Of the requests of routes with a cache, those that it answered; `None` without any.
    pub(super) hits: Option<f64>,
    /// Requests that limits refused, a second.
    pub(super) limited: f64,
    /// What somebody should look at.
    pub(super) problems: Vec<String>,
}

/// Rates of requests, a second; times in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    pub(super) requests: f64,
    pub(super) errors: f64,
    pub(super) received: f64,
    pub(super) sent: f64,
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// A line of the table of routes.
#[derive(Debug, Clone)]
pub(super) struct RouteRow {
    /// The pattern, or words for what none matched.
    pub(super) name: String,
    pub(super) rates: Rates,
    /// The reason that most were refused or failed for.
    pub(super) why: Option<String>,
}

/// An upstream in the table of upstreams.
#[derive(Debug, Clone)]
pub(super) struct UpstreamRow {
    pub(super) group: Group,
    /// A second.
    pub(super) requests: f64,
    /// Attempts after the first, by request.
    pub(super) retries: f64,
    pub(super) p99: Option<f64>,
}

impl Rates {
    /// The share of errors.
    pub(super) fn failing(&self) -> f64 {
        if self.requests > 0.0 { self.errors / self.requests } else { 0.0 }
    }
}

impl Figures {
    /// What has come between two looks. A route or upstream that is gone is not shown.
    pub(super) fn between(before: &Look, now: &Look) -> Self {
        let (old, new) = (&before.scrape, &now.scrape);
        let seconds = new.at.saturating_duration_since(old.at).as_secs_f64().max(1e-3);
        let (mut all, mut took) = (Rates::default(), Buckets::default());
        let routes = new.routes.iter().map(|(name, route)| {
            let old = old.routes.get(name).cloned().unwrap_or_default();
            let spent = route.took.since(&old.took);
            let rate = |now: f64, before: f64| grown(before, now) / seconds;
            let rates = Rates {
                requests: rate(route.requests, old.requests),
                errors: rate(route.errors, old.errors),
                received: rate(route.received, old.received),
                sent: rate(route.sent, old.sent),
                p50: spent.quantile(0.5),
                p99: spent.quantile(0.99),
            };
            all.requests += rates.requests;
            all.errors += rates.errors;
            all.received += rates.received;
            all.sent += rates.sent;
            took.merge(&spent);
            let refused = route.reasons.iter().map(|(reason, count)| {
                (grown(old.reasons.get(reason).copied().unwrap_or_default(), *count), reason)
            });
            let most = refused.max_by(|a, b| a.0.total_cmp(&b.0));
            let why = most.filter(|(count, _)| *count > 0.0).map(|(_, reason)| reason.clone());
            let name = if name.is_empty() { "(no route)".to_owned() } else { clean(name) };
            RouteRow { name, rates, why }
        });
        let routes = routes.collect();
        (all.p50, all.p99) = (took.quantile(0.5), took.quantile(0.99));
        let upstreams = now.upstreams.iter().map(|group| upstream(group, old, new, seconds));
        let (was, is) = (&old.whole, &new.whole);
        let cached = grown(was.cached, is.cached);
        Self {
            all,
            routes,
            upstreams: upstreams.collect(),
            whole: is.clone(),
            cores: grown(was.cpu_seconds, is.cpu_seconds) / seconds,
            hits: (cached > 0.0).then(|| grown(was.hits, is.hits) / cached),
            limited: grown(was.limited, is.limited) / seconds,
            problems: problems(now, was, &all),
        }
    }
}

fn upstream(group: &Group, old: &Scrape, new: &Scrape, seconds: f64) -> UpstreamRow {
    let of = |scrape: &Scrape| scrape.upstreams.get(&group.name).cloned().unwrap_or_default();
    let (old, new) = (of(old), of(new));
    let requests = grown(old.requests, new.requests);
    let retries = grown(old.retries, new.retries);
    UpstreamRow {
        group: group.clone(),
        requests: requests / seconds,
        retries: if requests > 0.0 { retries / requests } else { 0.0 },
        p99: new.took.since(&old.took).quantile(0.99),
    }
}

fn problems(now: &Look, was: &Whole, all: &Rates) -> Vec<String> {
    /// A share of errors that is a problem.
    const MANY: f64 = 0.05;
    let (mut found, is) = (Vec::new(), &now.scrape.whole);
    if now.draining {
        found.push("this gateway drains".to_owned());
    }
    for group in now.upstreams.iter().filter(|group| !group.endpoints.is_empty()) {
        if group.usable == 0 {
            found.push(format!("{}: no endpoint", group.name));
        }
        if let Some(phase) = &group.breaker {
            found.push(format!("{}: breaker {phase}", group.name));
        }
    }
    if all.failing() > MANY {
        found.push(format!("{:.0} % of answers are errors", 100.0 * all.failing()));
    }
    if !is.taken {
        found.push("the last configuration was refused".to_owned());
    }
    if is.stores_away > 0.0 {
        found.push(format!("{:.0} servers of stores are away", is.stores_away));
    }
    if grown(was.lines_lost, is.lines_lost) > 0.0 {
        found.push("the access log loses lines".to_owned());
    }
    if is.panics > 0.0 {
        found.push(format!("{:.0} bugs met", is.panics));
    }
    found
}

impl Group {
    /// Of what `/admin/upstreams` lists.
    pub(super) fn read(all: &[Value]) -> Vec<Self> {
        let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(clean);
        let endpoint = |of: &Value| Endpoint {
            name: text(of, "name").unwrap_or_default(),
            out: text(of, "reason"),
            ordered: text(of, "override").filter(|word| word != "none"),
            in_flight: of.get("inFlight").and_then(Value::as_u64).unwrap_or_default(),
            latency: of.get("latencyMs").and_then(Value::as_f64),
        };
        let group = |of: &Value| {
            let endpoints = of.get("endpoints").and_then(Value::as_array);
            let mut endpoints: Vec<_> = endpoints.into_iter().flatten().map(endpoint).collect();
            endpoints.sort_by(|a, b| a.name.cmp(&b.name));
            let breaker = of.get("breaker").and_then(|breaker| text(breaker, "phase"));
            Self {
                name: text(of, "name").unwrap_or_default(),
                usable: endpoints.iter().filter(|one| one.out.is_none()).count(),
                breaker: breaker.filter(|phase| phase != "closed"),
                endpoints,
            }
        };
        all.iter().map(group).collect()
    }
}

/// Text from elsewhere, with nothing in it that moves a cursor or turns letters around.
pub(super) fn clean(text: &str) -> String {
    let harmful = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|letter| if harmful(letter) { '?' } else { letter }).collect()
}

/// The larger first; what is not there comes last.
pub(super) fn falling(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0))
}
