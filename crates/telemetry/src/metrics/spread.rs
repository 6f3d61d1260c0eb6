//! Spreads outside of the cells: what came in between two readings, and what others measure.

use std::time::Duration;

use super::cell::{BOUNDS_NANOS, Spread, nanos};
use super::totals::Latency;

impl Spread {
    /// Adds one that took so long.
    pub fn note(&mut self, took: Duration) {
        let took = nanos(took);
        let place = BOUNDS_NANOS.partition_point(|bound| *bound < took);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
        self.nanos = self.nanos.wrapping_add(took);
        self.include(took.max(1), took);
    }

    /// What has come since an earlier reading of the same cells. The shortest and the longest are
    /// only known to within a bucket.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        let mut since = Self::default();
        for ((new, now), old) in since.buckets.iter_mut().zip(self.buckets).zip(then.buckets) {
            *new = now.saturating_sub(old);
        }
        if since.count() == 0 {
            return Self::default();
        }
        since.nanos = self.nanos.wrapping_sub(then.nanos);
        let bound = |place: usize| BOUNDS_NANOS.get(place).copied();
        let first = since.buckets.iter().position(|count| *count > 0).unwrap_or_default();
        let last = since.buckets.iter().rposition(|count| *count > 0).unwrap_or_default();
        since.least = first.checked_sub(1).and_then(bound).unwrap_or(1).max(1);
        since.most = bound(last).unwrap_or(self.most);
        since
    }

    /// Its percentiles and the rest.
    pub fn latency(&self) -> Latency {
        Latency::of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_between_is_what_was_noted_in_between() {
        let ms = Duration::from_millis;
        let mut before = Spread::default();
        [1, 3, 80].map(ms).into_iter().for_each(|took| before.note(took));
        let mut after = before.clone();
        [20, 20, 90_000].map(ms).into_iter().for_each(|took| after.note(took));
        let since = after.since(&before);
        assert_eq!(since.count(), 3);
        assert_eq!(since.latency().avg_ms, (20.0 + 20.0 + 90_000.0) / 3.0);
        assert_eq!(since.latency().max_ms, 90_000.0);
        assert!((10.0..=25.0).contains(&since.latency().p50_ms), "{since:?}");
        assert_eq!(after.since(&after), Spread::default());
    }
}
