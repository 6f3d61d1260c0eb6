//! What outlives the process, in `admin.state_dir`: the changes that were made through the admin
//! interface, and the versions of the configuration that were in force.

mod dir;
mod versions;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use lockgate_config::{Begin, Changes, Given};

use dir::Dir;

use crate::systemd;
pub(crate) use versions::{Seen, Versions};

const CHANGES: &str = "changes.yaml";

/// What is kept, and where.
pub(crate) struct Kept {
    dir: Option<Dir>,
    changes: Changes,
    /// The changes as they stand in their file, and what that is called.
    text: String,
    name: String,
    pub(crate) versions: Arc<Versions>,
}

impl Kept {
    /// Keeps nothing.
    pub(crate) fn nothing() -> Self {
        Self {
            dir: None,
            changes: Changes::default(),
            text: String::new(),
            name: String::new(),
            versions: Arc::new(Versions::of(None)),
        }
    }

    /// Opens what is kept for a configuration, where it says (`admin.state_dir`), or else where the
    /// command line or systemd does.
    ///
    /// # Errors
    /// A directory that cannot be used, or changes that cannot be read: what was changed must not
    /// be forgotten silently.
    pub(crate) fn open(config: Begin<'_>, told: Option<PathBuf>) -> anyhow::Result<Self> {
        let said = lockgate_config::state_dir(config).or(told).or_else(systemd::state_directory);
        let Some(path) = said else {
            return Ok(Self::nothing());
        };
        let dir = Dir::open(&path)
            .with_context(|| format!("`admin.state_dir`: {} cannot be used", path.display()))?;
        let name = dir.path(CHANGES).display().to_string();
        let text = dir.read(CHANGES).with_context(|| name.clone())?.unwrap_or_default();
        let changes = match text.as_str() {
            "" => Changes::default(),
            text => Changes::read(text).map_err(|why| {
                anyhow::anyhow!("{name}: {why}. Mend it, or move it away to start without them")
            })?,
        };
        let versions = Arc::new(Versions::of(Some(dir.inside("history")?)));
        Ok(Self { dir: Some(dir), changes, text, name, versions })
    }

    /// The changes, to be laid over the files.
    pub(crate) fn given(&self) -> Given<'_> {
        self.given_instead(&self.text)
    }

    /// Other changes in their place, which are not kept yet.
    pub(crate) fn given_instead<'t>(&'t self, text: &'t str) -> Given<'t> {
        match text {
            "" => Given::Nothing,
            text => Given::Changes { name: &self.name, text },
        }
    }

    /// The changes.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The changes as they stand in their file.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The directory, if there is one.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.path("").components().collect())
    }

    /// Whether changes can be kept.
    pub(crate) fn is_anywhere(&self) -> bool {
        self.dir.is_some()
    }

    /// Puts changes back after others could not be kept or put in force: whatever has become of the
    /// file meanwhile.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn keep_again(&mut self, changes: Changes) -> io::Result<()> {
        let text = text_of(&changes);
        let written = self.dir.as_ref().map_or(Ok(()), |dir| dir.write(CHANGES, &text));
        (self.changes, self.text) = (changes, text);
        written
    }

    /// Keeps other changes. They are on the disk when this is over.
    ///
    /// # Errors
    /// When they cannot be written; the ones before are then kept on.
    pub(crate) fn keep(&mut self, changes: Changes) -> io::Result<()> {
        let text = text_of(&changes);
        if text != self.text
            && let Some(dir) = &self.dir
        {
            dir.write(CHANGES, &text)?;
        }
        (self.changes, self.text) = (changes, text);
        Ok(())
    }
}

/// Changes as they stand in their file; nothing when there are none.
pub(crate) fn text_of(changes: &Changes) -> String {
    if changes.is_empty() { String::new() } else { changes.write() }
}
