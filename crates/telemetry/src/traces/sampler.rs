//! Which requests are told: by their parent's flag or their trace's id, to so many a second; and
//! which of the others are told after all, by how they ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lockgate_config::model::Sampling;
use lockgate_core::Blame;
use lockgate_core::span::{Fate, SAMPLED, TraceId};
use tokio::time::Instant;

/// The samples that a trace's id is one of: its last 56 bits.
const WHOLE: f64 = (1_u64 << 56) as f64;

/// How requests are chosen.
pub(super) struct Sampler {
    /// Traces from this one on are chosen, by their randomness.
    from: u64,
    parent: bool,
    chosen: Option<Bucket>,
    errors: bool,
    slow: Option<Duration>,
    /// Of those that are told by how they ended.
    notable: Option<Bucket>,
}

impl Sampler {
    pub(super) fn new(settings: &Sampling) -> Self {
        let bucket = || settings.per_second.map(Bucket::new);
        Self {
            from: ((1.0 - settings.ratio.0) * WHOLE) as u64,
            parent: settings.parent,
            chosen: bucket(),
            errors: settings.errors,
            slow: settings.slow.map(|slow| slow.0),
            notable: bucket(),
        }
    }

    /// What becomes of a request's spans as far as its beginning decides. `said`: the flags of
    /// whoever sent it.
    pub(super) fn fate(&self, trace: TraceId, said: Option<u8>, now: Instant) -> Fate {
        let wanted = match said {
            Some(flags) if self.parent => flags & SAMPLED != 0,
            _ => trace.randomness() >= self.from,
        };
        if wanted && self.chosen.as_ref().is_none_or(|bucket| bucket.take(now)) {
            return Fate::Sampled;
        }
        if self.errors || self.slow.is_some() { Fate::IfNotable } else { Fate::Unkept }
    }

    /// Whether a request that was not chosen is told because of its end.
    pub(super) fn is_notable(
        &self,
        status: u16,
        blame: Option<Blame>,
        took: Duration,
        now: Instant,
    ) -> bool {
        let error = status >= 500 || matches!(blame, Some(Blame::Gateway | Blame::Upstream));
        let slow = self.slow.is_some_and(|slow| took >= slow);
        ((error && self.errors) || slow)
            && self.notable.as_ref().is_none_or(|bucket| bucket.take(now))
    }
}

/// So many a second, and at most as many at once, for all workers together.
struct Bucket {
    began: Instant,
    /// Nanoseconds that each takes.
    each: u64,
    /// When, in nanoseconds since the beginning, all that were let pass have taken their time.
    spent_until: AtomicU64,
}

/// How much may be spent in advance.
const BURST: u64 = 1_000_000_000;

impl Bucket {
    fn new(per_second: u32) -> Self {
        let each = BURST / u64::from(per_second.max(1));
        Self { began: Instant::now(), each, spent_until: AtomicU64::new(0) }
    }

    fn take(&self, now: Instant) -> bool {
        // A second before it all began, so that the first ones need not wait.
        let now = crate::metrics::nanos(now.saturating_duration_since(self.began)) + BURST;
        let take = |spent: u64| {
            let next = spent.max(now - BURST) + self.each;
            (next <= now).then_some(next)
        };
        self.spent_until.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use lockgate_core::span::{Parent, SpanId};
    use lockgate_core::{Percent, Time};

    use super::*;

    fn settings(ratio: f64) -> Sampling {
        Sampling { ratio: Percent(ratio), per_second: None, errors: false, ..Sampling::default() }
    }

    #[test]
    fn the_share_is_kept_and_is_decided_by_the_id() {
        let (few, many) = (Sampler::new(&settings(0.1)), Sampler::new(&settings(0.3)));
        let now = Instant::now();
        let (mut a, mut b) = (0, 0);
        for _ in 0..100_000 {
            let trace = TraceId::random();
            let in_few = few.fate(trace, None, now) == Fate::Sampled;
            let in_many = many.fate(trace, None, now) == Fate::Sampled;
            assert!(in_many || !in_few, "what a small share has, a larger one has too");
            assert_eq!(in_few, few.fate(trace, None, now) == Fate::Sampled);
            a += u32::from(in_few);
            b += u32::from(in_many);
        }
        assert!((9_000..11_000).contains(&a) && (29_000..31_000).contains(&b), "{a} {b}");
        let (none, all) = (Sampler::new(&settings(0.0)), Sampler::new(&settings(1.0)));
        for low in [0, 1, u64::MAX] {
            let trace = TraceId::new(1, low).unwrap();
            assert_eq!(none.fate(trace, None, now), Fate::Unkept);
            assert_eq!(all.fate(trace, None, now), Fate::Sampled);
        }
    }

    #[test]
    fn a_parent_decides_if_it_may() {
        let now = Instant::now();
        let parent = |flags| Parent { trace: TraceId::random(), span: SpanId::random(), flags };
        let fate = |settings: &Sampling, flags| {
            let parent = parent(flags);
            Sampler::new(settings).fate(parent.trace, Some(parent.flags), now)
        };
        assert_eq!(fate(&settings(0.0), SAMPLED), Fate::Sampled);
        assert_eq!(fate(&settings(1.0), 0), Fate::Unkept);
        let own = |ratio| Sampling { parent: false, ..settings(ratio) };
        assert_eq!(fate(&own(0.0), SAMPLED), Fate::Unkept);
        assert_eq!(fate(&own(1.0), 0), Fate::Sampled);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_a_second_whoever_asks() {
        let sampler =
            Sampler::new(&Sampling { per_second: Some(10), errors: true, ..settings(1.0) });
        let sampled = || {
            let parent =
                Parent { trace: TraceId::random(), span: SpanId::random(), flags: SAMPLED };
            let fate = sampler.fate(parent.trace, Some(parent.flags), Instant::now());
            assert_ne!(fate, Fate::Unkept, "errors are told by another count");
            fate == Fate::Sampled
        };
        let most = |tries: u32| (0..tries).filter(|_| sampled()).count();
        assert_eq!(most(100), 10);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(most(100), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(most(100), 10, "what was not used is not saved up");
        let error = || sampler.is_notable(502, None, Duration::ZERO, Instant::now());
        assert_eq!((0..100).filter(|_| error()).count(), 10);
    }

    #[test]
    fn errors_and_slow_ones_are_notable() {
        let now = Instant::now();
        let slow = Some(Time(Duration::from_secs(1)));
        let sampler = Sampler::new(&Sampling { errors: true, slow, ..settings(0.0) });
        let notable = |status, blame, millis| {
            sampler.is_notable(status, blame, Duration::from_millis(millis), now)
        };
        assert!(notable(500, None, 1));
        assert!(notable(200, Some(Blame::Upstream), 1), "an answer that broke off");
        assert!(notable(200, None, 1000));
        assert!(!notable(200, None, 999));
        assert!(!notable(404, Some(Blame::Client), 1));
    }
}
