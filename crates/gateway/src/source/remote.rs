//! A source over the network, as the gateway reads it: always from a copy on the disk, the newest
//! that was fetched or, while there is none, the last that was in force.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockgate_config::{Begin, Report};
use tokio::sync::watch;

use super::follow::{first, follow};
use super::mirror::{Copied, Mirror, Version};
use super::place::Place;
use super::status::{Failure, Status};

/// How long a start waits for the source.
const AT_START: Duration = Duration::from_secs(5);

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
        let (tried, good) = (None, mirror.good());
        let (place, settled, is_from_copy) = (Arc::new(place), None, false);
        Ok(Self { place, mirror, news, tell: Some(tell), tried, good, settled, is_from_copy })
    }

    pub(super) fn directory(&self) -> &Path {
        self.mirror.directory()
    }

    /// Asks the source for the first time, and waits a moment for its answer; falls back to the
    /// last good copy when there is none. Not to be called on a runtime.
    ///
    /// # Errors
    /// When there is no copy either.
    pub(super) fn begin(&mut self, status: &Status) -> Result<(), Report> {
        let failure = match ask_once(&self.place) {
            Ok(version) => {
                self.know(Arc::new(version));
                return self.take_newest();
            }
            Err(failure) => failure,
        };
        status.failed(&failure);
        let Some(good) = self.good.clone().filter(|_| self.fall_back()) else {
            let what = format!("it {}, and there is no earlier copy of it", failure.what);
            return Err(Report::unreadable(self.place.name(), &what));
        };
        // When the source says the same once it is back, that is no change.
        self.know(good.version);
        self.tell_age(status);
        Ok(())
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
        self.settled = self.news.borrow().clone();
        if let Some(refused) =
            self.tried.replace(good).filter(|tried| !tried.is(self.good.as_ref()))
        {
            refused.remove();
        }
        self.is_from_copy = true;
        true
    }

    /// Says how old the copy is that the gateway starts with.
    pub(super) fn tell_age(&self, status: &Status) {
        let Some(good) = &self.good else { return };
        let age_s = good.version.at.elapsed().unwrap_or_default().as_secs();
        tracing::warn!(
            age_s,
            revision = good.version.revision,
            why = status.why(),
            "starting with the last good copy of the configuration, which was the source's \
             {age_s} seconds ago"
        );
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
        let tried = self.tried.as_ref().map(|tried| Arc::clone(&tried.version));
        // What has been refused is not read again in place of the copy.
        if is_known(&tried) || (self.is_from_copy && is_known(&self.settled)) {
            return Ok(());
        }
        let Some(version) = newest else { return Ok(()) };
        let known = self.good.as_ref().and_then(|good| good.as_of(Arc::clone(&version)));
        let written = match known {
            Some(known) => Ok(known),
            None => self.mirror.write(&version, self.good.as_ref()),
        };
        let copied = written.map_err(|error| {
            let directory = self.mirror.directory().display();
            let what = format!("no copy of it can be written into `{directory}`: {error}");
            Report::unreadable(self.place.name(), &what)
        })?;
        self.is_from_copy = false;
        let before = self.tried.replace(copied);
        if let Some(refused) = before.filter(|before| !before.is(self.good.as_ref())) {
            refused.remove();
        }
        Ok(())
    }

    /// What the source has said by now is dealt with.
    pub(super) fn settle(&mut self) {
        self.settled = match self.is_from_copy {
            true => self.news.borrow().clone(),
            false => self.tried.as_ref().map(|tried| Arc::clone(&tried.version)),
        };
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

    /// Waits until it has said something that has not been dealt with.
    pub(super) async fn changed(&mut self) {
        loop {
            let is_settled = match (&*self.news.borrow_and_update(), &self.settled) {
                (Some(newest), Some(settled)) => Arc::ptr_eq(newest, settled),
                (newest, _) => newest.is_none(),
            };
            if !is_settled {
                return;
            }
            if self.news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
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
    Begin::Copies { root: &copied.root, files: &copied.parts, name: &copied.version.prefix }
}
