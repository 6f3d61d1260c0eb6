//! What is known of a source: whether it answers, for how long it has not, what it said last, and
//! what of that is in force. It is read by operators, and by the log once for each thing that
//! goes wrong.

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
    /// What is there is one, and is wrong.
    Refused,
}

const REASONS: [(Reason, &str); 5] = [
    (Reason::Away, "away"),
    (Reason::Denied, "denied"),
    (Reason::Empty, "empty"),
    (Reason::Unusable, "unusable"),
    (Reason::Refused, "refused"),
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
    /// Whether copies are kept of it.
    has_copies: bool,
    /// Whether it counts its states.
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
    /// Why there is no copy of what is in force.
    not_copied: Option<String>,
    refused: Option<String>,
}

impl Status {
    /// Of a file.
    pub(super) fn file(name: String) -> Arc<Self> {
        Arc::new(Self::new("file", name, false, false))
    }

    /// Of a directory on this machine.
    pub(super) fn directory(name: String) -> Arc<Self> {
        Arc::new(Self::new("directory", name, true, false))
    }

    /// Of one that answers over the network.
    pub(super) fn remote(kind: &'static str, name: &str) -> Arc<Self> {
        Arc::new(Self::new(kind, name.to_owned(), true, true))
    }

    fn new(kind: &'static str, name: String, has_copies: bool, is_remote: bool) -> Self {
        let (failures, state) = Default::default();
        Self { kind, name, has_copies, is_remote, failures, state }
    }

    /// It is there, whatever it says.
    pub(super) fn is_there(&self) {
        let mut state = self.lock();
        if state.failure.take().is_some() {
            tracing::info!(source = self.name, "the configuration's source is back");
        }
        state.well = true;
        state.contact = Some(SystemTime::now());
    }

    /// It is there no more, and was until now. Whoever reads it says so in the log.
    pub(super) fn is_gone(&self, failure: Failure) {
        self.count(failure.reason);
        let mut state = self.lock();
        if state.well {
            state.contact = Some(SystemTime::now());
        }
        state.well = false;
        state.refused = None;
        state.failure = Some(failure);
    }

    /// Whether there is a copy of what is in force, or why not.
    pub(super) fn is_copied(&self, done: Result<(), String>) {
        let why = done.err();
        let before = std::mem::replace(&mut self.lock().not_copied, why.clone());
        if let Some(why) = why.filter(|why| before.as_ref() != Some(why)) {
            tracing::warn!(source = self.name, "no copy is kept of the configuration: {why}");
        }
    }

    /// Whether what is in force is what it says.
    pub(super) fn is_confirmed(&self) -> bool {
        let state = self.lock();
        state.well && state.refused.is_none() && !state.is_from_copy
    }

    /// Whether what it says is refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.lock().refused.is_some()
    }

    /// The gateway starts with its copy.
    pub(super) fn begins_with(&self, copy: &Version) {
        let age_s = copy.at.elapsed().unwrap_or_default().as_secs();
        tracing::warn!(
            age_s,
            revision = copy.revision,
            why = self.why(),
            "starting with the last good copy of the configuration, which was the source's \
             {age_s} seconds ago"
        );
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
        self.count(failure.reason);
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
        self.count(Reason::Refused);
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
        let refused = state.refused.as_ref().map(|_| Reason::Refused);
        let reason = failure.map(|failure| failure.reason).or(refused);
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
        }
        if let (true, Some(shown)) = (self.has_copies, shown.as_object_mut()) {
            if let Some(why) = &state.not_copied {
                shown.insert("notCopied".into(), why.as_str().into());
            }
            shown.insert("fromCopy".into(), state.is_from_copy.into());
            shown.insert("staleSeconds".into(), stale(&state).into());
            shown.insert("lastContact".into(), state.contact.map(unix).into());
            let error = failure.map(|failure| failure.what.as_str());
            shown.insert("lastError".into(), error.into());
        }
        shown
    }

    fn count(&self, what: Reason) {
        for ((reason, _), counter) in REASONS.iter().zip(&self.failures) {
            if *reason == what {
                counter.fetch_add(1, Relaxed);
            }
        }
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
        if !self.has_copies {
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

    use super::super::mirror::Seat;
    use super::*;

    fn version(revision: &str, text: &str) -> Arc<Version> {
        let files = BTreeMap::from([("main".to_owned(), Bytes::from(text.to_owned()))]);
        let (prefix, revision, seat) = (String::new(), revision.to_owned(), Seat::default());
        Arc::new(Version { prefix, revision, files, seat, at: SystemTime::now() })
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
