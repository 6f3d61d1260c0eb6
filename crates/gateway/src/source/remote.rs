//! A source over the network, as the gateway reads it: always from a copy on the disk, the newest
//! that was fetched or, while there is none, the last that was in force.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockgate_config::{Begin, Report};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::follow::{first, follow};
use super::mirror::{Copied, Mirror, Version};
use super::place::Place;
use super::status::{Failure, Status};

/// How long a start waits for the source.
const AT_START: Duration = Duration::from_secs(5);
/// After how long what could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// A source over the network.
pub(super) struct Remote {
    place: Arc<Place>,
    mirror: Mirror,
    news: watch::Receiver<Option<Arc<Version>>>,
    /// Until somebody follows the source.
    tell: Option<watch::Sender<Option<Arc<Version>>>>,
    /// What is to be read: the newest, or the last good copy.
    tried: Option<Copied>,
    /// What is in force, or was when the gateway last ran.
    good: Option<Copied>,
    /// What the source had said when it was read last.
    taken: Option<Arc<Version>>,
    /// When that is to be read again, as it could not be written.
    again: Option<Instant>,
    /// What was put in force or refused last: what is newer than this is a change.
    settled: Option<Arc<Version>>,
    /// Whether the copy is read as the source has nothing better.
    is_from_copy: bool,
}

impl Remote {
    /// Finds the copies of a source in the gateway's directory.
    ///
    /// # Errors
    /// When there can be none.
    pub(super) fn open(place: Place, state: &Path) -> Result<Self, Report> {
        let mirror = Mirror::open(state, place.name()).map_err(|error| {
            let what = format!(
                "its last good copy cannot be kept in `{}`: {error}; `--state-dir` names another \
                 directory",
                state.display()
            );
            Report::unreadable(place.name(), &what)
        })?;
        let (tell, news) = watch::channel(None);
        let good = mirror.good();
        Ok(Self {
            place: Arc::new(place),
            mirror,
            news,
            tell: Some(tell),
            tried: None,
            good,
            taken: None,
            again: None,
            settled: None,
            is_from_copy: false,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        self.mirror.directory()
    }

    /// Asks the source for the first time, and waits a moment for its answer; falls back to the
    /// last good copy when there is none, or none that can be written. Not to be called on a
    /// runtime.
    ///
    /// # Errors
    /// When there is no copy either.
    pub(super) fn begin(&mut self, status: &Status) -> Result<(), Report> {
        let failure = match ask_once(&self.place) {
            Ok(version) => return self.begin_with(version),
            Err(failure) => failure,
        };
        status.failed(&failure);
        let Some(good) = self.good.clone().filter(|_| self.fall_back()) else {
            let what = format!("it {}, and there is no earlier copy of it", failure.what);
            return Err(Report::unreadable(self.place.name(), &what));
        };
        // When the source says the same once it is back, that is no change.
        self.know(Arc::clone(&good.version));
        status.begins_with(&good.version);
        Ok(())
    }

    fn begin_with(&mut self, version: Version) -> Result<(), Report> {
        self.know(Arc::new(version));
        match self.take_newest() {
            Err(report) if !self.fall_back() => Err(report),
            _ => Ok(()),
        }
    }

    fn know(&mut self, version: Arc<Version>) {
        if let Some(tell) = &self.tell {
            tell.send_replace(Some(version));
        }
    }

    /// Reads the last good copy from now on, until the source says something else. Whether there
    /// is one.
    pub(super) fn fall_back(&mut self) -> bool {
        let Some(good) = self.good.clone() else { return false };
        self.settled.clone_from(&self.taken);
        if let Some(refused) =
            self.tried.replace(good).filter(|tried| !tried.is(self.good.as_ref()))
        {
            refused.remove();
        }
        self.is_from_copy = true;
        true
    }

    /// What was in force, here or when the gateway last ran.
    pub(super) fn good(&self) -> Option<&Copied> {
        self.good.as_ref()
    }

    /// What is to be read.
    pub(super) fn current(&self) -> Begin<'_> {
        self.tried.as_ref().map_or(Begin::Path(self.mirror.directory()), begin)
    }

    /// Makes the newest that the source has said what is to be read.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(super) fn take_newest(&mut self) -> Result<(), Report> {
        let newest = self.news.borrow().clone();
        let is_known = |known: &Option<Arc<Version>>| match (known, &newest) {
            (Some(known), Some(newest)) => Arc::ptr_eq(known, newest),
            (_, None) => true,
            (None, Some(_)) => false,
        };
        let there = self.tried.as_ref().filter(|tried| tried.is_there());
        let there = there.map(|tried| Arc::clone(&tried.version));
        let was_unwritten = self.again.take().is_some();
        self.taken.clone_from(&newest);
        // What has been refused is not read again in place of the copy.
        let is_refused = self.is_from_copy && !was_unwritten && is_known(&self.settled);
        if is_known(&there) || is_refused {
            return Ok(());
        }
        let Some(version) = newest else { return Ok(()) };
        let known = self.good.as_ref().and_then(|good| good.as_of(Arc::clone(&version)));
        let written = match known {
            Some(known) => Ok(known),
            None => self.mirror.write(&version, self.good.as_ref()),
        };
        let copied = written.map_err(|error| {
            self.again = Some(Instant::now() + AGAIN);
            let directory = self.mirror.directory().display();
            let what = format!("no copy of it can be written into `{directory}`: {error}");
            Report::unreadable(self.place.name(), &what)
        })?;
        self.is_from_copy = false;
        if was_unwritten {
            // Whoever reads it now may only want to look at it.
            self.settled = None;
        }
        let before = self.tried.replace(copied);
        if let Some(refused) = before.filter(|before| !before.is(self.good.as_ref())) {
            refused.remove();
        }
        Ok(())
    }

    /// What the source had said when it was read is dealt with.
    pub(super) fn settle(&mut self) {
        self.settled.clone_from(&self.taken);
    }

    /// What was read last is in force.
    pub(super) fn in_force(&mut self, status: &Status) {
        let Some(tried) = self.tried.clone() else { return };
        self.settle();
        status.in_force(Some(Arc::clone(&tried.version)), self.is_from_copy);
        if tried.is(self.good.as_ref()) {
            return;
        }
        let before = self.good.replace(tried.clone());
        self.mirror.keep(&tried, before);
    }

    /// Waits until the copy of what is in force is on the disk.
    pub(super) async fn kept(&mut self) {
        self.mirror.kept().await;
    }

    /// Begins to follow the source. To be called on the control runtime.
    pub(super) fn follow(&mut self, status: &Arc<Status>) {
        if let Some(tell) = self.tell.take() {
            let confirmed = self.mirror.confirmed();
            tokio::spawn(follow(Arc::clone(&self.place), tell, Arc::clone(status), confirmed));
        }
    }

    /// Waits until it has said something that has not been dealt with, or what it said is to be
    /// tried again.
    pub(super) async fn changed(&mut self) {
        loop {
            let is_settled = match (&*self.news.borrow_and_update(), &self.settled) {
                (Some(newest), Some(settled)) => Arc::ptr_eq(newest, settled),
                (newest, _) => newest.is_none(),
            };
            if !is_settled {
                return;
            }
            tokio::select! {
                changed = self.news.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = moment(self.again) => return,
            }
        }
    }
}

/// Waits for a moment, if there is one.
async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Asks a source on a runtime of its own.
///
/// # Errors
/// Why it has nothing.
pub(super) fn ask_once(place: &Place) -> Result<Version, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::away(format!("cannot be asked: {error}")))?;
    runtime.block_on(first(place, AT_START))
}

/// A copy as what a configuration begins with.
pub(super) fn begin(copied: &Copied) -> Begin<'_> {
    Begin::Copies { root: &copied.base, files: &copied.parts, name: &copied.version.prefix }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::super::mirror::Seat;
    use super::*;

    const URL: &str = "etcd://127.0.0.1:1/k/";

    struct State(PathBuf);

    impl State {
        fn new(name: &str) -> Self {
            let name = format!("lockgate-remote-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn remote(&self) -> Remote {
            Remote::open(Place::read(URL).unwrap().unwrap(), &self.0).unwrap()
        }
    }

    impl Drop for State {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn version(names: &[&str]) -> Version {
        let files = names.iter().map(|name| ((*name).to_owned(), Bytes::from("workers: 1")));
        let (prefix, revision) = (URL.to_owned(), names.concat());
        let (files, seat) = (files.collect(), Seat::default());
        Version { prefix, revision, files, seat, at: SystemTime::now() }
    }

    /// Of which no copy can be written: a file would be a directory.
    fn unwritable() -> Version {
        version(&["a", "a/b"])
    }

    fn revision(remote: &Remote) -> &str {
        &remote.tried.as_ref().unwrap().version.revision
    }

    async fn is_at_rest(remote: &mut Remote) -> bool {
        let mut changed = pin!(remote.changed());
        std::future::poll_fn(|cx| Poll::Ready(changed.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_dealt_with_and_tried_again_later() {
        let state = State::new("unwritable");
        let (mut remote, status) = (state.remote(), Status::remote("etcd", URL));
        remote.begin_with(version(&["a"])).unwrap();
        remote.in_force(&status);
        remote.know(Arc::new(unwritable()));
        assert!(!is_at_rest(&mut remote).await);
        assert!(remote.take_newest().is_err());
        remote.settle();
        assert!(is_at_rest(&mut remote).await, "it is not read again at once");
        assert_eq!(revision(&remote), "a");
        remote.again = Some(Instant::now());
        remote.changed().await;
        assert!(remote.take_newest().is_err(), "it was tried again");
        remote.settle();
        assert!(is_at_rest(&mut remote).await);
        remote.know(Arc::new(version(&["b"])));
        assert!(!is_at_rest(&mut remote).await);
        remote.take_newest().unwrap();
        remote.in_force(&status);
        assert_eq!((revision(&remote), remote.again), ("b", None));
        remote.kept().await;
    }

    #[tokio::test]
    async fn a_copy_is_begun_with_when_nothing_newer_can_be_written() {
        let state = State::new("begin");
        let status = Status::remote("etcd", URL);
        let mut remote = state.remote();
        assert!(remote.begin_with(unwritable()).is_err(), "there is no copy");
        remote.begin_with(version(&["a"])).unwrap();
        remote.in_force(&status);
        remote.kept().await;
        let mut remote = state.remote();
        remote.begin_with(unwritable()).unwrap();
        assert_eq!((revision(&remote), remote.is_from_copy), ("a", true));
        assert!(remote.take_newest().is_err(), "why is told at the start");
        assert!(remote.fall_back());
        remote.in_force(&status);
        assert!(is_at_rest(&mut remote).await);
        remote.know(Arc::new(version(&["b"])));
        remote.take_newest().unwrap();
        assert_eq!((revision(&remote), remote.is_from_copy), ("b", false));
        remote.kept().await;
    }

    #[tokio::test]
    async fn what_could_be_written_at_last_is_news_to_whoever_only_looked() {
        let state = State::new("look");
        let (mut remote, status) = (state.remote(), Status::remote("etcd", URL));
        remote.begin_with(version(&["a"])).unwrap();
        remote.in_force(&status);
        remote.kept().await;
        fs::remove_dir_all(&state.0).unwrap();
        fs::write(&state.0, "in the way").unwrap();
        remote.know(Arc::new(version(&["b"])));
        assert!(remote.take_newest().is_err());
        remote.settle();
        assert!(is_at_rest(&mut remote).await);
        fs::remove_file(&state.0).unwrap();
        remote.take_newest().unwrap();
        assert!(!is_at_rest(&mut remote).await, "it is not in force yet");
        remote.in_force(&status);
        assert!(is_at_rest(&mut remote).await);
        remote.kept().await;
    }

    #[tokio::test]
    async fn a_directory_that_was_taken_away_is_made_anew() {
        let state = State::new("away");
        let (mut remote, status) = (state.remote(), Status::remote("etcd", URL));
        remote.begin_with(version(&["a"])).unwrap();
        remote.in_force(&status);
        remote.kept().await;
        fs::remove_dir_all(&state.0).unwrap();
        remote.take_newest().unwrap();
        remote.in_force(&status);
        remote.kept().await;
        assert_eq!(state.remote().good.unwrap().version.revision, "a");
    }
}
