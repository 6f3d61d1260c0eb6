//! What outlives the process, in `admin.state_dir`: the changes that were made through the admin
//! interface, and the versions of the configuration that were in force.

mod dir;
mod right;
mod versions;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lockgate_config::{Begin, Changes, Given};

use dir::Dir;
pub(crate) use right::Right;

use crate::systemd;
pub(crate) use versions::{Seen, Versions};

const CHANGES: &str = "changes.yaml";
const LOCK: &str = "changes.lock";
/// How often the right to write is asked for that another gateway has.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What is kept, and where.
pub(crate) struct Kept {
    dir: Option<Dir>,
    /// Only who has it writes into the directory.
    right: Arc<Right>,
    changes: Changes,
    /// The changes as they stand in their file, and what that is called.
    text: String,
    name: String,
    pub(crate) versions: Arc<Versions>,
}

impl Kept {
    /// Keeps nothing.
    pub(crate) fn nothing() -> Self {
        let right = Arc::new(Right::of(None));
        Self {
            dir: None,
            versions: Arc::new(Versions::of(None, Arc::clone(&right))),
            right,
            changes: Changes::default(),
            text: String::new(),
            name: String::new(),
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
        let right = Arc::new(Right::of(Some(dir.path(LOCK))));
        right.ask();
        let name = dir.path(CHANGES).display().to_string();
        let (text, changes) = read(&dir, &name)
            .map_err(|why| anyhow::anyhow!("{why}. Mend it, or move it away to start without"))?;
        let history = dir.inside("history")?;
        let versions = Arc::new(Versions::of(Some(history), Arc::clone(&right)));
        Ok(Self { dir: Some(dir), right, changes, text, name, versions })
    }

    /// Asks for the right to write, where it is not had. Whether it is had since just now, and what
    /// stands in the directory known.
    pub(crate) fn take_over(&mut self) -> bool {
        let Some(dir) = self.dir.as_ref().filter(|_| self.right.ask()) else { return false };
        match read(dir, &self.name) {
            Ok((text, changes)) => {
                (self.text, self.changes) = (text, changes);
                self.versions.read_again();
                true
            }
            Err(why) => {
                self.right.refuse(why);
                false
            }
        }
    }

    /// Waits until the right to write is to be asked for; for ever, where it is had or not wanted.
    pub(crate) async fn is_due(&self) {
        match self.right.is_wanted() {
            true => tokio::time::sleep(ASK_AGAIN).await,
            false => std::future::pending().await,
        }
    }

    /// The right to write here.
    pub(crate) fn right(&self) -> &Arc<Right> {
        &self.right
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
        let written = self.own().map_or(Ok(()), |dir| dir.write(CHANGES, &text));
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
            && let Some(dir) = self.own()
        {
            dir.write(CHANGES, &text)?;
        }
        (self.changes, self.text) = (changes, text);
        Ok(())
    }

    /// The directory, where it may be written to.
    fn own(&self) -> Option<&Dir> {
        self.dir.as_ref().filter(|_| self.right.is_held())
    }
}

/// The changes that stand in a directory.
fn read(dir: &Dir, name: &str) -> Result<(String, Changes), String> {
    let text = dir.read(CHANGES).map_err(|error| format!("{name}: {error}"))?.unwrap_or_default();
    let changes = match text.as_str() {
        "" => Changes::default(),
        text => Changes::read(text).map_err(|why| format!("{name}: {why}"))?,
    };
    Ok((text, changes))
}

/// Changes as they stand in their file; nothing when there are none.
pub(crate) fn text_of(changes: &Changes) -> String {
    if changes.is_empty() { String::new() } else { changes.write() }
}
