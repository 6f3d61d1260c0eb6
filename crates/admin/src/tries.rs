//! How often somebody may guess the admin token: so many times a minute from one address, and more
//! from all together who try to log in. The table of addresses is bounded; those that it has no
//! room for share a place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::network;

/// Wrong tokens of one address in [`WINDOW`], after which it has to wait.
const MOST: u32 = 30;
/// The same of all together.
const MOST_OF_ALL: u32 = 600;
const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses that are told apart.
const ADDRESSES: usize = 1024;
/// The place of the rest: no address has this number.
const REST: u128 = u128::MAX;

/// The wrong tokens of the last minute.
#[derive(Default)]
pub(crate) struct Tries(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    all: Option<Count>,
    addresses: HashMap<u128, Count>,
}

struct Count {
    begun: Instant,
    wrong: u32,
}

impl Count {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.begun) >= WINDOW
    }

    /// How long who has guessed too often has to wait.
    fn wait(&self, now: Instant, most: u32) -> Option<Duration> {
        let left = WINDOW.saturating_sub(now.duration_since(self.begun));
        (self.wrong >= most && !left.is_zero()).then_some(left)
    }
}

impl Tries {
    /// How long an address has to wait, if it may not try now.
    pub(crate) fn wait(&self, from: IpAddr) -> Option<Duration> {
        let all = || self.seen().all.as_ref()?.wait(Instant::now(), MOST_OF_ALL);
        self.wait_alone(from).or_else(all)
    }

    /// The same by what it has tried itself: what others do keeps no program out.
    pub(crate) fn wait_alone(&self, from: IpAddr) -> Option<Duration> {
        let seen = self.seen();
        seen.addresses.get(&seen.place(from))?.wait(Instant::now(), MOST)
    }

    /// An address has tried a wrong token.
    pub(crate) fn was_wrong(&self, from: IpAddr) {
        let (mut seen, now) = (self.seen(), Instant::now());
        if seen.addresses.len() >= ADDRESSES {
            seen.addresses.retain(|_, count| !count.is_over(now));
        }
        let place = seen.place(from);
        let fresh = || Count { begun: now, wrong: 0 };
        let seen = &mut *seen;
        let own = seen.addresses.entry(place).or_insert_with(fresh);
        for count in [own, seen.all.get_or_insert_with(fresh)] {
            if count.is_over(now) {
                *count = fresh();
            }
            count.wrong = count.wrong.saturating_add(1);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn place(&self, from: IpAddr) -> u128 {
        let own = network::of(from);
        let has_room = self.addresses.len() < ADDRESSES || self.addresses.contains_key(&own);
        if has_room { own } else { REST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_waits_and_nobody_else_does() {
        let tries = Tries::default();
        let guesser = ip("2001:db8::1");
        for _ in 0..MOST {
            assert_eq!(tries.wait(guesser), None);
            tries.was_wrong(guesser);
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(tries.wait(guesser), Some(Duration::from_secs(40)));
        assert!(tries.wait(ip("2001:db8::2:1")).is_some(), "its whole network");
        assert_eq!(tries.wait(ip("2001:db8:0:1::1")), None);
        assert_eq!(tries.wait(ip("10.0.0.1")), None);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(tries.wait(guesser), None);
        tries.was_wrong(guesser);
        assert_eq!(tries.wait(guesser), None, "a new minute has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_guess_together_wait_together() {
        let tries = Tries::default();
        for n in 0..MOST_OF_ALL {
            let from = IpAddr::from([10, 1, (n / 250) as u8, (n % 250) as u8]);
            assert_eq!(tries.wait(from), None, "{n}");
            tries.was_wrong(from);
        }
        assert_eq!(tries.wait(ip("10.2.0.1")), Some(WINDOW));
        assert_eq!(tries.wait_alone(ip("10.2.0.1")), None);
        tokio::time::advance(WINDOW).await;
        assert_eq!(tries.wait(ip("10.2.0.1")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_those_without_a_place_share_one() {
        let tries = Tries::default();
        let of = |n: u32| IpAddr::from((n + (10 << 24)).to_be_bytes());
        for n in 0..20_000 {
            tries.was_wrong(of(n));
        }
        let known = tries.seen().addresses.len();
        assert!((ADDRESSES..=ADDRESSES + 1).contains(&known), "{known}");
        // The minute is over for all: there is room again.
        tokio::time::advance(WINDOW).await;
        assert_eq!(tries.wait(of(30_000)), None);
        tries.was_wrong(of(30_000));
        assert_eq!(tries.seen().addresses.len(), 1);
    }
}
