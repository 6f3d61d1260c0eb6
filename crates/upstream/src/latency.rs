//! An endpoint's latency as the peak-sensitive moving average: it jumps up with a slow answer and
//! sinks back over ten seconds, so that a struggling endpoint is left alone at once and tried
//! again soon.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How fast the past is forgotten: after this time it weighs 1/e.
const DECAY_MS: f32 = 10_000.0;

/// Value and time of the last sample in one word, so that no reader sees a torn pair: microseconds
/// as `f32` above, milliseconds of the endpoint's own clock below. The clock wraps after 49 days;
/// only differences are used.
#[derive(Debug, Default)]
pub(crate) struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// Takes in a latency, at `now_ms` of the endpoint's clock.
    pub(crate) fn observe(&self, latency: Duration, now_ms: u64) {
        // Never zero: zero stands for "nothing measured yet".
        let sample = (latency.as_secs_f32() * 1e6).max(1.0);
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let (old, keep) = unpack(word, now_ms);
            let fresh =
                if sample > old * keep { sample } else { old * keep + sample * (1.0 - keep) };
            Some(pack(fresh, now_ms))
        });
    }

    /// Takes in a failure: it never makes the endpoint look faster, however fast it came.
    pub(crate) fn observe_failure(&self, at_least: Duration, now_ms: u64) {
        let now = self.read(now_ms).unwrap_or_default();
        self.observe(now.max(at_least), now_ms);
    }

    /// The average as of `now_ms`, decayed by the time without a sample; `None` before the first.
    pub(crate) fn read(&self, now_ms: u64) -> Option<Duration> {
        let (micros, keep) = unpack(self.0.load(Relaxed), now_ms);
        (micros > 0.0).then(|| Duration::from_secs_f32(micros * keep / 1e6))
    }
}

fn pack(micros: f32, now_ms: u64) -> u64 {
    (u64::from(micros.to_bits()) << 32) | (now_ms & 0xffff_ffff)
}

/// The value, and the share of it that is left at `now_ms`.
fn unpack(word: u64, now_ms: u64) -> (f32, f32) {
    let micros = f32::from_bits((word >> 32) as u32);
    // Samples of several workers may come out of order: an older one has no age, not a huge one.
    let age = ((now_ms as u32).wrapping_sub(word as u32) as i32).max(0);
    (micros, (-(age as f32) / DECAY_MS).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(latency: Option<Duration>) -> f64 {
        latency.map_or(0.0, |l| l.as_secs_f64() * 1e3)
    }

    #[test]
    fn a_peak_counts_at_once_and_sinks_slowly() {
        let ewma = PeakEwma::default();
        assert_eq!(ewma.read(0), None);
        ewma.observe(Duration::from_millis(10), 1_000);
        assert!((ms(ewma.read(1_000)) - 10.0).abs() < 0.01);
        ewma.observe(Duration::from_millis(400), 1_001);
        assert!((ms(ewma.read(1_001)) - 400.0).abs() < 0.1);
        ewma.observe(Duration::from_millis(10), 1_002);
        assert!(ms(ewma.read(1_002)) > 390.0, "one fast answer does not undo a peak");
        let later = ms(ewma.read(11_002));
        assert!((140.0..155.0).contains(&later), "a tenth second later 1/e is left: {later}");
    }

    #[test]
    fn a_sample_that_comes_late_does_not_wipe_out_the_others() {
        let ewma = PeakEwma::default();
        ewma.observe(Duration::from_millis(400), 1_001);
        ewma.observe(Duration::from_millis(10), 1_000);
        assert!(ms(ewma.read(999)) > 390.0);
    }

    #[test]
    fn a_fast_failure_is_not_fast() {
        let ewma = PeakEwma::default();
        ewma.observe(Duration::from_millis(200), 0);
        ewma.observe_failure(Duration::from_millis(1), 10);
        assert!(ms(ewma.read(10)) > 199.0);
    }

    #[test]
    fn the_clock_may_wrap() {
        let ewma = PeakEwma::default();
        ewma.observe(Duration::from_millis(50), u64::from(u32::MAX));
        assert!(ms(ewma.read(u64::from(u32::MAX) + 100)) > 49.0);
    }
}
