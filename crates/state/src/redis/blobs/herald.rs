//! What runs for a shared cache on the control runtime: it hears of the purges of all gateways,
//! reads in the log what it has not heard, tells of those made here, and holds on to leads.
//!
//! A message bears the number of the purge before it, so a message that is lost is noticed with the
//! next one; the log is looked at every half second besides, and whenever the connection was cut.

use std::sync::{Arc, Weak};
use std::time::Duration;

use lockgate_core::StoreError;
use redis::Value;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep};

use super::backlog::{Backlog, Untold};
use super::{LOG, PURGE, Shared, log};
use crate::redis::{Arg, Heard};

/// How often the log is looked at, whatever is heard.
const LOOK: Duration = Duration::from_millis(500);
/// How long the store may take here, where no request waits.
const WITHIN: Duration = Duration::from_millis(500);
/// Purges of a page of the log.
const PAGE: usize = 1000;
/// Most that the log remembers.
pub(super) const MOST: usize = 100_000;
/// How far the log reaches back: an hour longer than anything is kept in the store.
const REACH: Duration = Duration::from_secs(25 * 3600);
/// How soon the store is told again that could not be.
const AGAIN: Duration = Duration::from_millis(100);

/// Listens until the cache is gone.
pub(super) async fn listen(
    shared: Weak<Shared>,
    mut ears: broadcast::Receiver<Heard>,
    mut gone: watch::Receiver<()>,
) {
    let mut behind = true;
    loop {
        if behind {
            let Some(shared) = shared.upgrade() else { return };
            behind = !shared.catch_up().await;
        }
        let heard = tokio::select! {
            heard = ears.recv() => Some(heard),
            () = sleep(LOOK) => None,
            _ = gone.changed() => return,
        };
        let Some(shared) = shared.upgrade() else { return };
        match heard {
            Some(Ok(Heard::Message(text))) => behind |= !shared.hear(&text),
            Some(Err(broadcast::error::RecvError::Closed)) => return,
            Some(Ok(Heard::Gap) | Err(broadcast::error::RecvError::Lagged(_))) => {
                shared.figures.gaps.add(0, 1);
                behind = true;
            }
            None => behind = true,
        }
    }
}

/// Holds on to leads until the cache is gone.
pub(super) async fn hold(shared: Weak<Shared>, mut gone: watch::Receiver<()>) {
    loop {
        tokio::select! {
            () = sleep(super::leads::LIFE / 5) => {}
            _ = gone.changed() => return,
        }
        let Some(shared) = shared.upgrade() else { return };
        for (key, token) in shared.leads.due() {
            shared.hold(&key, token, super::leads::LIFE);
        }
    }
}

/// Tells of purges until the cache is gone.
pub(super) async fn tell(
    shared: Weak<Shared>,
    backlog: Arc<Backlog>,
    mut gone: watch::Receiver<()>,
) {
    loop {
        let untold = tokio::select! {
            untold = backlog.next() => untold,
            _ = gone.changed() => return,
        };
        let Some(told) = shared.upgrade() else { return };
        let result = told.tell(&untold).await;
        drop(told);
        match result {
            Ok(()) => Backlog::done(untold),
            Err(why) => {
                backlog.put_back(untold, &why);
                sleep(AGAIN).await;
            }
        }
    }
}

impl Shared {
    /// Takes in a message. Whether nothing is missing before it.
    fn hear(&self, text: &[u8]) -> bool {
        let Some((before, own, purge)) = log::message(text) else { return false };
        let read = self.log.read();
        if own <= read {
            return true;
        }
        if !self.log.may_have(own) {
            // The log itself tells.
            return false;
        }
        self.memory.heard(&purge, log::stamp(own.unsigned_abs()));
        self.figures.heard.add(0, 1);
        self.figures.lag(self.log.age(own));
        let whole = before <= read;
        if whole {
            self.log.has_read(own);
        }
        whole
    }

    /// Reads what it has not heard. Whether that is all.
    async fn catch_up(&self) -> bool {
        for _ in 0..2 * MOST / PAGE {
            let (asked, seen) = (Instant::now(), self.log.read());
            let args = [Arg::from(&*self.channel), Arg::from(seen), Arg::from(PAGE as u64)];
            let said = self.store.run(&LOG, std::slice::from_ref(&self.log_key), &args, WITHIN);
            let Some((now, last, page)) = said.await.ok().and_then(read) else { return false };
            let full = page.len() >= PAGE;
            for (member, number) in page {
                self.memory.heard(&log::purge(&member), log::stamp(number.unsigned_abs()));
                self.log.has_read(number);
                self.figures.caught_up.add(0, 1);
            }
            if !full {
                self.memory.reach(log::stamp(last.unsigned_abs()));
                self.log.has_read(last);
                self.log.confirm(asked, now);
                return true;
            }
        }
        false
    }

    async fn tell(&self, untold: &[Untold]) -> Result<(), StoreError> {
        let reach = u64::try_from(REACH.as_micros()).unwrap_or(u64::MAX);
        let mut args = vec![
            Arg::from(&*self.channel),
            Arg::from(self.log.read()),
            Arg::from(reach),
            Arg::from(MOST as u64),
        ];
        args.extend(untold.iter().map(|untold| Arg::from(&*untold.member)));
        self.store.run(&PURGE, std::slice::from_ref(&self.log_key), &args, WITHIN).await.map(drop)
    }
}

/// A part of the log: what was purged, and by which number.
pub(super) type Page = Vec<(Vec<u8>, i64)>;

/// The server's time, the log's last number, and a page of the log.
pub(super) fn read(said: Value) -> Option<(i64, i64, Page)> {
    let number = |value: &Value| match value {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse::<i64>().ok(),
        Value::Int(number) => Some(*number),
        _ => None,
    };
    let Value::Array(parts) = said else { return None };
    let [now, last, Value::Array(page)] = <[Value; 3]>::try_from(parts).ok()? else { return None };
    let mut read = Vec::with_capacity(page.len() / 2);
    for pair in page.chunks_exact(2) {
        let [Value::BulkString(member), score] = pair else { return None };
        read.push((member.clone(), number(score).filter(|number| *number >= 0)?));
    }
    let (now, last) = (number(&now)?, number(&last).filter(|last| *last >= 0)?);
    Some((now, last, read))
}
