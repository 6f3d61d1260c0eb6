//! Noticing that a configuration file has changed. The directories are watched, not the files:
//! editors and configuration mounts replace files instead of writing into them. What is known of a
//! file is always older than what was read of it, so a change in between is seen as one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Duration, sleep, timeout};

/// An editor's save is several events; they are taken together when no more come for this long.
const QUIET: Duration = Duration::from_millis(3);
/// A file that was written longer ago than this bears another time when it is written again.
const TICK: Duration = Duration::from_secs(1);
/// But a file that never comes to rest is read all the same.
const PATIENCE: Duration = Duration::from_millis(10);
/// Of a longer file the rest is not looked at: no configuration has one.
const MOST_BYTES: u64 = 16 << 20;
/// Without a word of the system the files are looked at this often: watches are lost with
/// directories that are put aside and back, and some file systems have none.
const LOOK: Duration = Duration::from_secs(2);
/// How often a configuration is read again because it names files that were not known before.
const READINGS: usize = 3;

/// Watches the files that a configuration was read from.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    events: Receiver<()>,
    /// With what tells one from another that has taken its place since.
    directories: BTreeMap<PathBuf, (u64, u64)>,
    seen: HashMap<PathBuf, Stamp>,
    /// What is in here never changes.
    apart: Option<PathBuf>,
}

/// What tells one state of a file from the next; `None` for one that is not there. Of a directory,
/// whose files are a configuration together, it is the names of those.
type Stamp = Option<State>;

#[derive(PartialEq, Eq)]
struct State {
    /// Where it really stands, when symbolic links lead there.
    place: PathBuf,
    inode: (u64, u64),
    length: u64,
    /// When it was last changed, by a clock that no program can set back.
    changed: SystemTime,
    /// Of a file that was changed a moment ago: the clock ticks every few milliseconds, so the
    /// time alone would not tell it from what is written next. Of a directory always.
    content: Option<u64>,
    is_directory: bool,
}

impl Watch {
    /// Watches nothing yet. A system that cannot watch is no error: the files are looked at.
    pub(crate) fn new() -> Self {
        // One place is enough: an event that finds it taken has been announced already.
        let (sender, events) = channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may be an overflow, that is, events that were lost.
            if event.map_or(true, |event| !event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, "files cannot be watched: they are looked at every two seconds");
            })
            .ok();
        Self { watcher, events, directories: BTreeMap::new(), seen: HashMap::new(), apart: None }
    }

    /// Follows nothing in this directory.
    pub(crate) fn leave_out(&mut self, directory: &Path) {
        self.apart = Some(directory.to_owned());
    }

    /// Reads what begins with these files, and follows every file that this turns out to consist of
    /// (`files` tells them). A reading that names new files is repeated, so that each has been
    /// followed since before it was read.
    pub(crate) fn read<T>(
        &mut self,
        first: &[PathBuf],
        load: impl Fn() -> T,
        files: impl Fn(&T) -> &[PathBuf],
    ) -> T {
        self.follow(first);
        let mut read = self.read_once(&load);
        for _ in 1..READINGS {
            if !self.follow(files(&read)) {
                return read;
            }
            read = self.read_once(&load);
        }
        // What is still new counts as changed, and is asked for again after this.
        self.follow(files(&read));
        read
    }

    fn read_once<T>(&mut self, load: impl Fn() -> T) -> T {
        // A directory may be another by now, under the same name.
        self.watch_directories();
        for (file, seen) in &mut self.seen {
            *seen = stamp(file);
        }
        load()
    }

    /// Lets go of all files but these.
    pub(crate) fn keep(&mut self, files: &[PathBuf]) {
        let files: HashSet<&PathBuf> = files.iter().collect();
        self.seen.retain(|file, _| files.contains(file));
        self.watch_directories();
    }

    /// Follows these files too. Whether any of them is new.
    fn follow(&mut self, files: &[PathBuf]) -> bool {
        let is_new = |file: &&PathBuf| {
            let is_apart = self.apart.as_ref().is_some_and(|apart| file.starts_with(apart));
            !is_apart && !self.seen.contains_key(*file)
        };
        let new: Vec<_> = files.iter().filter(is_new).collect();
        if new.is_empty() {
            return false;
        }
        for file in new {
            self.seen.insert(file.clone(), None);
        }
        true
    }

    fn watch_directories(&mut self) {
        let named = self.seen.keys().flat_map(|file| directories(file));
        // One that is known under two names is one to the system: letting go of either lets go of
        // both.
        let named = named.map(|directory| directory.canonicalize().unwrap_or(directory));
        let wanted: BTreeMap<PathBuf, (u64, u64)> =
            named.map(|directory| (directory.clone(), inode(&directory))).collect();
        if let Some(watcher) = &mut self.watcher {
            for (gone, _) in self.directories.iter().filter(|(d, i)| wanted.get(*d) != Some(*i)) {
                let _ = watcher.unwatch(gone);
            }
            for (new, _) in wanted.iter().filter(|(d, i)| self.directories.get(*d) != Some(*i)) {
                if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                    tracing::warn!(%error, directory = %new.display(), "cannot be watched");
                }
            }
        }
        self.directories = wanted;
    }

    /// Waits until one of the files is no longer what it was before it was read, and has come to
    /// rest.
    pub(crate) async fn changed(&mut self) {
        // It may have changed already, while it was read.
        if self.differs() {
            return self.rest().await;
        }
        loop {
            match timeout(LOOK, self.events.recv()).await {
                Ok(Some(())) => self.rest().await,
                // Nothing is watched here: the files are looked at.
                Ok(None) => sleep(LOOK).await,
                Err(_) => {}
            }
            if self.differs() {
                return;
            }
        }
    }

    async fn rest(&mut self) {
        let quiet = async { while let Ok(Some(())) = timeout(QUIET, self.events.recv()).await {} };
        let _ = timeout(PATIENCE, quiet).await;
    }

    /// Whether one of the files is no longer what it was before it was read.
    pub(crate) fn differs(&mut self) -> bool {
        let now = SystemTime::now();
        self.seen.iter_mut().any(|(file, seen)| match (seen, metadata(file)) {
            (Some(seen), Some(mut state)) => {
                state.content = seen.content.map(|_| content(file));
                let differs = state != *seen;
                if !differs && !state.is_directory && !state.is_fresh(now) {
                    seen.content = None;
                }
                differs
            }
            (seen, state) => seen.is_some() != state.is_some(),
        })
    }
}

impl State {
    fn is_fresh(&self, now: SystemTime) -> bool {
        // A time to come is no older than now.
        !now.duration_since(self.changed).is_ok_and(|age| age > TICK)
    }
}

/// How a file stands, with its content where that is needed to tell.
fn stamp(file: &Path) -> Stamp {
    let mut state = metadata(file)?;
    if state.is_directory || state.is_fresh(SystemTime::now()) {
        state.content = Some(content(file));
    }
    Some(state)
}

fn metadata(file: &Path) -> Stamp {
    let place = file.canonicalize().ok()?;
    let meta = place.metadata().ok()?;
    if meta.is_dir() {
        let (inode, changed) = ((meta.dev(), meta.ino()), SystemTime::UNIX_EPOCH);
        return Some(State { place, inode, length: 0, changed, content: None, is_directory: true });
    }
    let seconds = Duration::from_secs(u64::try_from(meta.ctime()).unwrap_or(0));
    let nanos = Duration::from_nanos(u64::try_from(meta.ctime_nsec()).unwrap_or(0));
    Some(State {
        inode: (meta.dev(), meta.ino()),
        length: meta.len(),
        changed: SystemTime::UNIX_EPOCH + seconds + nanos,
        content: None,
        is_directory: false,
        place,
    })
}

/// What tells a directory from another of its name; zeros where there is none.
fn inode(directory: &Path) -> (u64, u64) {
    directory.metadata().map_or((0, 0), |meta| (meta.dev(), meta.ino()))
}

/// A hash of what stands in a file, or of the names in a directory that are read; nothing is read
/// of what is neither, such as a pipe.
fn content(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    if file.is_dir() {
        lockgate_config::parts(file).unwrap_or_default().hash(&mut hasher);
        return hasher.finish();
    }
    let mut piece = [0; 8192];
    if file.is_file()
        && let Ok(file) = std::fs::File::open(file)
    {
        let mut file = file.take(MOST_BYTES);
        while let Ok(length @ 1..) = file.read(&mut piece) {
            hasher.write(piece.get(..length).unwrap_or_default());
        }
    }
    hasher.finish()
}

/// The directory that a file is named in, and the one that it really stands in, when a symbolic
/// link leads there; a directory is watched itself too.
fn directories(file: &Path) -> Vec<PathBuf> {
    let parent = |file: &Path| {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
    };
    let mut all = vec![parent(file)];
    if let Ok(real) = file.canonicalize() {
        all.push(parent(&real));
        if real.is_dir() {
            all.push(real);
        }
    }
    all
}
