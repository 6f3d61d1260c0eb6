//! Noticing that a configuration file has changed. The directories are watched, not the files:
//! editors and configuration mounts replace files instead of writing into them.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Duration, timeout};

/// An editor's save is several events; they are taken together when no more come for this long.
const QUIET: Duration = Duration::from_millis(3);
/// But a file that never comes to rest is read all the same.
const PATIENCE: Duration = Duration::from_millis(50);

/// Watches the files that a configuration was read from.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    events: Receiver<()>,
    directories: BTreeSet<PathBuf>,
    seen: HashMap<PathBuf, Stamp>,
}

/// What tells one state of a file from the next.
type Stamp = Option<(SystemTime, u64, PathBuf)>;

impl Watch {
    /// Watches nothing yet. A system that cannot watch is no error: SIGHUP still reloads.
    pub(crate) fn new() -> Self {
        // One place is enough: an event that finds it taken has been announced already.
        let (sender, events) = channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, "files cannot be watched; reload with SIGHUP instead");
            })
            .ok();
        Self { watcher, events, directories: BTreeSet::new(), seen: HashMap::new() }
    }

    /// Watches these files from now on, and remembers how they stand.
    pub(crate) fn follow(&mut self, files: &[PathBuf]) {
        self.seen = files.iter().map(|file| (file.clone(), stamp(file))).collect();
        let wanted: BTreeSet<PathBuf> = files.iter().flat_map(|file| directories(file)).collect();
        if let Some(watcher) = &mut self.watcher {
            for gone in self.directories.difference(&wanted) {
                let _ = watcher.unwatch(gone);
            }
            for new in wanted.difference(&self.directories) {
                if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                    tracing::warn!(%error, directory = %new.display(), "cannot be watched");
                }
            }
        }
        self.directories = wanted;
    }

    /// Waits until one of the files is no longer what it was, and has come to rest.
    pub(crate) async fn changed(&mut self) {
        loop {
            if self.events.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            let rest =
                async { while let Ok(Some(())) = timeout(QUIET, self.events.recv()).await {} };
            let _ = timeout(PATIENCE, rest).await;
            let changed = self.seen.iter().any(|(file, seen)| stamp(file) != *seen);
            if changed {
                for (file, seen) in &mut self.seen {
                    *seen = stamp(file);
                }
                return;
            }
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let place = file.canonicalize().ok()?;
    let meta = place.metadata().ok()?;
    Some((meta.modified().ok()?, meta.len(), place))
}

/// The directory that a file is named in, and the one that it really stands in, when a symbolic
/// link leads there.
fn directories(file: &Path) -> Vec<PathBuf> {
    let parent = |file: &Path| {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
    };
    let mut all = vec![parent(file)];
    if let Ok(real) = file.canonicalize() {
        all.push(parent(&real));
    }
    all
}
