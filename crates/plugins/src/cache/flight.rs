//! One request to the upstream for all that ask for the same at a time: the first one leads, those
//! that come while it is under way wait. When that takes long, one more of them leads, and after as
//! long another: never all at once. One table for all workers.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Requests under way, by key.
pub(super) struct Flights {
    shards: Box<[Mutex<Flying>]>,
    hasher: RandomState,
}

type Flying = HashMap<Box<[u8]>, Flight>;

/// What is under way for a key.
struct Flight {
    tell: Arc<watch::Sender<Landing>>,
    /// How many are at it.
    leads: usize,
    /// When one more may lead; never when that is too far to be told.
    next: Option<Instant>,
}

const SHARDS: usize = 16;

/// How a request under way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    /// Not yet.
    Flying,
    /// Its answer is kept: look again.
    Kept,
    /// Its answer is not kept: each goes by themselves.
    NotKept,
}

/// A place at a request under way.
pub(super) enum Place {
    /// There is none, or it takes long: this one leads.
    Leads(Lead),
    /// Waits for its end.
    Waits(Wait),
}

impl Default for Flights {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }
}

impl Flights {
    /// Joins the request under way for a key, or leads one: where none is, or the last one to lead
    /// has been at it for as long as others `wait`.
    pub(super) fn join(self: &Arc<Self>, key: &[u8], wait: Duration) -> Place {
        let mut flying = self.shard(key);
        let now = Instant::now();
        let next = now.checked_add(wait);
        let tell = match flying.get_mut(key) {
            Some(flight) if flight.next.is_none_or(|next| now < next) => {
                let (landing, until) = (flight.tell.subscribe(), flight.next);
                return Place::Waits(Wait { landing, until });
            }
            Some(flight) => {
                (flight.leads, flight.next) = (flight.leads + 1, next);
                Arc::clone(&flight.tell)
            }
            None => {
                let tell = Arc::new(watch::Sender::new(Landing::Flying));
                let flight = Flight { tell: Arc::clone(&tell), leads: 1, next };
                flying.insert(key.into(), flight);
                tell
            }
        };
        Place::Leads(Lead { flights: Arc::clone(self), key: key.into(), tell, over_all: None })
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Flying> {
        let number = self.hasher.hash_one(key) as usize % self.shards.len();
        // There is a shard for each remainder.
        let shard = self.shards.get(number).or(self.shards.first());
        #[expect(clippy::expect_used, reason = "there is at least one shard")]
        shard.expect("a shard").lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lead of a request under way. Dropped by the last to lead, it has come to nothing: one of
/// those that wait leads.
pub(super) struct Lead {
    flights: Arc<Flights>,
    key: Box<[u8]>,
    tell: Arc<watch::Sender<Landing>>,
    /// The lead over other gateways too, if it is needed.
    over_all: Option<Box<dyn Any + Send>>,
}

impl Lead {
    /// Leads over other gateways too, for as long.
    pub(super) fn over_all(&mut self, lead: Box<dyn Any + Send>) {
        self.over_all = Some(lead);
    }

    /// Tells those that wait how it ended.
    pub(super) fn lands(self, landing: Landing) {
        self.tell.send_replace(landing);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flying = self.flights.shard(&self.key);
        // Once one of several has landed, the next request under way for the key is another.
        let own = flying.get_mut(&self.key).filter(|own| Arc::ptr_eq(&own.tell, &self.tell));
        let Some(flight) = own else { return };
        flight.leads -= 1;
        if flight.leads == 0 || *self.tell.borrow() != Landing::Flying {
            flying.remove(&self.key);
        }
    }
}

/// Waits for a request under way.
pub(super) struct Wait {
    landing: watch::Receiver<Landing>,
    until: Option<Instant>,
}

impl Wait {
    /// How it ended, or that it has not and one more may lead; `None` when its leader has gone.
    pub(super) async fn ends(self) -> Option<Landing> {
        let Self { mut landing, until } = self;
        let landed = landing.wait_for(|landing| *landing != Landing::Flying);
        let landed = match until {
            Some(until) => match timeout_at(until, landed).await {
                Ok(landed) => landed,
                Err(_) => return Some(Landing::Flying),
            },
            None => landed.await,
        };
        landed.ok().map(|landing| *landing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn leads(flights: &Arc<Flights>) -> Lead {
        match flights.join(b"a", WAIT) {
            Place::Leads(lead) => lead,
            Place::Waits(_) => panic!("somebody leads"),
        }
    }

    fn waits(flights: &Arc<Flights>) -> Wait {
        match flights.join(b"a", WAIT) {
            Place::Leads(_) => panic!("nobody leads"),
            Place::Waits(wait) => wait,
        }
    }

    #[tokio::test]
    async fn one_leads_and_the_others_hear_how_it_ended() {
        let flights = Arc::new(Flights::default());
        let lead = leads(&flights);
        let (first, second) = (waits(&flights), waits(&flights));
        assert!(matches!(flights.join(b"b", WAIT), Place::Leads(_)));
        lead.lands(Landing::Kept);
        assert_eq!(first.ends().await, Some(Landing::Kept));
        assert_eq!(second.ends().await, Some(Landing::Kept));
        leads(&flights);
    }

    #[tokio::test]
    async fn a_leader_that_goes_leaves_the_lead_to_another() {
        let flights = Arc::new(Flights::default());
        let lead = leads(&flights);
        let wait = waits(&flights);
        drop(lead);
        assert_eq!(wait.ends().await, None);
        leads(&flights);
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_leads_each_time_it_has_taken_long() {
        let flights = Arc::new(Flights::default());
        let (first, begun) = (leads(&flights), Instant::now());
        let wait = waits(&flights);
        assert_eq!(wait.ends().await, Some(Landing::Flying));
        assert_eq!(begun.elapsed(), WAIT);
        let second = leads(&flights);
        let (one, other) = (waits(&flights), waits(&flights));
        assert_eq!(one.ends().await, Some(Landing::Flying));
        assert_eq!(begun.elapsed(), 2 * WAIT);
        // The last to lead is gone, and the first is still at it.
        drop(second);
        let third = leads(&flights);
        let wait = waits(&flights);
        first.lands(Landing::Kept);
        assert_eq!(other.ends().await, Some(Landing::Kept), "nobody has led meanwhile");
        assert_eq!(wait.ends().await, Some(Landing::Kept));
        // Whoever comes later has nothing to do with it.
        let next = leads(&flights);
        drop(third);
        waits(&flights);
        next.lands(Landing::NotKept);
        leads(&flights);
    }
}
