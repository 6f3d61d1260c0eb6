//! Counters in a Redis. All that one request takes is one call of one script; and what a limit
//! lets a gateway have ahead, it spends by itself without a call ([`known`]). Who is known to be
//! over is refused without one too.

mod ask;
mod figures;
mod known;
mod listed;
mod pass;
mod question;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{
    Counters, Grant, LocalFuture, MOST_TAKES, Naming, StoreError, StoreFailure, Take,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::{LIMITS_WITHIN, RedisStore, Servers};
use crate::board::{Board, Refused};
use crate::clock::Clock;
use crate::tag::Tag;
use crate::view::Listed;

pub use figures::CounterFigures;
use figures::Counts;
use listed::Names;
use pass::Pass;
use question::{DECIDE, Question, takes_back};
use table::Table;

/// Reads anything as an answer.
pub(super) fn fuzz(answer: &redis::Value) {
    let mut known = known::Known::default();
    for count in 1..=MOST_TAKES {
        let mut told = [known::Told::default(); MOST_TAKES];
        let told = told.get_mut(..count).unwrap_or_default();
        if question::read(answer, told).is_some() {
            for told in &*told {
                let _ = known.told(1, 1, told);
            }
            let _ = (known.spend(2, 1), known.want(3, SWEEP, 1), known.unspent(u64::MAX));
        }
    }
}

/// How often slices whose life is over are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How often one decision waits for a slice that another has asked for, before it asks itself.
const TURNS: usize = 3;

/// Counters in one Redis, for all workers of this process.
pub struct RedisCounters {
    inner: Arc<Inner>,
    /// Dropped with the counters: the sweeping ends.
    _there: watch::Sender<()>,
}

struct Inner {
    store: Arc<RedisStore>,
    within: Duration,
    table: Table,
    clock: Clock,
    board: Board,
    names: Names,
    counts: Counts,
}

impl RedisCounters {
    /// Counters of a store. What is left of slices is given back from `control`.
    pub fn start(store: Arc<RedisStore>, control: &Handle) -> Self {
        let within = store.within(LIMITS_WITHIN);
        let (board, names, counts) = Default::default();
        let (table, clock) = (Table::new(), Clock::system());
        let inner = Arc::new(Inner { store, within, table, clock, board, names, counts });
        let there = watch::Sender::new(());
        control.spawn(sweep(Arc::clone(&inner), there.subscribe()));
        Self { inner, _there: there }
    }

    /// The store's name.
    pub fn store(&self) -> &str {
        self.inner.store.name()
    }

    /// What slices and refusals came to.
    pub fn figures(&self) -> CounterFigures {
        self.inner.counts.figures()
    }

    /// Who is refused most here.
    pub fn refused(&self) -> Vec<Refused> {
        self.inner.board.all()
    }

    /// The counters that are listed, as far as this gateway has met them: what the store said when
    /// it was last asked.
    pub fn listed(&self, most: usize) -> Vec<Listed> {
        self.inner.names.listed(most, self.inner.now())
    }
}

impl Counters for RedisCounters {
    fn take_now(
        &self,
        takes: &[Take<'_>],
        grants: &mut [Grant],
        naming: &Naming<'_>,
    ) -> Option<Result<bool, StoreError>> {
        if takes.len() > MOST_TAKES || grants.len() < takes.len() {
            return Some(Err(self.inner.too_many()));
        }
        let pass = Pass::begin(&self.inner, takes, grants);
        if pass.is_refused() {
            pass.note_refusals(naming);
            return Some(Ok(false));
        }
        if pass.is_whole() {
            pass.keep();
            return Some(Ok(true));
        }
        if self.inner.store.is_open() {
            return None;
        }
        Some(Err(self.inner.away()))
    }

    fn take<'a>(
        &'a self,
        takes: &'a [Take<'a>],
        grants: &'a mut [Grant],
        naming: &'a Naming<'a>,
    ) -> LocalFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.inner.take(takes, grants, naming))
    }

    fn give_back(&self, taken: &Take<'_>, grant: &Grant) {
        self.inner.give_back(taken, grant);
    }

    fn gateways(&self) -> u32 {
        self.inner.store.live()
    }
}

impl Inner {
    fn now(&self) -> u64 {
        self.clock.now(false).mono
    }

    async fn take(
        self: &Arc<Self>,
        takes: &[Take<'_>],
        grants: &mut [Grant],
        naming: &Naming<'_>,
    ) -> Result<bool, StoreError> {
        if takes.len() > MOST_TAKES || grants.len() < takes.len() {
            return Err(self.too_many());
        }
        let until = Instant::now() + self.within;
        let mut turns = TURNS;
        loop {
            let pass = Pass::begin(self, takes, grants);
            if pass.is_refused() {
                pass.note_refusals(naming);
                return Ok(false);
            }
            if pass.is_whole() {
                pass.keep();
                return Ok(true);
            }
            if turns > 0
                && let Some(mut flight) = pass.flight()
            {
                turns -= 1;
                drop(pass);
                // Over when its other end is dropped, which is an error.
                if timeout_at(until, flight.changed()).await.is_ok() {
                    continue;
                }
                return Err(self.late());
            }
            return pass.ask(grants, naming, until).await;
        }
    }

    fn give_back(&self, taken: &Take<'_>, grant: &Grant) {
        if taken.cost == 0 || !takes_back(taken.limit) {
            return;
        }
        let (tag, now) = (self.table.tag(taken), self.now());
        let kept = self.table.with(tag, |row| {
            row.known.not_over();
            taken.leased && row.known.put_back(now, taken.cost, grant.at)
        });
        if kept != Some(true) {
            let key = self.key(taken);
            self.send_back(key, taken.limit, (taken.cost, grant.at));
        }
    }

    fn send_back(&self, key: Vec<u8>, limit: &lockgate_core::Limit, back: (u64, u64)) {
        let question = Question { back, ..Question::default() };
        let packed = question.packed(limit, self.store.live());
        self.store.send(&DECIDE, vec![key], vec![packed.into()]);
    }

    /// A counter's key. What is counted by may be a credential, so it is not told but hashed; and
    /// each counter has a slot of its own.
    fn key(&self, take: &Take<'_>) -> Vec<u8> {
        let hash = blake3::hash(take.key).to_hex();
        let tag = hash.as_bytes().get(..32).unwrap_or_default();
        self.store.key("count", tag, question::kind(take.limit).as_bytes())
    }

    /// Whether the keys of one decision may be on several servers.
    fn is_apart(&self) -> bool {
        matches!(self.store.inner.servers, Servers::Cluster(_))
    }

    fn too_many(&self) -> StoreError {
        let what = format!("decides at most {MOST_TAKES} takes together");
        StoreError::new(self.store.name(), StoreFailure::Answer, what)
    }

    fn away(&self) -> StoreError {
        StoreError::new(self.store.name(), StoreFailure::Away, "is not asked now")
    }

    fn late(&self) -> StoreError {
        let what = format!("did not answer within {}ms", self.within.as_millis());
        StoreError::new(self.store.name(), StoreFailure::Timeout, what)
    }

    /// Gives back what is left of slices whose life is over, when no decision has done so.
    fn sweep(&self) {
        let now = self.now();
        self.table.each(|row| {
            while let Some(back) = row.known.unspent(now) {
                if takes_back(&row.limit) {
                    self.counts.returned(back.0);
                    self.send_back(row.key.clone(), &row.limit, back);
                } else {
                    self.counts.lost(back.0);
                }
            }
        });
    }

    fn note_refused(&self, tag: Tag, naming: &Naming<'_>, place: usize) {
        self.board.note(tag, || naming(place));
    }
}

async fn sweep(inner: Arc<Inner>, mut there: watch::Receiver<()>) {
    let mut turns = interval(SWEEP);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = there.changed() => return,
            _ = turns.tick() => inner.sweep(),
        }
    }
}
