//! What an answer's headers say of the limits that the request passed: of the tightest one in
//! three fields that clients know of old, and of all of them in `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10). All policies of a request add to one account, which
//! the first on the way back writes.

use std::cmp::Reverse;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use lockgate_core::{Exchange, Grant};

use super::rule::{Bound, Form, Rule};

const RATE: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];
const QUOTA: [HeaderName; 3] = [
    HeaderName::from_static("x-quota-limit"),
    HeaderName::from_static("x-quota-remaining"),
    HeaderName::from_static("x-quota-reset"),
];
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Room for what is said of one limit, or of two with short names.
const ROOM: usize = 96;

/// Whose address stands for the account in what a request keeps.
static ACCOUNT: u8 = 0;

#[derive(Default)]
struct Account {
    policies: String,
    rate: Option<Figures>,
    quota: Option<Figures>,
}

/// One limit's figures. The tightest is the least of several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Figures {
    passed: bool,
    remaining: u64,
    reset: Reverse<Duration>,
    limit: u64,
}

/// Notes what came of a limit, if it may be shown.
pub(super) fn note(exchange: &mut Exchange, rule: &Rule, bound: &Bound, grant: &Grant) {
    // What only some answers count for is not known yet when the request has passed.
    if !rule.headers || rule.dry_run || (rule.answers.is_some() && grant.allowed) {
        return;
    }
    if exchange.kept.get::<_, Account>(&ACCOUNT).is_none() {
        exchange.kept.put(&ACCOUNT, Account::default());
    }
    let Some(account) = exchange.kept.get::<_, Account>(&ACCOUNT) else { return };
    let policies = &mut account.policies;
    if policies.is_empty() {
        policies.reserve(ROOM);
    } else {
        policies.push_str(", ");
    }
    policies.push('"');
    policies.push_str(&rule.name);
    policies.push('"');
    policies.push_str(&bound.parameters);
    let figures = Figures {
        passed: grant.allowed,
        remaining: grant.remaining,
        reset: Reverse(grant.reset.max(grant.wait)),
        limit: bound.limit.count,
    };
    let tightest = match rule.form {
        Form::Rate => &mut account.rate,
        Form::Quota => &mut account.quota,
    };
    *tightest = Some(tightest.map_or(figures, |other| other.min(figures)));
}

/// Writes what was noted, in place of what an upstream may have said of limits of its own.
pub(super) fn write(exchange: &mut Exchange, headers: &mut HeaderMap) {
    let Some(account) = exchange.kept.take::<_, Account>(&ACCOUNT) else { return };
    for (names, figures) in [(RATE, account.rate), (QUOTA, account.quota)] {
        let Some(figures) = figures else { continue };
        let Reverse(reset) = figures.reset;
        // A refusal spends nothing, but there is not enough left for this request.
        let remaining = if figures.passed { figures.remaining } else { 0 };
        let reset = reset.as_secs() + u64::from(reset.subsec_nanos() > 0);
        for (name, value) in names.into_iter().zip([figures.limit, remaining, reset]) {
            headers.insert(name, HeaderValue::from(value));
        }
    }
    if let Ok(value) = HeaderValue::try_from(account.policies) {
        headers.insert(POLICY, value);
    }
}
