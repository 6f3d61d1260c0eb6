//! Asking the store: all that a decision lacks in one call, and the next slice in the background.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
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
use crate::tag::Tag;

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

    /// One call for all of them, or one for each where they are on several servers.
    async fn decide(
        &self,
        asked: &[Asked<'_>],
        told: &mut [Told],
        until: Instant,
    ) -> Result<(), StoreError> {
        if asked.len() > 1 && self.is_apart() {
            return self.decide_apart(asked, told, until).await;
        }
        let keys: Vec<Vec<u8>> = asked.iter().map(|asked| asked.key.clone()).collect();
        let args: Vec<Arg<'_>> = asked.iter().map(|asked| Arg::from(&*asked.packed)).collect();
        self.call(&keys, &args, told, until).await
    }

    async fn call(
        &self,
        keys: &[Vec<u8>],
        args: &[Arg<'_>],
        told: &mut [Told],
        until: Instant,
    ) -> Result<(), StoreError> {
        let within = until.saturating_duration_since(Instant::now());
        let answer = self.store.run(&DECIDE, keys, args, within).await?;
        self.counts.asked();
        read(&answer, told).map(drop).ok_or_else(|| self.store.unexpected())
    }

    /// All at the same time, each by itself. When one refuses or fails, what the others have taken
    /// is given back: a moment later, so that in between it may keep somebody else from passing.
    async fn decide_apart(
        &self,
        asked: &[Asked<'_>],
        told: &mut [Told],
        until: Instant,
    ) -> Result<(), StoreError> {
        let one = |asked: &Asked<'_>| {
            let (keys, args) = ([asked.key.clone()], [Arg::from(asked.packed.clone())]);
            async move {
                let mut told = [Told::default()];
                let result = self.call(&keys, &args, &mut told, until).await;
                result.map(|()| told[0])
            }
        };
        let results = all(asked.iter().map(one)).await;
        let (mut refused, mut failed) = (false, None);
        for ((asked, told), result) in asked.iter().zip(&mut *told).zip(results) {
            match result {
                Ok(answer) => {
                    refused |= !answer.allowed && !asked.take.dry;
                    *told = answer;
                }
                Err(error) => failed = Some(error),
            }
        }
        for (asked, told) in asked.iter().zip(told).filter(|(_, told)| told.allowed) {
            if failed.is_some() {
                self.undo(asked, told, asked.take.cost + told.slice);
            } else if refused && told.slice > 0 {
                // It was counted with the slice, and can be spent with it.
                told.slice += asked.take.cost;
            } else if refused {
                self.undo(asked, told, asked.take.cost);
                told.remaining += asked.take.cost;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn undo(&self, asked: &Asked<'_>, told: &Told, amount: u64) {
        if !takes_back(asked.take.limit) {
            self.counts.lost(amount);
        } else if amount > 0 {
            self.send_back(asked.key.clone(), asked.take.limit, (amount, told.stamp));
        }
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

/// Waits for all of these, which are few.
async fn all<F: Future>(calls: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut calls: Vec<Result<F::Output, Pin<Box<F>>>> =
        calls.map(|call| Err(Box::pin(call))).collect();
    poll_fn(|cx| {
        let mut is_over = true;
        for call in &mut calls {
            let Err(waiting) = call else { continue };
            match waiting.as_mut().poll(cx) {
                Poll::Ready(output) => *call = Ok(output),
                Poll::Pending => is_over = false,
            }
        }
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    calls.into_iter().filter_map(Result::ok).collect()
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
