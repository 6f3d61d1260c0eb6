//! The versions of the configuration that were in force: what the files said, which is kept once
//! for all versions with the same files, and the changes over them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lockgate_admin::Version;
use lockgate_config::{Source, laid_over};
use serde::{Deserialize, Serialize};

use super::dir::Dir;
use super::right::Right;

/// Most versions that are kept.
const MOST: usize = 100;
/// Most bytes of their changes.
const MOST_BYTES: usize = 16 << 20;

/// All that are kept.
pub(crate) struct Versions {
    /// `None`: only what happened is known, not what it was.
    dir: Option<Dir>,
    /// Only who has it writes into the directory.
    right: Arc<Right>,
    all: Mutex<VecDeque<Entry>>,
}

/// One version.
#[derive(Clone)]
struct Entry {
    version: Version,
    /// What tells its files from others.
    files: String,
    /// How many bytes the changes over them have, which are on the disk. `None`: nobody has kept
    /// them.
    bytes: Option<usize>,
}

/// It on the disk.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    version: Version,
    files: String,
    /// The changes over its files, as in their file.
    changes: Option<String>,
}

impl From<Written> for Entry {
    fn from(Written { version, files, changes }: Written) -> Self {
        Self { version, files, bytes: changes.map(|changes| changes.len()) }
    }
}

/// What has been put in force.
pub(crate) struct Seen<'s> {
    pub(crate) generation: u64,
    /// By what: `start`, `files`, `admin`, `rollback`.
    pub(crate) via: &'s str,
    pub(crate) who: &'s str,
    /// What differs from the version before.
    pub(crate) what: Vec<String>,
    pub(crate) source: &'s Source,
    pub(crate) changes: &'s str,
}

impl Versions {
    /// Those of a directory, with all that is still whole in it.
    pub(crate) fn of(dir: Option<Dir>, right: Arc<Right>) -> Self {
        let all = dir.as_ref().map(read).unwrap_or_default();
        Self { dir, right, all: Mutex::new(all) }
    }

    /// Takes what another gateway has kept until now in place of what this one could not keep.
    pub(super) fn read_again(&self) {
        if let Some(dir) = &self.dir {
            *self.all() = read(dir);
        }
    }

    /// The directory, where it may be written to.
    fn own(&self) -> Option<&Dir> {
        self.dir.as_ref().filter(|_| self.right.is_held())
    }

    /// Keeps a version, unless it is the last one still.
    pub(crate) fn keep(&self, seen: Seen<'_>) {
        let files = format!("{:016x}", seen.source.files_hash());
        let mut all = self.all();
        let last = all.back();
        let is_same = |last: &Entry| {
            let changes = || self.dir.as_ref().and_then(|dir| written(dir, last)?.changes);
            last.files == files && changes().as_deref() == Some(seen.changes)
        };
        if seen.via == "start" && last.is_some_and(is_same) {
            return;
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let version = Version {
            number: last.map_or(0, |last| last.version.number) + 1,
            generation: seen.generation,
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            via: seen.via.to_owned(),
            who: seen.who.to_owned(),
            what: seen.what,
        };
        let own = self.own();
        let changes = own.map(|_| seen.changes.to_owned());
        let entry = Written { version, files, changes };
        if let Some(dir) = own
            && let Err(error) = write(dir, &entry, seen.source)
        {
            tracing::warn!(%error, "this version of the configuration cannot be kept");
        }
        all.push_back(entry.into());
        let gone = too_many(&mut all);
        if let Some(dir) = own
            && !gone.is_empty()
        {
            let used: HashSet<&str> = all.iter().map(|entry| entry.files.as_str()).collect();
            for entry in &gone {
                dir.remove(&name(&entry.version));
                if !used.contains(entry.files.as_str()) {
                    dir.remove(&files_name(&entry.files));
                }
            }
        }
    }

    /// The whole configuration of a version, references as written; a plain secret is in it.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub(crate) fn whole(&self, number: u64) -> Result<serde_json::Value, String> {
        let Some(dir) = &self.dir else {
            return Err(
                "versions are kept where `admin.state_dir` says, and it says nothing".into()
            );
        };
        let found = self.all().iter().find(|entry| entry.version.number == number).cloned();
        let entry = found.ok_or_else(|| format!("there is no version {number}"))?;
        let lost = || format!("what version {number} was has not been kept");
        let changes = written(dir, &entry).and_then(|one| one.changes).ok_or_else(lost)?;
        let files = dir.read(&files_name(&entry.files)).map_err(|error| error.to_string())?;
        laid_over(&files.ok_or_else(lost)?, &changes)
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl lockgate_admin::Versions for Versions {
    fn list(&self) -> Vec<Version> {
        self.all().iter().rev().map(|entry| entry.version.clone()).collect()
    }

    fn text(&self, number: u64) -> Result<String, String> {
        self.whole(number).map(lockgate_config::without_plain_secrets)
    }
}

/// Those of a directory that are still whole.
fn read(dir: &Dir) -> VecDeque<Entry> {
    let names = dir.names();
    let read = |name: &String| {
        let text = dir.read(name).ok()??;
        serde_json::from_str::<Written>(&text).ok().map(Entry::from)
    };
    names.iter().filter(|name| name.ends_with(".json")).filter_map(read).collect()
}

/// A version as it is on the disk.
fn written(dir: &Dir, entry: &Entry) -> Option<Written> {
    let text = dir.read(&name(&entry.version)).ok()??;
    serde_json::from_str(&text).ok()
}

/// Takes the oldest out that are too many.
fn too_many(all: &mut VecDeque<Entry>) -> Vec<Entry> {
    let mut bytes: usize = all.iter().filter_map(|entry| entry.bytes).sum();
    let mut gone = Vec::new();
    while (all.len() > MOST || bytes > MOST_BYTES) && all.len() > 1 {
        let Some(oldest) = all.pop_front() else { break };
        bytes -= oldest.bytes.unwrap_or(0);
        gone.push(oldest);
    }
    gone
}

fn write(dir: &Dir, entry: &Written, source: &Source) -> std::io::Result<()> {
    let files = files_name(&entry.files);
    if !dir.path(&files).exists() {
        dir.replace(&files, &source.files_text())?;
    }
    dir.replace(&name(&entry.version), &serde_json::to_string(entry)?)
}

fn name(version: &Version) -> String {
    format!("{:010}.json", version.number)
}

fn files_name(files: &str) -> String {
    format!("files-{files}.yaml")
}
