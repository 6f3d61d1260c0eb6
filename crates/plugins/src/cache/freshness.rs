//! Whether an answer may be kept, and how long it is good for (RFC 9111 §3, §4.2; RFC 5861): what
//! the upstream says, and what the route says where the upstream says nothing.

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, AUTHORIZATION, DATE, ETAG, EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED, SET_COOKIE, VARY,
};
use http::{HeaderValue, StatusCode};

use super::directives::{Said, Wanted};
use super::settings::Terms;

/// How long an answer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Life {
    /// How old it was when it came (§4.2.3).
    pub(super) initial_age: Duration,
    /// It is fresh while it is younger than that.
    pub(super) lifetime: Duration,
    /// So long after that it may be given while a new one is fetched.
    pub(super) stale_while_revalidate: Duration,
    /// So long after that it may be given when no new one can be had.
    pub(super) stale_if_error: Duration,
    /// It must be validated each time (`no-cache`).
    pub(super) validate: bool,
    /// It must not be given stale, whatever else is said.
    pub(super) strict: bool,
    /// It is a shared cache's own time: a client's `max-stale` does not reach it (§5.2.2.10).
    pub(super) shared_time: bool,
    /// It can be validated.
    pub(super) validators: bool,
}

/// What matters of a request for keeping its answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AskedBy {
    /// It bears `Authorization`, and neither the key nor the route's word takes care of that.
    pub(super) authorized: bool,
    /// From the request to its answer.
    pub(super) delay: Duration,
}

/// What can be validated is kept so long after it is stale, at least.
const KEPT_FOR_VALIDATION: Duration = Duration::from_secs(600);
/// Nothing is guessed to be fresh for longer (§4.2.2).
const LONGEST_GUESS: Duration = Duration::from_secs(86_400);
/// Nothing is kept longer.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl Life {
    /// The life of an answer, or why it may not be kept.
    pub(super) fn of(
        terms: &Terms,
        status: StatusCode,
        headers: &HeaderMap,
        asked: AskedBy,
        now: SystemTime,
    ) -> Result<Self, &'static str> {
        let said = Said::read(headers);
        may_be_kept(terms, status, headers, &said, asked)?;
        let date = date(headers, &DATE).unwrap_or(now);
        let apparent = now.duration_since(date).unwrap_or_default();
        let initial_age = apparent.max(age(headers) + asked.delay);
        let (lifetime, stated) = lifetime(terms, status, headers, &said, initial_age, date)
            .ok_or("nothing says how long it is good for")?;
        let seconds = |said: Option<u64>, own: Option<Duration>| {
            said.map(Duration::from_secs).or(own).unwrap_or_default().min(LONGEST)
        };
        let life = Self {
            initial_age,
            lifetime: lifetime.min(LONGEST),
            stale_while_revalidate: seconds(
                said.stale_while_revalidate,
                terms.stale_while_revalidate,
            ),
            stale_if_error: seconds(said.stale_if_error, terms.stale_if_error),
            validate: said.no_cache,
            strict: said.no_cache || said.must_revalidate || said.proxy_revalidate,
            shared_time: stated && said.s_maxage.is_some(),
            validators: headers.contains_key(ETAG) || date_of_change(headers).is_some(),
        };
        life.is_of_use().then_some(life).ok_or("it is stale at once")
    }

    fn is_of_use(&self) -> bool {
        let fresh = self.lifetime > self.initial_age && !self.validate;
        let stale = !self.stale_while_revalidate.is_zero() || !self.stale_if_error.is_zero();
        fresh || self.validators || (stale && !self.strict)
    }

    /// How long the store keeps it.
    pub(super) fn keep(&self) -> Duration {
        let left = self.lifetime.saturating_sub(self.initial_age);
        let stale = match self.strict {
            true => Duration::ZERO,
            false => self.stale_while_revalidate.max(self.stale_if_error),
        };
        let validated =
            if self.validators { left.max(KEPT_FOR_VALIDATION) } else { left.min(stale) };
        left + stale.max(validated)
    }

    /// What a request may have of it at that age.
    pub(super) fn at(&self, age: Duration, wanted: &Wanted) -> State {
        let seconds = |time: Option<u64>| time.map(Duration::from_secs);
        if self.validate
            || wanted.no_cache
            || seconds(wanted.max_age).is_some_and(|most| age > most)
        {
            return State::Validate;
        }
        let left = self.lifetime.saturating_sub(age);
        let wants = seconds(wanted.min_fresh).unwrap_or_default();
        if !left.is_zero() && left >= wants {
            return State::Fresh;
        }
        if self.strict || wanted.min_fresh.is_some() {
            return State::Validate;
        }
        let late = age.saturating_sub(self.lifetime);
        if late < self.stale_while_revalidate {
            return State::StaleMeanwhile;
        }
        if !self.shared_time && seconds(wanted.max_stale).is_some_and(|most| late <= most) {
            return State::StaleAsAsked;
        }
        State::Validate
    }

    /// Whether it may be given at that age because no new one can be had.
    pub(super) fn serves_errors(&self, age: Duration) -> bool {
        !self.strict && age.saturating_sub(self.lifetime) < self.stale_if_error
    }
}

/// What a request may have of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It, as it is.
    Fresh,
    /// It, while a new one is fetched.
    StaleMeanwhile,
    /// It, as the client says that it is content with that.
    StaleAsAsked,
    /// It only once the upstream has said that it is still good.
    Validate,
}

fn may_be_kept(
    terms: &Terms,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Said,
    asked: AskedBy,
) -> Result<(), &'static str> {
    let understood = is_understood(status) || terms.of_status(status).is_some();
    if !understood || status.is_informational() {
        return Err("its status is not kept");
    }
    // §5.2.2.3: who understands the status goes by the other directives.
    if said.no_store && !(said.must_understand && understood) {
        return Err("no-store");
    }
    if said.private {
        return Err("private");
    }
    if headers.contains_key(SET_COOKIE) && !terms.set_cookie {
        return Err("it sets a cookie");
    }
    if headers.get_all(VARY).iter().any(|line| line.as_bytes().contains(&b'*')) {
        return Err("it varies by what no header says");
    }
    // §3.5.
    if asked.authorized && !(said.public || said.must_revalidate || said.s_maxage.is_some()) {
        return Err("it answers a request with Authorization");
    }
    Ok(())
}

/// The final statuses of RFC 9110 that this cache knows the meaning of, but for those of a part
/// (206) or of a validation (304).
fn is_understood(status: StatusCode) -> bool {
    const KNOWN: [u16; 19] = [
        200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 406, 410, 414, 421, 451,
        501,
    ];
    KNOWN.contains(&status.as_u16())
}

/// How old an answer may become, and whether the upstream has said so. What the route says counts
/// from when the answer came.
fn lifetime(
    terms: &Terms,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Said,
    initial_age: Duration,
    date: SystemTime,
) -> Option<(Duration, bool)> {
    let own = terms.of_status(status).map(|ttl| (initial_age + ttl, false));
    if terms.forced && own.is_some() {
        return own;
    }
    if let Some(seconds) = said.s_maxage.or(said.max_age) {
        return Some((Duration::from_secs(seconds), true));
    }
    if !said.targeted && headers.contains_key(EXPIRES) {
        // One that cannot be read is in the past (§5.3).
        let expires = self::date(headers, &EXPIRES).unwrap_or(date);
        return Some((expires.duration_since(date).unwrap_or_default(), true));
    }
    if own.is_some() {
        return own;
    }
    if let Some(share) = terms.heuristic
        && (status.is_success() || said.public)
        && let Some(changed) = self::date(headers, &LAST_MODIFIED)
    {
        let since = date.duration_since(changed).unwrap_or_default();
        return Some((since.mul_f64(share).min(LONGEST_GUESS), false));
    }
    // To be validated each time, it needs no time to be fresh.
    said.no_cache.then_some((Duration::ZERO, true))
}

/// The first `Age`, when it is one (§5.1).
fn age(headers: &HeaderMap) -> Duration {
    let text = headers.get(AGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if digits { text.parse::<u64>().unwrap_or(u64::MAX) } else { 0 };
    Duration::from_secs(seconds).min(LONGEST)
}

/// A date out of a header.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    headers.get(name).and_then(read_date)
}

/// A date as HTTP writes it (RFC 9110 §5.6.7).
pub(super) fn read_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

pub(super) fn date_of_change(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(LAST_MODIFIED).filter(|value| read_date(value).is_some())
}

/// Whether a request bears credentials that the answer may be for alone.
pub(super) fn is_authorized(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION)
}
