//! Where the configuration comes from while the gateway runs: a file, a directory, an etcd or a
//! Redis. It says when there is another configuration, and reads it. One that is away or has
//! nothing takes nothing from what is in force.

mod directory;
mod etcd;
mod follow;
mod held;
mod mirror;
mod place;
mod redis;
mod remote;
mod state_dir;
mod status;
mod vanished;

use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use lockgate_config::{Begin, Given, Report};

pub(crate) use held::Held;
pub(crate) use status::Status;

use crate::gateway::{self, Before, Checked};
use crate::watch::Watch;
use directory::Directory;
use mirror::Copied;
use place::Place;
use remote::Remote;
use vanished::{not_blank, not_empty, not_routeless, says_nothing_of_routes};

/// The source of a running gateway's configuration.
pub(crate) struct Source {
    at: At,
    /// Of the files on this machine that belong to it.
    watch: Watch,
    status: Arc<Status>,
}

enum At {
    File(PathBuf),
    Directory(Box<Directory>),
    Remote(Box<Remote>),
}

impl Source {
    /// Finds the configuration that the command line names: a file, a directory whose files are
    /// merged, or a URL. `state` is where a copy of what is no single file is kept, unless the system
    /// or the user says where. A source that is away is replaced by that copy. Not to be called on a
    /// runtime.
    ///
    /// # Errors
    /// When there is neither.
    pub(crate) fn open(named: PathBuf, state: Option<&Path>) -> Result<Self, Box<Report>> {
        let mut watch = Watch::new();
        let Some(place) = place_of(&named)? else {
            let status = Status::directory(named.display().to_string());
            let Some(directory) = Directory::open(&named, state, &status) else {
                let status = Status::file(named.display().to_string());
                return Ok(Self { at: At::File(named), watch, status });
            };
            directory.copies().into_iter().for_each(|copies| watch.leave_out(copies));
            return Ok(Self { at: At::Directory(Box::new(directory)), watch, status });
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
            At::File(path) => Begin::Path(path),
            At::Directory(directory) => directory.now(),
            At::Remote(remote) => remote.current(),
        }
    }

    /// Reads and checks it for the first time. When that is refused, or has lost the routes that
    /// its last good copy has, that copy is what is begun with. `succeeds`: a gateway serves, and
    /// this one is to take its place.
    ///
    /// # Errors
    /// Everything that is wrong with it, and that there is no copy.
    pub(crate) fn start(
        &mut self,
        given: Given<'_>,
        succeeds: bool,
    ) -> Result<Checked, Box<Report>> {
        let read = self.read(given, None).and_then(|checked| self.not_less(checked, given));
        let read = read.and_then(|checked| if succeeds { not_empty(checked) } else { Ok(checked) });
        let refused = match read {
            Ok(checked) => return Ok(self.has_read(checked)),
            Err(report) => report,
        };
        if !self.fall_back(&refused) {
            return Err(refused.into());
        }
        let Some(good) = self.at.good() else { return Err(refused.into()) };
        self.status.begins_with(&good.version);
        let load = || gateway::load(remote::begin(good), given, None);
        Ok(self.watch.read(&[], load, read_of)?)
    }

    /// Refuses what has lost the routes that the last good copy has.
    fn not_less(&self, checked: Checked, given: Given<'_>) -> Result<Checked, Report> {
        let Some(good) = self.at.good().filter(|_| says_nothing_of_routes(&checked)) else {
            return Ok(checked);
        };
        // A copy that is of no use any more is nothing to compare with.
        let good = gateway::load(remote::begin(good), given, None).ok();
        not_routeless(checked, good.as_ref().map(|good| &good.loaded.source))
    }

    /// Begins with the last good copy, after what the source says was refused. Whether there is one.
    fn fall_back(&mut self, refused: &Report) -> bool {
        let is_there = match &mut self.at {
            At::File(_) => false,
            At::Directory(directory) => directory.fall_back(),
            At::Remote(remote) => remote.fall_back(),
        };
        if is_there {
            let why = refused.render(false);
            tracing::error!("the source's configuration is refused:\n{why}");
            self.refused(&why);
        }
        is_there
    }

    /// Reads and checks it against what is in force. Whatever changes from now on is noticed.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(&mut self, given: Given<'_>, before: &Before) -> Result<Checked, Report> {
        let checked = self.read(given, Some(before)).and_then(not_blank)?;
        not_routeless(checked, before.routed()).map(|checked| self.has_read(checked))
    }

    /// This may be put in force now.
    fn has_read(&mut self, checked: Checked) -> Checked {
        if let At::Directory(directory) = &mut self.at {
            directory.has_read(&checked.loaded, &mut self.watch);
        }
        checked
    }

    fn read(&mut self, given: Given<'_>, before: Option<&Before>) -> Result<Checked, Report> {
        let path = match &mut self.at {
            At::File(path) => &*path,
            At::Directory(directory) => directory.itself(),
            At::Remote(remote) => {
                remote.take_newest()?;
                let load = || gateway::load(remote.current(), given, before);
                return self.watch.read(&[], load, read_of);
            }
        };
        let load = || gateway::load(Begin::Path(path), given, before);
        self.watch.read(slice::from_ref(path), load, read_of)
    }

    /// [`Self::load`] that leaves what is noticed as it is. Of a directory that is away, the copy of
    /// what is in force is read.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn look(&mut self, given: Given<'_>, before: &Before) -> Result<Checked, Report> {
        let begin = match &mut self.at {
            At::File(path) => Begin::Path(path),
            At::Directory(directory) => directory.take(),
            At::Remote(remote) => {
                remote.take_newest()?;
                remote.current()
            }
        };
        let checked = gateway::load(begin, given, Some(before)).and_then(not_blank)?;
        not_routeless(checked, before.routed()).map(|checked| self.has_read(checked))
    }

    /// Waits until it is no longer what it was when it was last read.
    pub(crate) async fn changed(&mut self) {
        match &mut self.at {
            At::File(_) => self.watch.changed().await,
            At::Directory(directory) => loop {
                if directory.is_back(&self.status) {
                    return;
                }
                tokio::select! {
                    () = self.watch.changed() => return,
                    () = directory.is_due() => {}
                }
                directory.look_after(&mut self.watch, &self.status);
            },
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
        let (watch, status) = (&mut self.watch, &self.status);
        if let At::Directory(directory) = &mut self.at {
            return directory.in_force(files, watch, status);
        }
        watch.keep(files);
        match &mut self.at {
            At::Remote(remote) => remote.in_force(status),
            _ => status.in_force(None, false),
        }
    }

    /// Waits until it would be found again, whatever becomes of this process.
    pub(crate) async fn kept(&mut self) {
        match &mut self.at {
            At::File(_) => {}
            At::Directory(directory) => directory.kept().await,
            At::Remote(remote) => remote.kept().await,
        }
    }

    /// What it says is not taken.
    pub(crate) fn refused(&mut self, why: &str) {
        match &mut self.at {
            At::File(_) => {}
            At::Directory(directory) => match directory.failure() {
                Some(failure) => return self.status.is_gone(failure),
                None => self.status.is_there(),
            },
            At::Remote(remote) => remote.settle(),
        }
        self.status.refused(why);
    }

    /// What is known of it.
    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }
}

impl At {
    /// The last good copy, where one is kept.
    fn good(&self) -> Option<&Copied> {
        match self {
            Self::File(_) => None,
            Self::Directory(directory) => directory.good(),
            Self::Remote(remote) => remote.good(),
        }
    }
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
