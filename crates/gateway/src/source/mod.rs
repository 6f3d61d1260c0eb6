//! Where the configuration comes from while the gateway runs: a file, a directory, an etcd or a
//! Redis. It says when there is another configuration, and reads it. One that is away or has
//! nothing takes nothing from what is in force.

mod etcd;
mod follow;
mod held;
mod mirror;
mod place;
mod redis;
mod remote;
mod state_dir;
mod status;

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use lockgate_config::{Begin, Given, Report};

pub(crate) use held::Held;
pub(crate) use status::Status;

use crate::gateway::{self, Before, Checked};
use crate::watch::Watch;
use place::Place;
use remote::Remote;

/// The source of a running gateway's configuration.
pub(crate) struct Source {
    at: At,
    /// Of the files on this machine that belong to it.
    watch: Watch,
    status: Arc<Status>,
}

enum At {
    Path(PathBuf),
    Remote(Box<Remote>),
}

impl Source {
    /// Finds the configuration that the command line names: a file, a directory whose files are
    /// merged, or a URL. `state` is where a copy of what is not on this machine is kept, unless the
    /// system or the user says where. A source that is away is replaced by that copy. Not to be
    /// called on a runtime.
    ///
    /// # Errors
    /// When there is neither.
    pub(crate) fn open(named: PathBuf, state: Option<&Path>) -> Result<Self, Box<Report>> {
        let mut watch = Watch::new();
        let Some(place) = place_of(&named)? else {
            let status = Status::local(&named);
            return Ok(Self { at: At::Path(named), watch, status });
        };
        let status = Status::remote(place.kind(), place.name());
        let state = state_dir::of(state).map_err(|why| Report::unreadable(place.name(), &why))?;
        let mut remote = Remote::open(place, &state)?;
        watch.leave_out(remote.directory());
        remote.begin(&status)?;
        Ok(Self { at: At::Remote(Box::new(remote)), watch, status })
    }

    /// What is to be read now.
    pub(crate) fn begin(&self) -> Begin<'_> {
        match &self.at {
            At::Path(path) => Begin::Path(path),
            At::Remote(remote) => remote.current(),
        }
    }

    /// Reads and checks it for the first time. When that is refused, the last good copy of a source
    /// is what is begun with.
    ///
    /// # Errors
    /// Everything that is wrong with it, and that there is no copy.
    pub(crate) fn start(&mut self, given: Given<'_>) -> Result<Checked, Box<Report>> {
        let refused = match self.read(given, None) {
            Ok(checked) => return Ok(checked),
            Err(report) => report,
        };
        let At::Remote(remote) = &mut self.at else { return Err(refused.into()) };
        if !remote.fall_back() {
            return Err(refused.into());
        }
        let why = refused.render(false);
        tracing::error!("the source's configuration is refused:\n{why}");
        self.status.refused(&why);
        remote.tell_age(&self.status);
        Ok(self.watch.read(&[], || gateway::load(remote.current(), given, None), read_of)?)
    }

    /// Reads and checks it against what is in force. Whatever changes from now on is noticed.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(&mut self, given: Given<'_>, before: &Before) -> Result<Checked, Report> {
        self.read(given, Some(before)).and_then(not_blank)
    }

    fn read(&mut self, given: Given<'_>, before: Option<&Before>) -> Result<Checked, Report> {
        match &mut self.at {
            At::Path(path) => {
                let first = slice::from_ref(&*path);
                let load = || gateway::load(Begin::Path(path), given, before);
                self.watch.read(first, load, read_of)
            }
            At::Remote(remote) => {
                remote.take_newest()?;
                let load = || gateway::load(remote.current(), given, before);
                self.watch.read(&[], load, read_of)
            }
        }
    }

    /// [`Self::load`] that leaves what is noticed as it is.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn look(&mut self, given: Given<'_>, before: &Before) -> Result<Checked, Report> {
        if let At::Remote(remote) = &mut self.at {
            remote.take_newest()?;
        }
        gateway::load(self.begin(), given, Some(before)).and_then(not_blank)
    }

    /// Waits until it is no longer what it was when it was last read.
    pub(crate) async fn changed(&mut self) {
        match &mut self.at {
            At::Path(_) => self.watch.changed().await,
            At::Remote(remote) => {
                remote.follow(&self.status);
                tokio::select! {
                    () = remote.changed() => {}
                    () = self.watch.changed() => {}
                }
            }
        }
    }

    /// What was last read is in force, and consists of these files.
    pub(crate) fn in_force(&mut self, files: &[PathBuf]) {
        self.watch.keep(files);
        match &mut self.at {
            At::Path(_) => self.status.in_force(None, false),
            At::Remote(remote) => remote.in_force(&self.status),
        }
    }

    /// Waits until it would be found again, whatever becomes of this process.
    pub(crate) async fn kept(&mut self) {
        if let At::Remote(remote) = &mut self.at {
            remote.kept().await;
        }
    }

    /// What it says is not taken.
    pub(crate) fn refused(&mut self, why: &str) {
        self.status.refused(why);
        if let At::Remote(remote) = &mut self.at {
            remote.settle();
        }
    }

    /// What is known of it.
    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }
}

/// Refuses what has nothing in it: a file that is about to be written in place, or was emptied.
fn not_blank(checked: Checked) -> Result<Checked, Report> {
    let source = &checked.loaded.source;
    if source.is_blank() {
        let report = Report::unreadable(source.name(), "there is nothing in it (any more, or yet)");
        return Err(report.with_files(checked.loaded.files));
    }
    Ok(checked)
}

/// The place that a word names, when it is a URL; `None` when it is a path.
fn place_of(named: &Path) -> Result<Option<Place>, Report> {
    let place = named.to_str().and_then(Place::read).transpose();
    place.map_err(|why| Report::unreadable("the configuration's source", &why))
}

/// The files that a reading consisted of, whatever came of it.
fn read_of(read: &Result<Checked, Report>) -> &[PathBuf] {
    match read {
        Ok(checked) => &checked.loaded.files,
        Err(report) => report.files(),
    }
}
