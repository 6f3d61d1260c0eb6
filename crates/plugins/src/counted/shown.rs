//! What an answer's headers say of the limits that the request passed: of the tightest one in
//! three fields that clients know of old, and of all of them in `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers-10). All policies of a request note the tightest in one
//! place; the first on the way back writes it, as lines that no other policy looks at.

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName};
use lockgate_core::{Exchange, Grant, Left, Lines};

use super::rule::{Bound, Form, Rule};

/// The fields of a tightest limit.
type Fields = [HeaderName; 3];

static RATE: Fields = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];
static QUOTA: Fields = [
    HeaderName::from_static("x-quota-limit"),
    HeaderName::from_static("x-quota-remaining"),
    HeaderName::from_static("x-quota-reset"),
];
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Notes what came of a limit, if it may be shown.
#[inline]
pub(super) fn note(exchange: &mut Exchange, rule: &Rule, bound: &Bound, grant: &Grant) {
    let Some(told) = &bound.told else { return };
    // What only some answers count for is not known yet when the request has passed.
    if rule.answers.is_some() && grant.allowed {
        return;
    }
    let kept = &mut exchange.kept;
    kept.lines.push_item("ratelimit-policy: ", told);
    let [rate, quota] = &mut kept.left;
    let noted = match rule.form {
        Form::Rate => rate,
        Form::Quota => quota,
    };
    Left::of(bound.limit.count, grant).note(noted);
}

/// Writes what was noted, in place of what an upstream may have said of limits of its own.
pub(super) fn write(exchange: &mut Exchange, headers: &mut HeaderMap) {
    let [rate, quota] = std::mem::take(&mut exchange.kept.left);
    if rate.is_none() && quota.is_none() {
        return;
    }
    let lines = &mut exchange.kept.lines;
    if let Some(left) = &rate {
        let begins = ["ratelimit-limit: ", "ratelimit-remaining: ", "ratelimit-reset: "];
        write_lines(lines, begins, left);
    }
    if let Some(left) = &quota {
        write_lines(lines, ["x-quota-limit: ", "x-quota-remaining: ", "x-quota-reset: "], left);
    }
    if speaks_of_limits(headers) {
        let told = [(&RATE, rate), (&QUOTA, quota)].into_iter().filter(|(_, left)| left.is_some());
        for name in told.flat_map(|(fields, _)| fields).chain([&POLICY]) {
            headers.remove(name);
        }
    }
}

/// Inlined, so that the lengths of what the lines begin with are known.
#[inline(always)]
fn write_lines(lines: &mut Lines, begins: [&'static str; 3], left: &Left) {
    let Reverse(reset) = left.reset;
    for (begin, value) in begins.into_iter().zip([left.limit, left.remaining, reset]) {
        lines.push_number(begin, value);
    }
}

/// Whether an upstream may have: most do not, and a look at the names is cheaper than asking for
/// each.
fn speaks_of_limits(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        match name.as_bytes().first() {
            Some(b'r') => name.starts_with("ratelimit-"),
            Some(b'x') => name.starts_with("x-quota-"),
            _ => false,
        }
    })
}
