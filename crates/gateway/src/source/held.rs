//! A configuration as a command reads it, once: what is not on this machine is fetched into a
//! directory that goes with it.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_config::{Begin, Report};

use super::mirror::{Copied, Mirror, private};
use super::remote::{ask_once, begin};
use super::{place_of, state_dir};
use crate::cli::complain;

/// What a command line's word names, at hand.
pub(crate) enum Held {
    /// A file or a directory.
    Path(PathBuf),
    /// A copy, and the directory that goes with it.
    Copy(Box<Copied>, Option<PathBuf>),
}

impl Held {
    /// Fetches it, if it is not on this machine. Of a source that is away, the last good copy is
    /// taken if there is one here. Not to be called on a runtime.
    ///
    /// # Errors
    /// Why there is nothing to be read.
    pub(crate) fn of(named: &Path) -> Result<Self, Box<Report>> {
        let Some(place) = place_of(named)? else { return Ok(Self::Path(named.to_owned())) };
        let failure = match ask_once(&place) {
            Ok(version) => {
                let here = env::temp_dir().join(format!("lockgate-{:016x}", fastrand::u64(..)));
                // Nobody may have made it before, to read along.
                let copied = private()
                    .create(&here)
                    .and_then(|()| Mirror::open(&here, place.name()))
                    .and_then(|mirror| mirror.write(&Arc::new(version), None));
                let told = |error| Report::unreadable(place.name(), &format!("no copy: {error}"));
                return Ok(Self::Copy(Box::new(copied.map_err(told)?), Some(here)));
            }
            Err(failure) => failure,
        };
        let good = state_dir::of(None).ok().and_then(|state| Mirror::find(&state, place.name()));
        let Some(good) = good else {
            return Err(Report::unreadable(place.name(), &format!("it {}", failure.what)).into());
        };
        let age = good.version.at.elapsed().unwrap_or_default().as_secs();
        complain(&format!(
            "lockgate: the source {}: read from its last good copy, {age} seconds old",
            failure.what
        ));
        Ok(Self::Copy(Box::new(good), None))
    }

    /// Where it begins.
    pub(crate) fn begin(&self) -> Begin<'_> {
        match self {
            Self::Path(path) => Begin::Path(path),
            Self::Copy(copied, _) => begin(copied),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Copy(_, Some(here)) = self {
            let _ = std::fs::remove_dir_all(here);
        }
    }
}
