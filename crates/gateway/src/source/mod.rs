//! Where the configuration comes from while the gateway runs: it says when there is another one,
//! and reads it.

use std::path::PathBuf;
use std::slice;

use lockgate_config::Report;

use crate::gateway::{self, Checked};
use crate::watch::Watch;

/// The source of a running gateway's configuration.
pub(crate) struct Source {
    path: PathBuf,
    watch: Watch,
}

impl Source {
    /// Of what the command line names: a file, or a directory whose files are merged.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path, watch: Watch::new() }
    }

    /// Reads and checks it. Whatever changes from now on is noticed.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(&mut self) -> Result<Checked, Report> {
        let path = &self.path;
        self.watch.read(slice::from_ref(path), || gateway::load(path), read_of)
    }

    /// Waits until it is no longer what it was when it was last read.
    pub(crate) async fn changed(&mut self) {
        self.watch.changed().await;
    }

    /// What was last read is in force, and consists of these files.
    pub(crate) fn in_force(&mut self, files: &[PathBuf]) {
        self.watch.keep(files);
    }
}

/// The files that a reading consisted of, whatever came of it.
fn read_of(read: &Result<Checked, Report>) -> &[PathBuf] {
    match read {
        Ok(checked) => &checked.loaded.files,
        Err(report) => report.files(),
    }
}
