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

use lockgate_config::Report;

pub(crate) use held::Held;
pub(crate) use status::Status;

use crate::gateway::{self, Checked};
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
    /// Reads the configuration that the command line names: a file, a directory whose files are
    /// merged, or a URL. `state` is where a copy of what is not on this machine is kept. When the
    /// source is away or its configuration is refused, that copy is what is begun with. Not to be
    /// called on a runtime.
    ///
    /// # Errors
    /// Everything that is wrong with it, and that there is no copy.
    pub(crate) fn start(
        named: PathBuf,
        state: Option<PathBuf>,
    ) -> Result<(Self, Checked), Box<Report>> {
        let mut watch = Watch::new();
        let Some(place) = place_of(&named)? else {
            let status = Status::local(&named);
            let mut source = Self { at: At::Path(named), watch, status };
            let checked = source.load()?;
            return Ok((source, checked));
        };
        let status = Status::remote(place.kind(), place.name());
        let state = state_dir::of(state).map_err(|why| Report::unreadable(place.name(), &why))?;
        let name = place.name().to_owned();
        let mut remote = Remote::open(place, &state)?;
        watch.leave_out(remote.directory());
        let away = remote.begin().err();
        let mut source = Self { at: At::Remote(Box::new(remote)), watch, status };
        let report = match &away {
            None => match source.load() {
                Ok(checked) => return Ok((source, checked)),
                Err(report) => report,
            },
            Some(failure) => {
                source.status.failed(failure);
                let what = format!("it {}, and there is no earlier copy of it", failure.what);
                Report::unreadable(&name, &what)
            }
        };
        let checked = source.load_copy(away.is_some(), report)?;
        Ok((source, checked))
    }

    /// The last good copy; `refused` is what is wrong without one.
    fn load_copy(&mut self, is_away: bool, refused: Report) -> Result<Checked, Box<Report>> {
        let At::Remote(remote) = &mut self.at else { return Err(refused.into()) };
        let Some(good) = remote.fall_back(is_away) else { return Err(refused.into()) };
        if !is_away {
            let why = refused.render(false);
            tracing::error!("the source's configuration is refused:\n{why}");
            self.status.refused(&why);
        }
        let checked = self.watch.read(&[], || remote::load(&good), read_of)?;
        let age_s = good.version.at.elapsed().unwrap_or_default().as_secs();
        let why = self.status.why();
        tracing::warn!(
            age_s,
            why,
            revision = good.version.revision,
            "started with the last good copy of the configuration, which was the source's {age_s} \
             seconds ago"
        );
        Ok(checked)
    }

    /// Reads and checks it. Whatever changes from now on is noticed.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(&mut self) -> Result<Checked, Report> {
        match &mut self.at {
            At::Path(path) => {
                let first = slice::from_ref(&*path);
                self.watch.read(first, || gateway::load(path.as_path()), read_of)
            }
            At::Remote(remote) => {
                let copied = remote.newest()?;
                self.watch.read(&[], || remote::load(&copied), read_of)
            }
        }
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

    /// What was last read is not taken.
    pub(crate) fn refused(&self, why: &str) {
        self.status.refused(why);
    }

    /// What is known of it.
    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
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
