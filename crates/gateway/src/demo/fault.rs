//! How an instance is told to misbehave: slowly, with errors, or by refusing connections, for so
//! many requests or so long. Errors come evenly, not by chance: with `fail: 0.5` it is exactly
//! every second request, so that what is tried can be counted.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest delay and longest time, in milliseconds: ten minutes.
const MAX_MS: u64 = 600_000;

/// What `POST /_fault` takes. An empty object is the well-behaved service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Wait this long before each answer.
    #[serde(skip_serializing_if = "is_zero")]
    delay_ms: u64,
    /// This share of the requests fails, from 0 to 1.
    fail: f64,
    /// The status of those that fail (503).
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Accept no connections, and close those that are open.
    refuse: bool,
    /// Behave again after so many requests to the resource; health checks are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    for_requests: Option<u32>,
    /// Behave again after so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    for_ms: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Settings {
    /// # Errors
    /// What is wrong, in a sentence.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        // By way of a map: serde would read a list as the fields in their order.
        let settings: Self = serde_json::from_slice::<serde_json::Map<String, Value>>(body)
            .and_then(|map| serde_json::from_value(Value::Object(map)))
            .map_err(|error| error.to_string())?;
        if settings.delay_ms > MAX_MS || settings.for_ms.is_some_and(|ms| ms > MAX_MS) {
            return Err(format!("`delay_ms` and `for_ms` are at most {MAX_MS}"));
        }
        if !(0.0..=1.0).contains(&settings.fail) {
            return Err("`fail` is a share from 0 to 1".to_owned());
        }
        if settings.status.is_some_and(|status| !(400..=599).contains(&status)) {
            return Err("`status` is from 400 to 599".to_owned());
        }
        if settings.refuse && settings.for_requests.is_some() {
            let what = "a service that refuses counts no requests: use `for_ms`";
            return Err(what.to_owned());
        }
        Ok(settings)
    }
}

/// What one request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Effect {
    pub(super) delay: Duration,
    pub(super) fail: Option<StatusCode>,
}

/// An instance's switch.
pub(super) struct Switch(watch::Sender<State>);

#[derive(Debug, Clone, Default)]
struct State {
    settings: Settings,
    until: Option<Instant>,
    /// Requests to the resource since it was set.
    seen: u32,
    /// The share of a failure that is owed.
    debt: f64,
}

impl State {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.settings.for_requests.is_some_and(|count| self.seen >= count)
    }
}

impl Switch {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// Sets how to misbehave from now on.
    pub(super) fn set(&self, settings: Settings) {
        let until = settings.for_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        self.0.send_replace(State { settings, until, seen: 0, debt: 0.0 });
    }

    /// What holds now.
    pub(super) fn settings(&self) -> Settings {
        let state = self.0.borrow();
        if state.is_over() { Settings::default() } else { state.settings.clone() }
    }

    /// What a request gets. One to the resource counts; a health check does not.
    pub(super) fn next(&self, counts: bool) -> Effect {
        let mut effect = Effect::default();
        self.0.send_if_modified(|state| {
            if state.is_over() {
                *state = State::default();
            }
            let settings = &state.settings;
            effect.delay = Duration::from_millis(settings.delay_ms);
            state.debt += settings.fail;
            // Sums of tenths miss whole numbers by a hair.
            if state.debt > 1.0 - 1e-9 {
                state.debt -= 1.0;
                let status = settings.status.and_then(|status| StatusCode::from_u16(status).ok());
                effect.fail = Some(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE));
            }
            state.seen = state.seen.saturating_add(u32::from(counts));
            // Nobody waits for a count.
            false
        });
        effect
    }

    /// Waits until connections are to be refused.
    pub(super) async fn refusing(&self) {
        let mut states = self.0.subscribe();
        // The sender is in `self`: the channel cannot close.
        let _ = states.wait_for(|state| state.settings.refuse && !state.is_over()).await;
    }

    /// Waits until connections are taken again.
    pub(super) async fn accepting(&self) {
        let mut states = self.0.subscribe();
        loop {
            let until = {
                let state = states.borrow_and_update();
                if !state.settings.refuse || state.is_over() {
                    return;
                }
                state.until
            };
            let over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = states.changed() => {}
                () = over => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(body: &str) -> Switch {
        let switch = Switch::new();
        switch.set(Settings::read(body.as_bytes()).unwrap());
        switch
    }

    fn fails(switch: &Switch, requests: usize) -> usize {
        (0..requests).filter(|_| switch.next(true).fail.is_some()).count()
    }

    #[test]
    fn a_share_is_met_exactly() {
        assert_eq!(fails(&switch(r#"{"fail": 0.5}"#), 100), 50);
        assert_eq!(fails(&switch(r#"{"fail": 0.1}"#), 100), 10);
        assert_eq!(fails(&switch(r#"{"fail": 1}"#), 7), 7);
        assert_eq!(fails(&switch("{}"), 100), 0);
    }

    #[test]
    fn it_ends_after_so_many_requests_and_health_checks_do_not_count() {
        let switch = switch(r#"{"fail": 1, "status": 500, "for_requests": 2}"#);
        for _ in 0..5 {
            assert_eq!(switch.next(false).fail, Some(StatusCode::INTERNAL_SERVER_ERROR));
        }
        assert_eq!(fails(&switch, 10), 2);
        assert_eq!(switch.settings(), Settings::default());
        assert_eq!(switch.next(false), Effect::default());
    }

    #[tokio::test]
    async fn it_ends_after_so_long() {
        let switch = switch(r#"{"refuse": true, "delay_ms": 5, "for_ms": 20}"#);
        switch.refusing().await;
        assert_eq!(switch.next(true).delay, Duration::from_millis(5));
        switch.accepting().await;
        assert_eq!(switch.next(true), Effect::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for body in [
            "",
            "[]",
            r#"{"slow": 1}"#,
            r#"{"fail": 2}"#,
            r#"{"fail": -0.1}"#,
            r#"{"delay_ms": -1}"#,
            r#"{"delay_ms": 600001}"#,
            r#"{"status": 200}"#,
            r#"{"refuse": true, "for_requests": 3}"#,
        ] {
            assert!(Settings::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
