//! Asking the store: all that a decision lacks in one call, and the next slice in the background.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{Grant, MOST_TAKES, Naming, StoreError, Take};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Inner;
use super::known::Told;
use super::pass::Pass;
use super::question::{DECIDE, Question, life, read, takes_back};
use super::table::Row;
use crate::redis::Arg;
use crate::table::Tag;

/// For how long somebody is known to be over whose count may yet go down.
const MAY_CHANGE: Duration = Duration::from_secs(1);

/// What is asked of the store about one take.
struct Asked<'a> {
    place: usize,
    tag: Tag,
    take: &'a Take<'a>,
    key: Vec<u8>,
    packed: Vec<u8>,
    /// Held until the answer is there: others wait for it.
    _flight: Option<watch::Sender<()>>,
}

impl<'a> Pass<'a> {
    /// Lets the store decide what this gateway cannot. What comes of the whole is noted in the
    /// grants.
    pub(super) async fn ask(
        self,
        grants: &mut [Grant],
        naming: &Naming<'_>,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let inner = self.inner;
        let now = inner.now();
        let asked: Vec<Asked<'_>> =
            self.asked().map(|(place, tag, take)| inner.asked(place, tag, take, now)).collect();
        let mut told = [Told::default(); MOST_TAKES];
        let told = told.get_mut(..asked.len()).unwrap_or_default();
        inner.decide(&asked, told, until).await?;
        let mut all = true;
        for (asked, told) in asked.iter().zip(&*told) {
            inner.learn(asked.tag, asked.take, &asked.key, now, told);
            if let Some(grant) = grants.get_mut(asked.place) {
                *grant = told.grant();
            }
            if asked.take.listed {
                let told = Told { remaining: told.remaining.saturating_add(told.slice), ..*told };
                let name = || naming(asked.place);
                inner.names.note(asked.tag, asked.take.limit, now, &told, name);
            }
            if !told.allowed {
                inner.note_refused(asked.tag, naming, asked.place);
                all &= asked.take.dry;
            }
        }
        if all {
            self.keep();
        }
        Ok(all)
    }
}

impl Told {
    fn grant(&self) -> Grant {
        Grant {
            allowed: self.allowed,
            remaining: self.remaining.saturating_add(self.slice),
            reset: self.reset,
            wait: self.wait,
            at: self.stamp,
        }
    }
}

impl Inner {
    fn asked<'a>(&self, place: usize, tag: Tag, take: &'a Take<'a>, now: u64) -> Asked<'a> {
        let key = self.key(take);
        let mut question = Question { cost: take.cost, dry: take.dry, ..Question::default() };
        let mut flight = None;
        if take.leased {
            let new = || Row::new(tag, key.clone(), take.limit);
            let made = self.table.make(new, tag, |row| {
                flight = row.flight().is_none().then(|| row.take_off());
                self.prepare(row, &mut question, now);
            });
            self.evicted(made.and_then(|(_, gone)| gone));
        }
        let packed = question.packed(take.limit, self.store.live());
        Asked { place, tag, take, key, packed, _flight: flight }
    }

    /// Adds to a question what a counter wants ahead, and what it has left over.
    fn prepare(&self, row: &mut Row, question: &mut Question, now: u64) {
        let waiting = std::mem::take(&mut row.waiting);
        question.want = row.known.want(now, life(&row.limit), waiting);
        if let Some(back) = row.known.unspent(now) {
            if takes_back(&row.limit) {
                self.counts.returned(back.0);
                question.back = back;
            } else {
                self.counts.lost(back.0);
            }
        }
    }

    /// One call for all of them; where they are on several servers, one for each at the same
    /// time, and what some have taken is given back when others refuse.
    async fn decide(
        &self,
        asked: &[Asked<'_>],
        told: &mut [Told],
        until: Instant,
    ) -> Result<(), StoreError> {
        let within = until.saturating_duration_since(Instant::now());
        let keys: Vec<Vec<u8>> = asked.iter().map(|asked| asked.key.clone()).collect();
        let args: Vec<Arg<'_>> = asked.iter().map(|asked| Arg::from(&*asked.packed)).collect();
        let answer = self.store.run(&DECIDE, &keys, &args, within).await?;
        self.counts.asked();
        read(&answer, told).map(drop).ok_or_else(|| self.store.unexpected())
    }

    /// Takes in what the store said of one counter.
    fn learn(&self, tag: Tag, take: &Take<'_>, key: &[u8], asked: u64, told: &Told) {
        let mut told = *told;
        if take.returnable {
            told.wait = told.wait.min(MAY_CHANGE);
        }
        self.counts.sliced(told.slice);
        let new = || Row::new(tag, key.to_vec(), take.limit);
        if !take.leased && told.allowed {
            self.table.with(tag, |row| row.known.told(asked, take.cost, &told));
            return;
        }
        let made = self.table.make(new, tag, |row| row.known.told(asked, take.cost, &told));
        if let Some((lost, gone)) = made {
            self.counts.lost(lost);
            self.evicted(gone);
        }
    }

    /// What a row that had to go had left is not spent any more.
    fn evicted(&self, gone: Option<Row>) {
        if let Some(row) = gone {
            self.counts.lost(row.known.whole());
        }
    }
}

/// Asks for a counter's next slice, with nobody waiting.
pub(super) fn refill(inner: &Arc<Inner>, tag: Tag, take: &Take<'_>, flight: watch::Sender<()>) {
    let Ok(runtime) = Handle::try_current() else { return };
    if !inner.store.is_open() {
        return;
    }
    let now = inner.now();
    let mut question = Question::default();
    inner.table.with(tag, |row| inner.prepare(row, &mut question, now));
    if question.want == 0 && question.back.0 == 0 {
        return;
    }
    let (key, limit) = (inner.key(take), take.limit.clone());
    let packed = question.packed(&limit, inner.store.live());
    let inner = Arc::clone(inner);
    runtime.spawn(async move {
        inner.refilled(tag, key, packed, now).await;
        drop(flight);
    });
}

impl Inner {
    async fn refilled(&self, tag: Tag, key: Vec<u8>, packed: Vec<u8>, asked: u64) {
        let args = [Arg::from(packed)];
        let Ok(answer) = self.store.run(&DECIDE, &[key], &args, self.within).await else { return };
        self.counts.refilled();
        let mut told = [Told::default()];
        if read(&answer, &mut told).is_some() {
            let [told] = told;
            self.counts.sliced(told.slice);
            let lost = self.table.with(tag, |row| row.known.told(asked, 0, &told));
            self.counts.lost(lost.unwrap_or(told.slice));
        }
    }
}
