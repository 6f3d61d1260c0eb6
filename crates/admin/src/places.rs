//! The listener's connections: so many in all, and from one address a share of them. Whose requests
//! have not been let in yet gives way to who comes later, the oldest first, so that neither silence
//! nor what anybody may ask keeps operators out; who comes when all others have been is turned
//! away.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_core::network;
use tokio::sync::Notify;

/// Most connections at once.
const MOST: usize = 256;
/// Most of them from one address.
const SHARE: usize = 64;

/// All places.
#[derive(Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    next: u64,
    /// The oldest first.
    seats: BTreeMap<u64, Seat>,
}

struct Seat {
    from: u128,
    is_known: bool,
    leave: Arc<Notify>,
}

impl Taken {
    /// Takes the oldest seat of one who is not known, of these.
    fn clear_one(&mut self, of: impl Fn(&Seat) -> bool) -> bool {
        let stranger = self.seats.iter().find(|(_, seat)| !seat.is_known && of(seat));
        let stranger = stranger.map(|(number, _)| *number);
        let seat = stranger.and_then(|number| self.seats.remove(&number));
        seat.is_some_and(|seat| {
            seat.leave.notify_one();
            true
        })
    }
}

impl Places {
    /// A place for a new connection, if there is one.
    pub(crate) fn take(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let from = network(from);
        let mut taken = self.taken();
        let own = taken.seats.values().filter(|seat| seat.from == from).count();
        let has_place = match (own >= SHARE, taken.seats.len() >= MOST) {
            (true, _) => taken.clear_one(|seat| seat.from == from),
            (false, true) => taken.clear_one(|_| true),
            (false, false) => true,
        };
        if !has_place {
            return None;
        }
        let (number, leave) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        let seat = Seat { from, is_known: false, leave: Arc::clone(&leave) };
        taken.seats.insert(number, seat);
        Some(Place { claim: Claim { places: Arc::clone(self), number }, leave })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, until it is dropped.
pub(crate) struct Place {
    claim: Claim,
    leave: Arc<Notify>,
}

impl Place {
    /// What makes it the connection's own.
    pub(crate) fn claim(&self) -> Claim {
        self.claim.clone()
    }

    /// Waits until it has to give way.
    pub(crate) async fn is_lost(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.claim.places.taken().seats.remove(&self.claim.number);
    }
}

/// Goes with each request of a connection, to whoever lets it in.
#[derive(Clone)]
pub(crate) struct Claim {
    places: Arc<Places>,
    number: u64,
}

impl Claim {
    /// A request has been let in: the connection's place is its own from now on.
    pub(crate) fn is_known(&self) {
        if let Some(seat) = self.places.taken().seats.get_mut(&self.number) {
            seat.is_known = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    async fn is_lost(place: &Place) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, place.is_lost()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_give_way_and_who_is_known_stays() {
        let places = Arc::new(Places::default());
        let mut own: Vec<Place> = (0..SHARE).map(|_| places.take(ip(1)).unwrap()).collect();
        own[0].claim().is_known();
        let next = places.take(ip(1)).unwrap();
        assert!(!is_lost(&own[0]).await && is_lost(&own[1]).await && !is_lost(&own[2]).await);
        assert_eq!(places.taken().seats.len(), SHARE);
        own.iter().chain([&next]).for_each(|place| place.claim().is_known());
        assert!(places.take(ip(1)).is_none(), "all of its share are known");
        let other = places.take(ip(2)).unwrap();
        assert!(!is_lost(&other).await);
        drop(own.pop());
        assert!(places.take(ip(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn all_places_together_are_bounded_too() {
        let places = Arc::new(Places::default());
        let take = |n: usize| places.take(ip((n / SHARE) as u8)).unwrap();
        let all: Vec<Place> = (0..MOST).map(take).collect();
        let next = places.take(ip(200)).unwrap();
        assert!(is_lost(&all[0]).await && !is_lost(&all[1]).await);
        next.claim().is_known();
        all.iter().for_each(|place| place.claim().is_known());
        assert!(places.take(ip(200)).is_none());
        // Who has lost a place takes nobody else's with it.
        let taken = places.taken().seats.len();
        drop(all);
        assert_eq!((taken, places.taken().seats.len()), (MOST, 1));
    }
}
