//! What an answer's headers say of the limits that the request passed: of the tightest one in
//! three fields that clients know of old, and of all of them in `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10). All policies of a request add to one account, which
//! the first on the way back writes, as lines that no other policy looks at.

use std::cell::Cell;
use std::cmp::Reverse;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use lockgate_core::{Exchange, Grant};

use super::rule::{Bound, Form, Rule};

/// The fields of a tightest limit, and what a line of each begins with.
type Fields = [(HeaderName, &'static str); 3];

static RATE: Fields = [
    (HeaderName::from_static("ratelimit-limit"), "ratelimit-limit: "),
    (HeaderName::from_static("ratelimit-remaining"), "ratelimit-remaining: "),
    (HeaderName::from_static("ratelimit-reset"), "ratelimit-reset: "),
];
static QUOTA: Fields = [
    (HeaderName::from_static("x-quota-limit"), "x-quota-limit: "),
    (HeaderName::from_static("x-quota-remaining"), "x-quota-remaining: "),
    (HeaderName::from_static("x-quota-reset"), "x-quota-reset: "),
];
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Room for what is said of one limit, or of two with short names; and what is kept of it.
const ROOM: usize = 96;
const MOST_ROOM: usize = 1024;

thread_local! {
    /// Room for the next account's text.
    static SPARE: Cell<String> = const { Cell::new(String::new()) };
}

/// Whose address stands for the account in what a request keeps.
static ACCOUNT: u8 = 0;

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
    let fresh = || Account { policies: SPARE.take(), rate: None, quota: None };
    let Some(account) = exchange.kept.get_or_put(&ACCOUNT, fresh) else { return };
    let policies = &mut account.policies;
    if policies.is_empty() {
        policies.reserve(ROOM);
    } else {
        policies.push_str(", ");
    }
    policies.push('"');
    policies.push_str(&rule.name);
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
    let strip = speaks_of_limits(headers);
    let lines = &mut exchange.kept.lines;
    for (fields, figures) in [(&RATE, account.rate), (&QUOTA, account.quota)] {
        let Some(figures) = figures else { continue };
        let Reverse(reset) = figures.reset;
        // A refusal spends nothing, but there is not enough left for this request.
        let remaining = if figures.passed { figures.remaining } else { 0 };
        let reset = reset.as_secs() + u64::from(reset.subsec_nanos() > 0);
        for ((name, begin), value) in fields.iter().zip([figures.limit, remaining, reset]) {
            lines.push_number(begin, value);
            if strip {
                headers.remove(name);
            }
        }
    }
    if strip {
        headers.remove(&POLICY);
    }
    let mut policies = account.policies;
    lines.push_text("ratelimit-policy: ", &policies);
    if policies.capacity() <= MOST_ROOM {
        policies.clear();
        SPARE.set(policies);
    }
}

/// Whether an upstream may have: most do not, and a look at the names is cheaper than asking for
/// each.
fn speaks_of_limits(headers: &HeaderMap) -> bool {
    let families = |name: &str| name.starts_with("ratelimit-") || name.starts_with("x-quota-");
    headers.keys().any(|name| families(name.as_str()))
}
