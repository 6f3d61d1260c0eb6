//! What is known of a source: whether it answers, for how long it has not, what it said last, and
//! what of that is in force. It is read by operators, and by the log once for each thing that
//! goes wrong.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lockgate_telemetry::{Collect, Encoder, names};
use serde_json::{Value, json};

use super::mirror::Version;

/// What keeps a source from giving a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It does not answer.
    Away,
    /// It does not let the gateway in.
    Denied,
    /// There is nothing at its key any more.
    Empty,
    /// What is there cannot be a configuration.
    Unusable,
}

const REASONS: [(Reason, &str); 4] = [
    (Reason::Away, "away"),
    (Reason::Denied, "denied"),
    (Reason::Empty, "empty"),
    (Reason::Unusable, "unusable"),
];

/// Why there is nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    /// Completes "the source ...".
    pub(super) what: String,
}

impl Failure {
    pub(super) fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self { reason, what: what.into() }
    }

    pub(super) fn away(what: impl Into<String>) -> Self {
        Self::new(Reason::Away, what)
    }
}

/// A source's state, shared by whoever follows it and whoever asks.
pub(crate) struct Status {
    kind: &'static str,
    name: String,
    is_remote: bool,
    failures: [AtomicU64; REASONS.len()],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether the last question was answered, and with something.
    well: bool,
    /// When it last was.
    contact: Option<SystemTime>,
    failure: Option<Failure>,
    seen: Option<String>,
    serving: Option<Arc<Version>>,
    is_from_copy: bool,
    refused: Option<String>,
}

impl Status {
    /// Of a file or a directory on this machine.
    pub(super) fn local(path: &Path) -> Arc<Self> {
        let kind = if path.is_dir() { "directory" } else { "file" };
        Arc::new(Self::new(kind, path.display().to_string(), false))
    }

    /// Of one that answers over the network.
    pub(super) fn remote(kind: &'static str, name: &str) -> Arc<Self> {
        Arc::new(Self::new(kind, name.to_owned(), true))
    }

    fn new(kind: &'static str, name: String, is_remote: bool) -> Self {
        let (failures, state) = Default::default();
        Self { kind, name, is_remote, failures, state }
    }

    /// It has answered, with this version. Whether that is what is in force.
    pub(super) fn answered(&self, version: &Arc<Version>) -> bool {
        let revision = version.revision.as_str();
        let mut state = self.lock();
        if state.failure.take().is_some() {
            tracing::info!(source = self.name, revision, "the configuration's source is back");
        }
        state.well = true;
        state.contact = Some(SystemTime::now());
        state.seen = Some(revision.to_owned());
        let is_in_force =
            state.serving.as_ref().is_some_and(|serving| serving.files == version.files);
        if is_in_force {
            state.serving = Some(Arc::clone(version));
            state.is_from_copy = false;
            state.refused = None;
        }
        is_in_force
    }

    /// It gives nothing that can be used. What is in force stays.
    pub(super) fn failed(&self, failure: &Failure) {
        for ((reason, _), counter) in REASONS.iter().zip(&self.failures) {
            if *reason == failure.reason {
                counter.fetch_add(1, Relaxed);
            }
        }
        let mut state = self.lock();
        state.well = false;
        let is_news = state.failure.as_ref().is_none_or(|last| last.reason != failure.reason);
        state.failure = Some(failure.clone());
        let (stale_s, serves) = (stale(&state), state.serving.is_some());
        drop(state);
        let what = &failure.what;
        if is_news && serves {
            tracing::error!(
                source = self.name,
                stale_s,
                "the configuration's source {what}: what is in force stays"
            );
        }
    }

    /// What it gave was refused.
    pub(super) fn refused(&self, why: &str) {
        self.lock().refused = Some(why.to_owned());
    }

    /// What it gave is in force.
    pub(super) fn in_force(&self, version: Option<Arc<Version>>, is_from_copy: bool) {
        let mut state = self.lock();
        // The source may have said since that this is what it has, by a later revision.
        let is_confirmed = match (&state.serving, &version) {
            (Some(serving), Some(version)) => !state.is_from_copy && serving.files == version.files,
            _ => false,
        };
        if is_confirmed {
            state.refused = None;
            return;
        }
        if !is_from_copy {
            state.refused = None;
        }
        state.is_from_copy = is_from_copy;
        state.serving = version;
    }

    /// What the source does, when it gives nothing.
    pub(super) fn why(&self) -> Option<String> {
        self.lock().failure.as_ref().map(|failure| failure.what.clone())
    }

    /// For the admin listener.
    pub(crate) fn shown(&self) -> Value {
        let state = self.lock();
        let failure = state.failure.as_ref();
        let reason = failure.map(|failure| failure.reason);
        let word = REASONS.iter().find(|(known, _)| Some(*known) == reason);
        let mut shown = json!({
            "kind": self.kind,
            "source": self.name,
            "state": word.map_or("well", |(_, word)| word),
            "refused": state.refused,
        });
        if let (true, Some(shown)) = (self.is_remote, shown.as_object_mut()) {
            let serving = state.serving.as_ref();
            shown.insert("revision".into(), serving.map(|version| &*version.revision).into());
            shown.insert("seen".into(), state.seen.as_deref().into());
            shown.insert("fromCopy".into(), state.is_from_copy.into());
            shown.insert("staleSeconds".into(), stale(&state).into());
            shown.insert("lastContact".into(), state.contact.map(unix).into());
            let error = failure.map(|failure| failure.what.as_str());
            shown.insert("lastError".into(), error.into());
        }
        shown
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long it has not been known that what is in force is what the source says.
fn stale(state: &State) -> u64 {
    if state.well {
        return 0;
    }
    // Of a copy that nobody has confirmed since: from when it was fetched.
    let known = state.contact.or(state.serving.as_ref().map(|version| version.at));
    known.and_then(|known| known.elapsed().ok()).unwrap_or_default().as_secs()
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Collect for Status {
    fn collect(&self, out: &mut Encoder) {
        if !self.is_remote {
            return;
        }
        let state = self.lock();
        out.count(&names::SOURCE_UP, &[self.kind], u64::from(state.well));
        out.count(&names::SOURCE_STALE, &[self.kind], stale(&state));
        drop(state);
        for ((_, reason), counter) in REASONS.iter().zip(&self.failures) {
            out.count(&names::SOURCE_FAILURES, &[self.kind, reason], counter.load(Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    fn version(revision: &str, text: &str) -> Arc<Version> {
        let files = BTreeMap::from([("main".to_owned(), Bytes::from(text.to_owned()))]);
        let (prefix, revision) = (String::new(), revision.to_owned());
        Arc::new(Version { prefix, revision, files, at: SystemTime::now() })
    }

    #[test]
    fn a_copy_that_the_source_has_confirmed_is_none_any_more() {
        let status = Status::remote("etcd", "etcd://h/k/");
        let copy = version("1", "x");
        let told = || {
            let shown = status.shown();
            (shown["fromCopy"].as_bool().unwrap(), shown["revision"].as_str().unwrap().to_owned())
        };
        status.in_force(Some(Arc::clone(&copy)), true);
        status.in_force(Some(Arc::clone(&copy)), true);
        assert_eq!(told(), (true, "1".to_owned()), "nobody has confirmed it");
        assert!(!status.answered(&version("2", "y")));
        status.in_force(Some(Arc::clone(&copy)), true);
        assert_eq!(told(), (true, "1".to_owned()), "the source says something else");
        assert!(status.answered(&version("3", "x")));
        assert_eq!(told(), (false, "3".to_owned()));
        status.in_force(Some(copy), true);
        assert_eq!(told(), (false, "3".to_owned()), "it is read once more");
        status.in_force(Some(version("4", "z")), false);
        assert_eq!(told(), (false, "4".to_owned()));
    }
}
