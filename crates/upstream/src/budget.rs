//! The retry budget: retries are at most a share of the requests of the last ten seconds, so that
//! an upstream in trouble is not buried under its own retries.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// Retries that are always allowed in ten seconds: enough for a quiet service with one dead
/// endpoint of two, until that is ejected.
const FLOOR: u64 = 10;
const SLOTS: usize = 10;

const COUNT_BITS: u32 = 22;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// Requests and retries of the last ten seconds, in slots of one second. A slot is one word: its
/// second (20 bits), its requests and its retries (22 bits each, sticking at four million).
#[derive(Debug)]
pub struct Budget {
    share: f64,
    start: Instant,
    slots: [AtomicU64; SLOTS],
}

#[derive(Clone, Copy)]
struct Slot {
    second: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// A budget of `share` (0.2: one retry for five requests); 0 forbids retries.
    pub fn new(share: f64) -> Self {
        Self { share, start: Instant::now(), slots: Default::default() }
    }

    /// Counts a request of this moment: its first attempt, once.
    pub fn request(&self, now: Instant) {
        self.add(self.second(now), 1, 0);
    }

    /// Takes a retry out of the budget; false when it is spent.
    pub fn retry(&self) -> bool {
        if self.share <= 0.0 {
            return false;
        }
        let second = self.second(Instant::now());
        // Counted first and taken back if refused: two at once never both take the last one.
        self.add(second, 0, 1);
        let (requests, retries) = self.sums(second);
        let allowed = (self.share * requests as f64).floor().max(FLOOR as f64);
        if retries as f64 <= allowed {
            return true;
        }
        self.add(second, 0, -1);
        false
    }

    /// Requests and retries of the last ten seconds.
    pub fn spent(&self) -> (u64, u64) {
        self.sums(self.second(Instant::now()))
    }

    fn second(&self, now: Instant) -> u64 {
        // Begins high enough that an untouched slot (second 0) is never a current one.
        now.saturating_duration_since(self.start).as_secs() + SLOTS as u64
    }

    fn add(&self, second: u64, requests: u64, retries: i64) {
        let Some(slot) = self.slots.get((second % SLOTS as u64) as usize) else { return };
        let _ = slot.fetch_update(Relaxed, Relaxed, |word| {
            let old = Slot::unpack(word);
            let old = if old.second == second & 0xf_ffff {
                old
            } else {
                Slot { second: second & 0xf_ffff, requests: 0, retries: 0 }
            };
            Some(
                Slot {
                    second: old.second,
                    requests: (old.requests + requests).min(COUNT_MAX),
                    retries: old.retries.saturating_add_signed(retries).min(COUNT_MAX),
                }
                .pack(),
            )
        });
    }

    fn sums(&self, second: u64) -> (u64, u64) {
        let mut sums = (0, 0);
        for slot in &self.slots {
            let slot = Slot::unpack(slot.load(Relaxed));
            if (second & 0xf_ffff).wrapping_sub(slot.second) & 0xf_ffff < SLOTS as u64 {
                sums.0 += slot.requests;
                sums.1 += slot.retries;
            }
        }
        sums
    }
}

impl Slot {
    fn unpack(word: u64) -> Self {
        Self {
            second: word >> (2 * COUNT_BITS),
            requests: (word >> COUNT_BITS) & COUNT_MAX,
            retries: word & COUNT_MAX,
        }
    }

    fn pack(self) -> u64 {
        (self.second << (2 * COUNT_BITS)) | (self.requests << COUNT_BITS) | self.retries
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn retries(budget: &Budget, asked: usize) -> usize {
        (0..asked).filter(|_| budget.retry()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_the_requests_may_be_retried_and_no_more() {
        let budget = Budget::new(0.2);
        for _ in 0..100 {
            budget.request(Instant::now());
        }
        assert_eq!(retries(&budget, 50), 20);
        assert_eq!(budget.spent(), (100, 20));
        tokio::time::advance(Duration::from_secs(5)).await;
        for _ in 0..50 {
            budget.request(Instant::now());
        }
        assert_eq!(retries(&budget, 50), 10, "the old requests and retries still count");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(budget.spent(), (50, 10), "the first second has left the window");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(budget.spent(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_service_has_ten_retries_in_ten_seconds() {
        let budget = Budget::new(0.2);
        budget.request(Instant::now());
        assert_eq!(retries(&budget, 20), 10);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(retries(&budget, 10), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(retries(&budget, 20), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn no_budget_is_no_retry() {
        let budget = Budget::new(0.0);
        budget.request(Instant::now());
        assert_eq!(retries(&budget, 5), 0);
    }

    #[test]
    fn workers_together_never_overdraw() {
        let budget = Budget::new(0.5);
        for _ in 0..1_000 {
            budget.request(Instant::now());
        }
        let taken: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| retries(&budget, 1_000))).collect();
            workers.into_iter().map(|w| w.join().unwrap()).sum()
        });
        assert!((450..=500).contains(&taken), "{taken}");
    }
}
