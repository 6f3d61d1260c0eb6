//! The last requests that were refused or failed, for whoever looks after the gateway. A request
//! that went well costs nothing here; of those that did not, each worker notes a few between two
//! of its ticks and counts the rest, so that a flood of refusals costs no more than a look. What
//! clients brought on themselves and what failed are kept apart: the one does not wash away the
//! other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use lockgate_core::Blame;

use crate::log::{Entry, hidden};

/// Kept of each kind.
const KEPT: usize = 200;
/// Noted by a worker between two ticks, of each kind.
const NOTED: usize = 16;
/// Most bytes of a text.
const MOST_TEXT: usize = 512;

/// One request that did not go well. Texts are as the access log writes them: escaped, and without
/// secrets.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When its head was complete.
    pub time: SystemTime,
    /// Its id, as in the answer and in the log.
    pub id: String,
    /// The client's address.
    pub client_ip: IpAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Empty when the request could not be read.
    pub method: String,
    /// The host that was asked for.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The status that the client got, or would have got.
    pub status: u16,
    /// The reason's code; none when an upstream's own answer is an error.
    pub reason: Option<String>,
    /// Whose doing it was.
    pub blame: Option<Blame>,
    /// What happened, in words.
    pub story: String,
    /// The route's pattern.
    pub route: Option<String>,
    /// The upstream's name.
    pub upstream: Option<String>,
    /// The endpoint that was asked last.
    pub endpoint: Option<String>,
    /// From its head to the answer's last byte.
    pub took: Duration,
}

/// Whether a request only was refused, or something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// By the client's own doing: no route, no credentials, too many requests.
    Refused,
    /// By the gateway's or an upstream's, or with a status of 500 and above.
    Failed,
}

impl FailureKind {
    /// Of a request that ended so; `None` when it went well.
    pub fn of(status: u16, reason: Option<&str>, blame: Option<Blame>) -> Option<Self> {
        match (status, blame) {
            (500.., _) | (_, Some(Blame::Gateway | Blame::Upstream)) => Some(Self::Failed),
            (_, Some(Blame::Client)) => Some(Self::Refused),
            (_, None) => reason.map(|_| Self::Refused),
        }
    }
}

/// The last failures of all workers.
#[derive(Default)]
pub struct Failures {
    refused: Mutex<VecDeque<Failure>>,
    failed: Mutex<VecDeque<Failure>>,
    left_out: AtomicU64,
}

impl Failures {
    /// Those of a kind, the newest first.
    pub fn list(&self, kind: FailureKind) -> Vec<Failure> {
        let kept = self.of(kind).lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Failure> = kept.iter().cloned().collect();
        drop(kept);
        all.sort_by_key(|one| std::cmp::Reverse(one.time));
        all
    }

    /// How many were not noted, as too many came at once.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }

    /// What one worker notes in. Each has its own, on its own thread.
    pub fn worker(self: &Arc<Self>) -> WorkerFailures {
        WorkerFailures { all: Arc::clone(self), fresh: RefCell::default() }
    }

    fn of(&self, kind: FailureKind) -> &Mutex<VecDeque<Failure>> {
        match kind {
            FailureKind::Refused => &self.refused,
            FailureKind::Failed => &self.failed,
        }
    }
}

/// What a worker has noted since its last tick.
pub struct WorkerFailures {
    all: Arc<Failures>,
    fresh: RefCell<Fresh>,
}

#[derive(Default)]
struct Fresh {
    refused: Vec<Failure>,
    failed: Vec<Failure>,
    left_out: u64,
}

impl WorkerFailures {
    /// Whether there is room for one of this kind. If not, it is counted.
    pub fn wants(&self, kind: FailureKind) -> bool {
        let mut fresh = self.fresh.borrow_mut();
        let has_room = fresh.of(kind).len() < NOTED;
        if !has_room {
            fresh.left_out += 1;
        }
        has_room
    }

    /// Notes one that is wanted.
    pub fn note(&self, kind: FailureKind, entry: &Entry<'_>) {
        let mut fresh = self.fresh.borrow_mut();
        let noted = fresh.of(kind);
        if noted.len() < NOTED {
            noted.push(Failure::of(entry));
        }
    }

    /// Hands over what has been noted, unless somebody reads just now: then the next time. The
    /// worker calls it about every 100 ms.
    pub fn flush(&self) {
        let mut fresh = self.fresh.borrow_mut();
        if fresh.left_out > 0 {
            self.all.left_out.fetch_add(std::mem::take(&mut fresh.left_out), Relaxed);
        }
        for kind in [FailureKind::Refused, FailureKind::Failed] {
            let noted = fresh.of(kind);
            if noted.is_empty() {
                continue;
            }
            let Ok(mut kept) = self.all.of(kind).try_lock() else { continue };
            kept.extend(noted.drain(..));
            let gone = kept.len().saturating_sub(KEPT);
            kept.drain(..gone);
        }
    }
}

impl Fresh {
    fn of(&mut self, kind: FailureKind) -> &mut Vec<Failure> {
        match kind {
            FailureKind::Refused => &mut self.refused,
            FailureKind::Failed => &mut self.failed,
        }
    }
}

impl Failure {
    fn of(entry: &Entry<'_>) -> Self {
        let text = |text: &str| hidden(text, MOST_TEXT);
        Self {
            time: entry.time,
            id: entry.id.to_owned(),
            client_ip: entry.client_ip,
            scheme: entry.scheme,
            method: text(entry.method),
            host: text(entry.host),
            path: text(entry.path),
            status: entry.status,
            reason: entry.reason.map(str::to_owned),
            blame: entry.blame,
            story: text(entry.story),
            route: entry.route.map(str::to_owned),
            upstream: entry.upstream.map(str::to_owned),
            endpoint: entry.endpoint.map(str::to_owned),
            took: entry.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(status: u16, path: &str, at: u64) -> Entry<'_> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        Entry { time, status, path, method: "GET", ..Entry::default() }
    }

    fn note(worker: &WorkerFailures, kind: FailureKind, entry: &Entry<'_>) {
        if worker.wants(kind) {
            worker.note(kind, entry);
        }
    }

    #[test]
    fn a_good_request_is_of_no_kind() {
        use FailureKind::{Failed, Refused};
        for (status, reason, blame, kind) in [
            (200, None, None, None),
            (404, None, None, None),
            (404, Some("no_route"), Some(Blame::Client), Some(Refused)),
            (200, Some("client_closed"), Some(Blame::Client), Some(Refused)),
            (429, Some("rate_limited"), None, Some(Refused)),
            (200, Some("upstream_broken"), Some(Blame::Upstream), Some(Failed)),
            (500, None, None, Some(Failed)),
            (503, Some("overloaded"), Some(Blame::Gateway), Some(Failed)),
        ] {
            assert_eq!(FailureKind::of(status, reason, blame), kind, "{status} {reason:?}");
        }
    }

    #[test]
    fn a_flood_of_refusals_is_bounded_and_leaves_failures_alone() {
        let all = Arc::new(Failures::default());
        let (one, other) = (all.worker(), all.worker());
        note(&one, FailureKind::Failed, &entry(502, "/broken", 1));
        let mut flood = 0;
        for tick in 0..100 {
            for number in 0..50 {
                note(&other, FailureKind::Refused, &entry(429, "/flood", tick * 50 + number));
                flood += 1;
            }
            one.flush();
            other.flush();
        }
        let refused = all.list(FailureKind::Refused);
        assert_eq!(refused.len(), KEPT);
        assert!(refused.is_sorted_by_key(|one| std::cmp::Reverse(one.time)), "newest first");
        assert_eq!(all.left_out(), flood - 100 * NOTED as u64);
        let failed = all.list(FailureKind::Failed);
        assert_eq!((failed.len(), failed[0].path.as_str()), (1, "/broken"));
    }

    #[test]
    fn what_is_noted_while_somebody_reads_comes_with_the_next_tick() {
        let all = Arc::new(Failures::default());
        let worker = all.worker();
        note(&worker, FailureKind::Failed, &entry(502, "/x", 1));
        let reading = all.failed.lock().unwrap();
        worker.flush();
        drop(reading);
        assert!(all.list(FailureKind::Failed).is_empty());
        worker.flush();
        assert_eq!(all.list(FailureKind::Failed).len(), 1);
    }

    #[test]
    fn secrets_are_not_kept_and_texts_are_cut() {
        let all = Arc::new(Failures::default());
        let worker = all.worker();
        let long = format!("/a?token=hush-hush&page=2&x={}", "y".repeat(5000));
        note(&worker, FailureKind::Failed, &entry(500, &long, 1));
        worker.flush();
        let kept = &all.list(FailureKind::Failed)[0].path;
        assert!(kept.starts_with("/a?token=[redacted]&page=2&x=yyy"), "{kept}");
        assert!(!kept.contains("hush") && kept.len() < 600, "{kept}");
    }
}
