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
use crate::gateway::{self, Checked};

/// How long a start waits for the source.
const AT_START: Duration = Duration::from_secs(5);

/// A source over the network.
pub(super) struct Remote {
    place: Arc<Place>,
    mirror: Mirror,
    news: watch::Receiver<Option<Arc<Version>>>,
    /// Until somebody follows the source.
    tell: Option<watch::Sender<Option<Arc<Version>>>>,
    /// What was read last.
    tried: Option<Copied>,
    /// What is in force.
    good: Option<Copied>,
    /// Whether that was read from the copy, as the source had nothing.
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
        let (place, is_from_copy) = (Arc::new(place), false);
        Ok(Self { place, mirror, news, tell: Some(tell), tried, good, is_from_copy })
    }

    pub(super) fn directory(&self) -> &Path {
        self.mirror.directory()
    }

    /// Asks the source for the first time, and waits a moment for its answer. Not to be called on
    /// a runtime.
    ///
    /// # Errors
    /// Why it has none.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        let version = ask_once(&self.place)?;
        self.tell.iter().for_each(|tell| drop(tell.send_replace(Some(Arc::new(version.clone())))));
        Ok(())
    }

    /// The last good copy, from now on the one that is read until the source says another.
    pub(super) fn fall_back(&mut self, is_away: bool) -> Option<Copied> {
        let good = self.good.clone()?;
        self.is_from_copy = true;
        self.tried = Some(good.clone());
        if is_away {
            let known = Some(Arc::clone(&good.version));
            self.tell.iter().for_each(|tell| drop(tell.send_replace(known.clone())));
            self.news.mark_unchanged();
        }
        Some(good)
    }

    /// What is to be read: the newest that the source has said.
    ///
    /// # Errors
    /// When it has said nothing yet, or there is no room for it.
    pub(super) fn newest(&mut self) -> Result<Copied, Report> {
        let unreadable = |what: &str| Report::unreadable(self.place.name(), what);
        let Some(version) = self.news.borrow_and_update().clone() else {
            return Err(unreadable("it has not answered yet"));
        };
        if let Some(tried) = self.tried.as_ref().filter(|t| Arc::ptr_eq(&t.version, &version)) {
            return Ok(tried.clone());
        }
        let copied = self.mirror.write(&version, self.good.as_ref());
        let copied = copied.map_err(|error| {
            let directory = self.mirror.directory().display();
            unreadable(&format!("no copy of it can be written into `{directory}`: {error}"))
        })?;
        self.is_from_copy = false;
        let before = self.tried.replace(copied.clone());
        if let Some(refused) = before.filter(|before| !before.is(self.good.as_ref())) {
            refused.remove();
        }
        Ok(copied)
    }

    /// What was read last is in force.
    pub(super) fn in_force(&mut self, status: &Status) {
        let Some(tried) = self.tried.clone() else { return };
        status.in_force(Some(Arc::clone(&tried.version)), self.is_from_copy);
        if tried.is(self.good.as_ref()) {
            return;
        }
        let before = self.good.replace(tried.clone());
        self.mirror.keep(&tried, before);
    }

    /// Begins to follow the source. To be called on the control runtime.
    pub(super) fn follow(&mut self, status: &Arc<Status>) {
        if let Some(tell) = self.tell.take() {
            let confirmed = self.mirror.confirmed();
            tokio::spawn(follow(Arc::clone(&self.place), tell, Arc::clone(status), confirmed));
        }
    }

    /// Waits until it has said something else than what was read last.
    pub(super) async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
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

/// Reads and checks a copy, whose files are called as they are at the source.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn load(copied: &Copied) -> Result<Checked, Report> {
    gateway::load(begin(copied))
}

/// A copy as what a configuration begins with.
pub(super) fn begin(copied: &Copied) -> Begin<'_> {
    Begin::Copies { root: &copied.root, files: &copied.parts, name: &copied.version.prefix }
}
