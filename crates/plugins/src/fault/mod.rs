//! `fault`: delays and failures on purpose, for a share of the requests, to see how clients bear
//! them. A seed makes the same requests fail again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderName, StatusCode};
use lockgate_core::{
    Build, ConfigError, Exchange, Fault, Kind, Percent, Policy, PolicyPlugin, Reason, Stage, Step,
    Time, Verdict, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::fields;

/// Delays and fails requests on purpose.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// How long a request is held back. At most five minutes.
    delay: Option<Time>,
    /// Up to so much longer, by chance.
    jitter: Option<Time>,
    /// The share of requests that are held back (`100%`).
    percent: Option<Percent>,
    /// The status with which a request is refused: 400 to 599.
    #[schemars(range(min = 400, max = 599))]
    abort: Option<u16>,
    /// The share of requests that are refused (`100%`).
    abort_percent: Option<Percent>,
    /// Only requests that have this header.
    header: Option<String>,
    /// Makes chance the same after each start: request by request, the same ones are chosen.
    seed: Option<u64>,
}

static INJECTED: Reason = Reason {
    code: "fault_injected",
    kind: Kind::Unavailable,
    help: "The request was refused on purpose, by the route's `fault`. The status is its `abort`.",
};

const LONGEST: Duration = Duration::from_secs(300);

/// The entry in the list of plugins.
pub(crate) struct Faults;

impl PolicyPlugin for Faults {
    fn name(&self) -> &'static str {
        "fault"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Transform
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&INJECTED];
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, _: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: Config = decode(config)?;
        let without = |key: &str, of: &str| {
            Err(ConfigError::new(format!("`{key}` says nothing without `{of}`")).at(key))
        };
        match &config {
            Config { delay: None, abort: None, .. } => {
                return Err(ConfigError::new("it does nothing: say `delay` or `abort`"));
            }
            Config { delay: None, jitter: Some(_), .. } => return without("jitter", "delay"),
            Config { delay: None, percent: Some(_), .. } => return without("percent", "delay"),
            Config { abort: None, abort_percent: Some(_), .. } => {
                return without("abort_percent", "abort");
            }
            _ => {}
        }
        let time = |time: Option<Time>| time.map_or(Duration::ZERO, |Time(time)| time);
        if time(config.delay) + time(config.jitter) > LONGEST {
            return Err(ConfigError::new("at most five minutes, with its jitter").at("delay"));
        }
        let share = |percent: Option<Percent>| percent.map_or(1.0, |Percent(share)| share);
        let delay = config.delay.map(|delay| Delay {
            least: delay.0,
            jitter: time(config.jitter),
            share: share(config.percent),
        });
        let abort = config.abort.map(|number| {
            let status = StatusCode::from_u16(number).ok();
            let status = status.filter(|status| (400..600).contains(&status.as_u16()));
            status.map(|status| (status, share(config.abort_percent))).ok_or_else(|| {
                ConfigError::new(format!("`{number}` is not a status from 400 to 599")).at("abort")
            })
        });
        let header = config.header.as_deref().map(fields::name).transpose();
        Ok(Box::new(Inject {
            delay,
            abort: abort.transpose()?,
            header: header.map_err(|error| error.at("header"))?,
            chance: config.seed.map(|seed| (seed, AtomicU64::new(0))),
        }))
    }
}

struct Inject {
    delay: Option<Delay>,
    abort: Option<(StatusCode, f64)>,
    header: Option<HeaderName>,
    /// The seed, and how often chance was asked.
    chance: Option<(u64, AtomicU64)>,
}

struct Delay {
    least: Duration,
    jitter: Duration,
    share: f64,
}

impl Inject {
    /// From 0 to below 1.
    fn draw(&self) -> f64 {
        match &self.chance {
            None => fastrand::f64(),
            Some((seed, asked)) => fraction(mix(*seed, asked.fetch_add(1, Relaxed))),
        }
    }

    /// How long this request is held back.
    fn wait(&self) -> Option<Duration> {
        let delay = self.delay.as_ref()?;
        if self.draw() >= delay.share {
            return None;
        }
        let jitter = if delay.jitter.is_zero() { Duration::ZERO } else { delay.jitter };
        let more = if jitter.is_zero() { jitter } else { jitter.mul_f64(self.draw()) };
        Some(delay.least + more)
    }

    fn refusal(&self) -> Option<Fault> {
        let (status, share) = self.abort?;
        (self.draw() < share).then(|| Fault::gateway(&INJECTED).answered_with(status))
    }
}

/// The n-th number of a seed's sequence: SplitMix64, which may be asked for any of them.
fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The upper 53 bits as a fraction.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

impl Policy for Inject {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        if self.header.as_ref().is_some_and(|name| !exchange.head.headers.contains_key(name)) {
            return Step::Now(Ok(Verdict::Pass));
        }
        let (wait, refusal) = (self.wait(), self.refusal());
        let verdict = refusal.map_or(Ok(Verdict::Pass), Err);
        let Some(wait) = wait else { return Step::Now(verdict) };
        exchange.note(|| format!("fault: held back for {}ms", wait.as_millis()));
        let end = tokio::time::Instant::now() + wait;
        // What is late by then is refused as late by the target.
        let end = exchange.deadline.map_or(end, |deadline| end.min(deadline));
        Step::Later(Box::pin(async move {
            tokio::time::sleep_until(end).await;
            verdict
        }))
    }

    fn describe(&self) -> String {
        let mut parts = Vec::new();
        if let Some(Delay { least, jitter, share }) = &self.delay {
            let jitter = match jitter.is_zero() {
                true => String::new(),
                false => format!(" and up to {} more", Time(*jitter)),
            };
            parts.push(format!("{} held back for {}{jitter}", Percent(*share), Time(*least)));
        }
        if let Some((status, share)) = self.abort {
            parts.push(format!("{} refused with {}", Percent(share), status.as_u16()));
        }
        let of = self.header.as_ref().map(|name| format!(", of those with {name}"));
        parts.join("; ") + &of.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_chooses_the_share_and_the_same_ones_again() {
        let chosen =
            |seed| (0..10_000).filter(|n| fraction(mix(seed, *n)) < 0.1).collect::<Vec<_>>();
        assert!((900..1100).contains(&chosen(7).len()), "{}", chosen(7).len());
        assert_eq!(chosen(7), chosen(7));
        assert_ne!(chosen(7), chosen(8));
        assert!(fraction(u64::MAX) < 1.0);
    }
}
