//! How often somebody may guess the admin token: so many different ones a minute from one address,
//! and more from all together who try to log in. A wrong token that is sent again and again, as by
//! a program that does not know the new one yet, is one guess, and keeps nobody else at its address
//! out. During the wait the right token is not told from a wrong one, or guessing could go on. The
//! table of addresses is bounded: where there is no room, who has guessed least is forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_core::network;
use tokio::time::Instant;

/// Wrong tokens of one address in [`WINDOW`], after which it has to wait.
const MOST: usize = 30;
/// The same of all together.
const MOST_OF_ALL: u32 = 600;
const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses that are told apart.
const ADDRESSES: usize = 1024;

/// The wrong tokens of the last minute.
#[derive(Default)]
pub(crate) struct Tries {
    seen: Mutex<Seen>,
    /// Tokens are told apart by a hash that means nothing elsewhere.
    hasher: RandomState,
}

#[derive(Default)]
struct Seen {
    /// Since when, and how many.
    all: Option<(Instant, u32)>,
    addresses: HashMap<u128, Guesses>,
}

/// What one address has tried, at most [`MOST`].
struct Guesses {
    begun: Instant,
    tokens: Vec<u64>,
}

/// What is left of a minute.
fn left(begun: Instant, now: Instant) -> Option<Duration> {
    WINDOW.checked_sub(now.duration_since(begun)).filter(|left| !left.is_zero())
}

impl Tries {
    /// How long an address has to wait, if it may not try now.
    pub(crate) fn wait(&self, from: IpAddr) -> Option<Duration> {
        let all = || {
            let (begun, wrong) = self.seen().all?;
            left(begun, Instant::now()).filter(|_| wrong >= MOST_OF_ALL)
        };
        self.wait_alone(from).or_else(all)
    }

    /// The same by what it has tried itself: what others do keeps no program out.
    pub(crate) fn wait_alone(&self, from: IpAddr) -> Option<Duration> {
        let seen = self.seen();
        let own = seen.addresses.get(&network(from))?;
        left(own.begun, Instant::now()).filter(|_| own.tokens.len() >= MOST)
    }

    /// An address has tried this token, which is wrong.
    pub(crate) fn was_wrong(&self, from: IpAddr, token: &str) {
        let (token, from, now) = (self.hasher.hash_one(token), network(from), Instant::now());
        let mut seen = self.seen();
        if !seen.addresses.contains_key(&from) {
            seen.make_room(now);
        }
        let fresh = || Guesses { begun: now, tokens: Vec::new() };
        let own = seen.addresses.entry(from).or_insert_with(fresh);
        if left(own.begun, now).is_none() {
            *own = fresh();
        }
        if own.tokens.contains(&token) || own.tokens.len() >= MOST {
            return;
        }
        own.tokens.push(token);
        let all = seen.all.filter(|(begun, _)| left(*begun, now).is_some());
        let (begun, wrong) = all.unwrap_or((now, 0));
        seen.all = Some((begun, wrong.saturating_add(1)));
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Forgets, where the table is full, those whose minute is over, and else the one that has
    /// guessed least, and longest ago.
    fn make_room(&mut self, now: Instant) {
        if self.addresses.len() < ADDRESSES {
            return;
        }
        self.addresses.retain(|_, own| left(own.begun, now).is_some());
        if self.addresses.len() < ADDRESSES {
            return;
        }
        let least = self.addresses.iter().min_by_key(|(_, own)| (own.tokens.len(), own.begun));
        if let Some(least) = least.map(|(address, _)| *address) {
            self.addresses.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn guess(tries: &Tries, from: IpAddr, number: usize) {
        tries.was_wrong(from, &format!("guess {number}"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_waits_and_nobody_else_does() {
        let tries = Tries::default();
        let guesser = ip("2001:db8::1");
        for n in 0..MOST {
            assert_eq!(tries.wait(guesser), None);
            guess(&tries, guesser, n);
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(tries.wait(guesser), Some(Duration::from_secs(40)));
        assert!(tries.wait(ip("2001:db8::2:1")).is_some(), "its whole network");
        assert_eq!(tries.wait(ip("2001:db8:0:1::1")), None);
        assert_eq!(tries.wait(ip("10.0.0.1")), None);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(tries.wait(guesser), None);
        guess(&tries, guesser, 0);
        assert_eq!(tries.wait(guesser), None, "a new minute has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn one_wrong_token_is_one_guess_however_often_it_is_sent() {
        let (tries, from) = (Tries::default(), ip("10.0.0.1"));
        for n in 0..10_000 {
            tries.was_wrong(from, if n % 2 == 0 { "the old one" } else { "one still older" });
            assert_eq!(tries.wait(from), None, "{n}");
        }
        (3..MOST).for_each(|n| guess(&tries, from, n));
        assert_eq!(tries.wait_alone(from), None);
        guess(&tries, from, 1);
        assert_eq!(tries.wait_alone(from), Some(WINDOW));
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_guess_together_wait_together() {
        let tries = Tries::default();
        for n in 0..MOST_OF_ALL {
            let from = IpAddr::from([10, 1, (n / 250) as u8, (n % 250) as u8]);
            assert_eq!(tries.wait(from), None, "{n}");
            guess(&tries, from, 0);
        }
        assert_eq!(tries.wait(ip("10.2.0.1")), Some(WINDOW));
        assert_eq!(tries.wait_alone(ip("10.2.0.1")), None);
        tokio::time::advance(WINDOW).await;
        assert_eq!(tries.wait(ip("10.2.0.1")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_nobody_waits_for_others_in_it() {
        let tries = Tries::default();
        let of = |n: u32| IpAddr::from((n + (10 << 24)).to_be_bytes());
        let guesser = ip("192.0.2.1");
        (0..MOST).for_each(|n| guess(&tries, guesser, n));
        for n in 0..20_000 {
            assert_eq!(tries.wait_alone(of(n)), None, "{n}");
            guess(&tries, of(n), 0);
        }
        assert_eq!(tries.seen().addresses.len(), ADDRESSES);
        assert!(tries.wait_alone(guesser).is_some(), "who waits is not forgotten for others");
        // The minute is over for all: there is room again.
        tokio::time::advance(WINDOW).await;
        assert_eq!(tries.wait(of(30_000)), None);
        guess(&tries, of(30_000), 0);
        assert_eq!(tries.seen().addresses.len(), 1);
    }
}
