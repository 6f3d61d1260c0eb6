//! What outlives the process, in `admin.state_dir`: the changes that were made through the admin
//! interface, the versions of the configuration that were in force, and operators' overrides.

mod dir;
mod overrides;
mod right;
mod versions;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lockgate_config::{Begin, Changes, Given};
use tokio::time::Instant;

use dir::Dir;
pub(crate) use overrides::{Overrides, ordered, understood};
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
    /// When the right is to be asked for again.
    due: Instant,
    pub(crate) versions: Arc<Versions>,
    pub(crate) overrides: Arc<Overrides>,
}

impl Kept {
    /// Keeps nothing.
    pub(crate) fn nothing() -> Self {
        let right = Arc::new(Right::of(None));
        Self {
            dir: None,
            versions: Arc::new(Versions::of(None, Arc::clone(&right))),
            overrides: Arc::new(Overrides::nowhere(Arc::clone(&right))),
            right,
            changes: Changes::default(),
            text: String::new(),
            name: String::new(),
            due: Instant::now(),
        }
    }

    /// Opens what is kept for a configuration, where it says (`admin.state_dir`), or else where the
    /// command line or systemd does. `handed`: the right to it, from the gateway whose place this
    /// one takes.
    ///
    /// # Errors
    /// A directory that cannot be used, or changes that cannot be read: what was changed must not
    /// be forgotten silently.
    pub(crate) fn open(
        config: Begin<'_>,
        told: Option<PathBuf>,
        handed: Option<File>,
    ) -> anyhow::Result<Self> {
        let said = lockgate_config::state_dir(config).or(told).or_else(systemd::state_directory);
        let Some(path) = said else {
            return Ok(Self::nothing());
        };
        let dir = Dir::open(&path)
            .with_context(|| format!("`admin.state_dir`: {} cannot be used", path.display()))?;
        let right = Arc::new(Right::of(Some(dir.path(LOCK))));
        if !handed.is_some_and(|lock| right.adopt(lock)) {
            right.ask();
        }
        let name = dir.path(CHANGES).display().to_string();
        let unfit = |why| anyhow::anyhow!("{why}. Mend it, or move it away to start without");
        let (text, changes) = read(&dir, &name).map_err(unfit)?;
        let overrides = Overrides::of(dir.clone(), Arc::clone(&right)).map_err(unfit)?;
        let history = dir.inside("history")?;
        let versions = Arc::new(Versions::of(Some(history), Arc::clone(&right)));
        let due = Instant::now() + ASK_AGAIN;
        let overrides = Arc::new(overrides);
        Ok(Self { dir: Some(dir), right, changes, text, name, due, versions, overrides })
    }

    /// Asks for the right to write, where it is not had. Whether it is had since just now, and what
    /// stands in the directory known.
    pub(crate) fn take_over(&mut self) -> bool {
        self.due = Instant::now() + ASK_AGAIN;
        let Some(dir) = &self.dir else { return false };
        // What was of no use is looked at before it is taken again.
        if self.right.was_refused()
            && let Err(why) = read(dir, &self.name)
        {
            self.right.refuse(why);
            return false;
        }
        if !self.right.ask() {
            return false;
        }
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
            true => tokio::time::sleep_until(self.due).await,
            false => std::future::pending().await,
        }
    }

    /// The right to write here.
    pub(crate) fn right(&self) -> &Arc<Right> {
        &self.right
    }

    /// The changes, to be laid over the files.
    pub(crate) fn given(&self) -> Given<'_> {
        // A file may say the same in other words.
        let of = Some(&self.changes).filter(|of| text_of(of) == self.text);
        self.given_as(&self.text, of)
    }

    /// Other changes in their place, which are not kept yet, and their text.
    pub(crate) fn given_instead<'t>(&'t self, changes: &'t Changes, text: &'t str) -> Given<'t> {
        self.given_as(text, Some(changes))
    }

    fn given_as<'t>(&'t self, text: &'t str, of: Option<&'t Changes>) -> Given<'t> {
        match text {
            "" => Given::Nothing,
            text => Given::Changes { name: &self.name, text, of },
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

#[cfg(test)]
mod tests {
    use lockgate_testkit::Dir as Place;

    use super::*;

    fn open(place: &Place) -> Kept {
        let path = place.path().join("lockgate.yaml");
        std::fs::write(&path, "routes: {}\n").unwrap();
        Kept::open(path.as_path().into(), Some(place.path().join("state")), None).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_due_however_often_something_else_happens() {
        let place = Place::new();
        let (_first, mut second) = (open(&place), open(&place));
        let mut asked = 0;
        // As a watchdog's ticks do in the loop that waits for this too.
        for _ in 0..40 {
            tokio::select! {
                () = second.is_due() => {
                    assert!(!second.take_over());
                    asked += 1;
                }
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
        }
        assert!((8..=12).contains(&asked), "{asked}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_taken_until_it_can() {
        let place = Place::new();
        let (first, mut second) = (open(&place), open(&place));
        let changes = place.path().join("state").join(CHANGES);
        std::fs::write(&changes, "[broken").unwrap();
        drop(first);
        let lock = Right::of(Some(place.path().join("state").join(LOCK)));
        for _ in 0..3 {
            assert!(!second.take_over() && second.right.was_refused());
            let why = second.right.why_not().unwrap();
            assert!(!why.is_taken && why.to_string().contains(CHANGES), "{why}");
            assert!(lock.ask(), "it is nobody's meanwhile");
            lock.let_go();
        }
        assert!(lock.ask());
        assert!(!second.take_over() && second.right.was_refused(), "it has not even asked");
        lock.let_go();
        std::fs::remove_file(&changes).unwrap();
        assert!(second.take_over() && second.right.is_held());
    }
}
