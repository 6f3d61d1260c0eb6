//! Who is next? One plan for each way to balance, prepared when the set of endpoints changes, so
//! that a pick draws, looks and takes, without allocating. A plan knows places and weights; which
//! of them may be used is the [`Ask`]'s business, and it is asked last, per candidate.

mod alias;
mod least;
mod maglev;
mod power;
mod sequence;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lockgate_config::model::Balance;
use tokio::time::Instant;

pub(crate) use maglev::{Maglev, hash};

use crate::endpoint::{Doubt, Endpoint, FULL_SHARE};
use alias::Alias;
use sequence::Sequence;

/// What the picks of one upstream share between workers, and keep across reloads.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// The next turn of `round_robin`; also where ties of `least_connections` rotate.
    pub(crate) turn: AtomicU64,
    /// Requests in flight that were placed by key, for their bounded load.
    pub(crate) keyed: AtomicU32,
}

/// How one level of endpoints is balanced.
#[derive(Debug)]
pub(crate) enum Plan {
    RoundRobin(Sequence),
    Least(Sequence),
    Random(Alias),
    P2c(Alias),
    PeakEwma(Alias),
}

/// Endpoints of one priority, with what picks among them need.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) members: Box<[Arc<Endpoint>]>,
    pub(crate) weights: Box<[u32]>,
    pub(crate) plan: Plan,
    /// By key, before the plan: for `maglev` and for a sticky header.
    pub(crate) keyed: Option<Maglev>,
}

/// One pick's conditions.
pub(crate) struct Ask<'a> {
    pub(crate) level: &'a Level,
    pub(crate) position: &'a Position,
    /// Endpoints to leave out.
    pub(crate) tried: &'a [Arc<Endpoint>],
    pub(crate) now: Instant,
    pub(crate) slow_start: Duration,
    /// Below this share of healthy members, most doubts are ignored; 0: never.
    pub(crate) panic_threshold: f64,
    /// How much doubt is overlooked; found out when first needed.
    pub(crate) overlook: Cell<Option<Doubt>>,
}

impl Level {
    /// Prepares a level. Members have a weight above 0 and are at most 65,535.
    pub(crate) fn new(members: Box<[Arc<Endpoint>]>, balance: &Balance, keyed: bool) -> Self {
        let weights: Box<[u32]> = members.iter().map(|e| e.weight().max(1)).collect();
        let plan = match balance {
            Balance::RoundRobin => Plan::RoundRobin(Sequence::new(&weights)),
            Balance::LeastConnections => Plan::Least(Sequence::new(&weights)),
            Balance::Random | Balance::Maglev(_) => Plan::Random(Alias::new(&weights)),
            Balance::P2c => Plan::P2c(Alias::new(&weights)),
            Balance::PeakEwma => Plan::PeakEwma(Alias::new(&weights)),
        };
        let keyed = keyed.then(|| {
            let names = members.iter().map(|e| format!("{}\0{}", e.name(), e.label()));
            Maglev::new(&names.collect::<Vec<_>>(), &weights)
        });
        Self { members, weights, plan, keyed }
    }
}

impl Ask<'_> {
    /// Chooses the place of a member; `None` when none fits.
    pub(crate) fn choose(&self, key: Option<u64>) -> Option<usize> {
        if self.level.members.len() == 1 {
            return self.fits(0).then_some(0);
        }
        match (&self.level.keyed, key, &self.level.plan) {
            (Some(maglev), Some(key), _) => maglev.choose(self, key),
            (.., Plan::RoundRobin(sequence)) => sequence.choose(self),
            (.., Plan::Least(sequence)) => least::choose(self, sequence),
            (.., Plan::Random(alias)) => alias.choose(self),
            (.., Plan::P2c(alias)) => power::choose(self, alias, power::by_requests),
            (.., Plan::PeakEwma(alias)) => power::choose(self, alias, power::by_latency),
        }
    }

    /// Whose turn it is. A retry draws at random: if it used up the next one's turn, a dead
    /// endpoint of two would be the first choice of every request.
    fn turn(&self) -> u64 {
        if self.tried.is_empty() { self.position.turn() } else { fastrand::u64(..) }
    }

    /// Whether the member at this place may take the request.
    fn fits(&self, place: usize) -> bool {
        let Some(endpoint) = self.level.members.get(place) else { return false };
        if self.tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint)) {
            return false;
        }
        match endpoint.usable(self.now) {
            Ok(()) => true,
            Err(out) => {
                let doubt = endpoint.doubt(out);
                doubt != Doubt::None && doubt <= self.overlook() && endpoint.has_room()
            }
        }
    }

    /// Whether it fits and, while it warms up, whether it takes this one.
    fn takes(&self, place: usize) -> bool {
        self.fits(place) && {
            let share = self.share(place);
            share >= FULL_SHARE || fastrand::u64(..FULL_SHARE) < share
        }
    }

    fn share(&self, place: usize) -> u64 {
        let endpoint = self.level.members.get(place);
        endpoint.map_or(0, |endpoint| endpoint.share(self.now, self.slow_start))
    }

    /// The weight of now: the configured one, less while warming up.
    fn weight(&self, place: usize) -> u64 {
        let weight = self.level.weights.get(place).copied().unwrap_or(0);
        u64::from(weight) * self.share(place)
    }

    fn in_flight(&self, place: usize) -> u32 {
        self.level.members.get(place).map_or(u32::MAX, |endpoint| endpoint.in_flight())
    }

    /// A weighted random one of all that fit: the last resort of plans whose draws all missed.
    fn scan(&self) -> Option<usize> {
        let (mut total, mut chosen) = (0_u64, None);
        for place in 0..self.level.members.len() {
            if !self.fits(place) {
                continue;
            }
            let weight = self.weight(place).max(1);
            total = total.saturating_add(weight);
            if fastrand::u64(..total) < weight {
                chosen = Some(place);
            }
        }
        chosen
    }

    /// Panic: with some healthy members, but too few to bear the load, doubtful ones are used too,
    /// all but those that cannot be connected to. With none healthy there is nothing to relieve.
    fn overlook(&self) -> Doubt {
        if let Some(known) = self.overlook.get() {
            return known;
        }
        let (mut healthy, mut all) = (0_u32, 0_u32);
        for endpoint in &self.level.members {
            let doubt = match endpoint.usable(self.now) {
                Ok(()) => Doubt::None,
                Err(crate::Out::Overridden | crate::Out::Draining) => continue,
                Err(out) => endpoint.doubt(out),
            };
            healthy += u32::from(doubt == Doubt::None);
            all += 1;
        }
        let panic = healthy > 0 && f64::from(healthy) < self.panic_threshold * f64::from(all);
        let overlook = if panic { Doubt::Down } else { Doubt::None };
        self.overlook.set(Some(overlook));
        overlook
    }
}

impl Position {
    fn turn(&self) -> u64 {
        self.turn.fetch_add(1, Relaxed)
    }
}

#[cfg(test)]
mod tests;
