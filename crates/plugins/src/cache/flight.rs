//! One request to the upstream for all that ask for the same at a time: the first one leads, those
//! that come while it is under way wait. One table for all workers.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Requests under way, by key.
pub(super) struct Flights {
    shards: Box<[Mutex<Flying>]>,
    hasher: RandomState,
}

type Flying = HashMap<Box<[u8]>, watch::Receiver<Landing>>;

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
    /// There is none: this one leads.
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
    /// Joins the request under way for a key, or leads one.
    pub(super) fn join(self: &Arc<Self>, key: &[u8]) -> Place {
        let mut flying = self.shard(key);
        if let Some(landing) = flying.get(key) {
            return Place::Waits(Wait(landing.clone()));
        }
        let (tell, landing) = watch::channel(Landing::Flying);
        flying.insert(key.into(), landing);
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

/// The lead of a request under way. Dropped, it has come to nothing: one of those that wait leads.
pub(super) struct Lead {
    flights: Arc<Flights>,
    key: Box<[u8]>,
    tell: watch::Sender<Landing>,
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
        self.flights.shard(&self.key).remove(&self.key);
    }
}

/// Waits for a request under way.
pub(super) struct Wait(watch::Receiver<Landing>);

impl Wait {
    /// How it ended; `None` when its leader has gone.
    pub(super) async fn ends(mut self) -> Option<Landing> {
        let ended = self.0.wait_for(|landing| *landing != Landing::Flying).await;
        ended.ok().map(|landing| *landing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_leads_and_the_others_hear_how_it_ended() {
        let flights = Arc::new(Flights::default());
        let Place::Leads(lead) = flights.join(b"a") else { panic!("nobody leads yet") };
        let Place::Waits(first) = flights.join(b"a") else { panic!("somebody leads") };
        let Place::Waits(second) = flights.join(b"a") else { panic!("somebody leads") };
        assert!(matches!(flights.join(b"b"), Place::Leads(_)));
        lead.lands(Landing::Kept);
        assert_eq!(first.ends().await, Some(Landing::Kept));
        assert_eq!(second.ends().await, Some(Landing::Kept));
        assert!(matches!(flights.join(b"a"), Place::Leads(_)), "and it is over");
    }

    #[tokio::test]
    async fn a_leader_that_goes_leaves_the_lead_to_another() {
        let flights = Arc::new(Flights::default());
        let Place::Leads(lead) = flights.join(b"a") else { panic!("nobody leads yet") };
        let Place::Waits(wait) = flights.join(b"a") else { panic!("somebody leads") };
        drop(lead);
        assert_eq!(wait.ends().await, None);
        assert!(matches!(flights.join(b"a"), Place::Leads(_)));
    }
}
