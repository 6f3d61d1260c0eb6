//! One part of the records, under one lock: what is kept under each key, and when it is over.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use lockgate_core::{Begin, Begun, Fingerprint, Owner};
use tokio::time::Instant;

use super::more_than_small;

/// Where a request is.
#[derive(Debug)]
pub(super) enum State {
    /// It runs: its owner is alive as long as the process is.
    Running,
    /// Its owner has gone without a word.
    Unknown,
    /// It has run.
    Done(Bytes),
}

struct Record {
    owner: Owner,
    fingerprint: Fingerprint,
    began: Instant,
    keep: Duration,
    state: State,
    /// Where it stands among those that end; not while it runs.
    over: Option<(Instant, u64)>,
}

#[derive(Default)]
pub(super) struct Shard {
    records: HashMap<Box<[u8]>, Record>,
    /// By their end; the number tells apart those of one moment.
    over: BTreeMap<(Instant, u64), Box<[u8]>>,
    count: u64,
}

/// Longer than that nothing is kept.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl Shard {
    /// What the record says to a request that wants to run, if there is one.
    pub(super) fn find(&mut self, begin: &Begin<'_>, now: Instant) -> Option<Begun> {
        let record = self.records.get_mut(begin.key)?;
        let age = now.saturating_duration_since(record.began);
        let fingerprint = record.fingerprint;
        Some(match &record.state {
            State::Running if record.owner == begin.owner => Begun::First,
            State::Running => Begun::Running { age, fingerprint },
            State::Done(record) => Begun::Done { record: record.clone(), fingerprint },
            State::Unknown if begin.again && fingerprint == *begin.fingerprint => {
                let over = record.over.take();
                record.owner = begin.owner;
                record.began = now;
                record.keep = begin.keep;
                record.state = State::Running;
                over.and_then(|over| self.over.remove(&over));
                Begun::First
            }
            State::Unknown => Begun::Unknown { age, fingerprint },
        })
    }

    /// Begins one. There is none under the key.
    pub(super) fn insert(&mut self, begin: &Begin<'_>, now: Instant) {
        let record = Record {
            owner: begin.owner,
            fingerprint: *begin.fingerprint,
            began: now,
            keep: begin.keep,
            state: State::Running,
            over: None,
        };
        self.records.insert(begin.key.into(), record);
    }

    /// The state of what is this owner's.
    pub(super) fn owned(&self, key: &[u8], owner: Owner) -> Option<&State> {
        let record = self.records.get(key).filter(|record| record.owner == owner)?;
        Some(&record.state)
    }

    pub(super) fn runs(&self, key: &[u8]) -> bool {
        self.records.get(key).is_some_and(|record| matches!(record.state, State::Running))
    }

    /// It is done, and this is kept of it.
    pub(super) fn done(&mut self, key: &[u8], kept: &Bytes, now: Instant, keep: Duration) {
        // Not the buffer that it was written into, of which it may be a part.
        self.ends(key, State::Done(Bytes::copy_from_slice(kept)), now, Some(keep));
    }

    /// Nobody knows how it ended.
    pub(super) fn lose(&mut self, key: &[u8], now: Instant) {
        self.ends(key, State::Unknown, now, None);
    }

    fn ends(&mut self, key: &[u8], state: State, now: Instant, keep: Option<Duration>) {
        let Some(record) = self.records.get_mut(key) else { return };
        record.state = state;
        let keep = keep.unwrap_or(record.keep).min(LONGEST);
        self.count += 1;
        let over = (now + keep, self.count);
        if let Some(before) = record.over.replace(over) {
            self.over.remove(&before);
        }
        self.over.insert(over, key.into());
    }

    /// Takes one away; how many bytes of its answer were counted.
    pub(super) fn remove(&mut self, key: &[u8]) -> u64 {
        self.take(key).unwrap_or(0)
    }

    /// Takes away the first that is over; how many bytes its key and its answer took.
    pub(super) fn pop_over(&mut self, now: Instant) -> Option<u64> {
        let (&(over, _), key) = self.over.first_key_value()?;
        if over > now {
            return None;
        }
        let key = key.clone();
        self.take(&key).map(|kept| kept + key.len() as u64)
    }

    /// Takes one away if it is over; how many bytes its key and its answer took.
    pub(super) fn remove_if_over(&mut self, key: &[u8], now: Instant) -> Option<u64> {
        let (over, _) = self.records.get(key)?.over?;
        if over > now { None } else { self.take(key).map(|kept| kept + key.len() as u64) }
    }

    fn take(&mut self, key: &[u8]) -> Option<u64> {
        let record = self.records.remove(key)?;
        record.over.and_then(|over| self.over.remove(&over));
        Some(match record.state {
            State::Done(kept) => more_than_small(kept.len()),
            State::Running | State::Unknown => 0,
        })
    }
}
