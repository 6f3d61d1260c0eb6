//! What was fetched from a source, as files on the disk: where it is read and, once it has been put
//! in force, what the gateway begins with when the source is away. It may hold secrets, so nobody
//! else may read it. `good` is a link, replaced at one moment and only after all is on the disk.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lockgate_config::is_part;
use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

/// The link to the last copy that was put in force.
const GOOD: &str = "good";
/// In a copy: what it is of.
const ABOUT: &str = "about.json";
/// In a copy: the files.
const FILES: &str = "files";
/// Keys that begin so are no configuration: settings may name them as files.
pub(super) const BESIDE: &str = "files/";

/// How often it is noted that a copy is not old.
pub(super) const NOW_AND_THEN: Duration = Duration::from_secs(30);

/// One state of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// What stands before a file's name in messages.
    pub(super) prefix: String,
    /// The source's own word for it.
    pub(super) revision: String,
    /// Names and texts.
    pub(super) files: BTreeMap<String, Bytes>,
    /// How they lie in a copy.
    pub(super) seat: Seat,
    /// When it was fetched.
    pub(super) at: SystemTime,
}

/// How a version lies in its copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seat {
    /// The directory of the parts in it, and of what they name; empty: all that is not beside.
    pub(super) path: String,
    /// What is not copied: names, and where that is.
    pub(super) links: BTreeMap<String, PathBuf>,
}

/// What is kept of a version beside its files. When the source last said the same is the file's own
/// time.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    source: String,
    prefix: String,
    revision: String,
    names: Vec<String>,
    #[serde(default)]
    seat: Seat,
}

/// A version on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Copied {
    directory: PathBuf,
    /// Where its files are.
    pub(super) root: PathBuf,
    /// Where relative paths in them start from.
    pub(super) base: PathBuf,
    /// Those of them that are the configuration, from there.
    pub(super) parts: Vec<PathBuf>,
    pub(super) version: Arc<Version>,
}

/// The directory of one source's copies.
pub(super) struct Mirror {
    directory: PathBuf,
    source: String,
    /// Writes the last one that was put in force through to the disk.
    keeping: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Makes its directory under the gateway's own.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub(super) fn open(state: &Path, source: &str) -> io::Result<Self> {
        let mut mirror = Self::at(state, source);
        private().recursive(true).create(&mirror.directory)?;
        mirror.directory = mirror.directory.canonicalize()?;
        mirror.sweep();
        Ok(mirror)
    }

    /// A source's last good copy, without touching anything.
    pub(super) fn find(state: &Path, source: &str) -> Option<Copied> {
        Self::at(state, source).good()
    }

    fn at(state: &Path, source: &str) -> Self {
        let directory = state.join("sources").join(format!("{:016x}", number(source)));
        Self { directory, source: source.to_owned(), keeping: None }
    }

    /// The last version that was put in force, when there is one and it is whole.
    pub(super) fn good(&self) -> Option<Copied> {
        let directory = self.directory.join(GOOD).canonicalize().ok()?;
        let about = directory.join(ABOUT);
        let at = fs::metadata(&about).ok()?.modified().ok()?;
        let about = fs::read(about).ok()?;
        let mut about: About = serde_json::from_slice(&about).ok()?;
        if about.source != self.source {
            return None;
        }
        let root = directory.join(FILES);
        let texts = std::mem::take(&mut about.names).into_iter().map(|name| {
            let text = fs::read(root.join(&name)).ok()?;
            Some((name, text.into()))
        });
        let files = texts.collect::<Option<BTreeMap<String, Bytes>>>()?;
        let About { prefix, revision, seat, .. } = about;
        let version = Version { prefix, revision, files, seat, at };
        Some(copied(directory, Arc::new(version)))
    }

    /// Writes a version. What has not changed since `before` is not written again.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub(super) fn write(
        &self,
        version: &Arc<Version>,
        before: Option<&Copied>,
    ) -> io::Result<Copied> {
        let directory = self.fresh()?;
        let copied = copied(directory, Arc::clone(version));
        let written = copied.write(&self.source, before);
        if written.is_err() {
            copied.remove();
        }
        written.map(|()| copied)
    }

    /// Makes a version the one that is begun with. The disk is written through behind the back of
    /// whoever asks, in the order of asking; `before` is let go then.
    pub(super) fn keep(&mut self, copied: &Copied, before: Option<Copied>) {
        let last = self.keeping.take();
        let (directory, copied) = (self.directory.clone(), copied.clone());
        self.keeping = Some(tokio::spawn(async move {
            if let Some(last) = last {
                let _ = last.await;
            }
            let _ = spawn_blocking(move || {
                let kept = copied.sync().and_then(|()| link(&directory, &copied.directory));
                match kept {
                    Ok(()) => before.iter().for_each(Copied::remove),
                    Err(error) => tracing::error!(
                        %error, directory = %directory.display(),
                        "the last good copy of the configuration cannot be kept"
                    ),
                }
            })
            .await;
        }));
    }

    /// Where this source's copies are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What notes that the copy is what the source still says.
    pub(super) fn confirmed(&self) -> Confirmed {
        Confirmed { about: self.directory.join(GOOD).join(ABOUT), last: None }
    }

    /// Waits until what was put in force last is on the disk.
    pub(super) async fn kept(&mut self) {
        if let Some(keeping) = self.keeping.take() {
            let _ = keeping.await;
        }
    }

    /// A directory of this process that nobody has.
    fn fresh(&self) -> io::Result<PathBuf> {
        let pid = std::process::id();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        private().recursive(true).create(&self.directory)?;
        let directory = self.directory.join(format!("{now}-{pid}"));
        private().create(&directory)?;
        Ok(directory)
    }

    /// Removes what processes have left that are no more.
    fn sweep(&self) {
        let good = self.directory.join(GOOD).canonicalize().ok();
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let pid = name.to_str().and_then(|name| name.split_once('-')).map(|(_, pid)| pid);
            let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
            let lives = pid != std::process::id() && Path::new(&format!("/proc/{pid}")).exists();
            if !lives && path.canonicalize().ok() != good {
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

/// Notes on the disk, now and then, that the last good copy is not old.
pub(super) struct Confirmed {
    about: PathBuf,
    last: Option<Instant>,
}

impl Confirmed {
    /// The source says what is in force.
    pub(super) fn confirm(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() < NOW_AND_THEN) {
            return;
        }
        self.last = Some(Instant::now());
        // Without a note the copy only counts as older than it is.
        if let Ok(about) = File::options().append(true).open(&self.about) {
            let _ = about.set_modified(SystemTime::now());
        }
    }
}

impl Copied {
    fn write(&self, source: &str, before: Option<&Self>) -> io::Result<()> {
        private().create(&self.root)?;
        for (name, text) in &self.version.files {
            let path = self.root.join(name);
            if let Some(parent) = path.parent().filter(|parent| *parent != self.root) {
                private().recursive(true).create(parent)?;
            }
            let same = before.filter(|before| before.version.files.get(name) == Some(text));
            let linked = same.map(|before| fs::hard_link(before.root.join(name), &path));
            if !matches!(linked, Some(Ok(()))) {
                write(&path, text)?;
            }
        }
        for (name, target) in &self.version.seat.links {
            let path = self.root.join(name);
            private().recursive(true).create(path.parent().unwrap_or(&self.root))?;
            symlink(target, path)?;
        }
        let about = About {
            source: source.to_owned(),
            prefix: self.version.prefix.clone(),
            revision: self.version.revision.clone(),
            names: self.version.files.keys().cloned().collect(),
            seat: self.version.seat.clone(),
        };
        let path = self.directory.join(ABOUT);
        write(&path, &serde_json::to_vec(&about)?)?;
        File::options().append(true).open(path)?.set_modified(self.version.at)
    }

    /// Sees to it that all of it is on the disk.
    fn sync(&self) -> io::Result<()> {
        for name in self.version.files.keys() {
            File::open(self.root.join(name))?.sync_all()?;
        }
        File::open(self.directory.join(ABOUT))?.sync_all()?;
        File::open(&self.root)?.sync_all()?;
        File::open(&self.directory)?.sync_all()
    }

    /// The same files, which are another version's too.
    pub(super) fn as_of(&self, version: Arc<Version>) -> Option<Self> {
        let own = &self.version;
        let is_same =
            own.files == version.files && own.prefix == version.prefix && own.seat == version.seat;
        (is_same && self.is_there()).then(|| Self { version, ..self.clone() })
    }

    /// Whether it has not been taken off the disk.
    pub(super) fn is_there(&self) -> bool {
        self.root.is_dir()
    }

    /// Whether it is the same one, and not only one of the same.
    pub(super) fn is(&self, other: Option<&Self>) -> bool {
        other.is_some_and(|other| other.directory == self.directory)
    }

    /// Takes it off the disk.
    pub(super) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn copied(directory: PathBuf, version: Arc<Version>) -> Copied {
    let root = directory.join(FILES);
    let seat = version.seat.path.as_str();
    let part = |name: &String| {
        if seat.is_empty() {
            return (!name.starts_with(BESIDE)).then(|| PathBuf::from(name));
        }
        let inside = name.strip_prefix(seat)?.strip_prefix('/')?;
        is_part(inside).then(|| PathBuf::from(inside))
    };
    let parts = version.files.keys().filter_map(part).collect();
    Copied { base: root.join(seat), root, directory, parts, version }
}

/// Whether a key can be a file's name, so that nothing is written anywhere else.
pub(super) fn is_name(name: &str) -> bool {
    let parts = Path::new(name).components();
    let is_plain = parts.into_iter().all(|part| matches!(part, Component::Normal(_)));
    let fits = |part: &str| !part.is_empty() && part != "." && part.len() <= 200;
    is_plain && name.split('/').all(fits) && name.len() <= 1024 && !name.contains('\0')
}

/// A number for a text, the same in every build (FNV-1a).
fn number(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |number, byte| {
        (number ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

pub(super) fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.write_all(text)
}

fn link(directory: &Path, to: &Path) -> io::Result<()> {
    let half = directory.join(format!("{GOOD}.{}", std::process::id()));
    let _ = fs::remove_file(&half);
    symlink(to.file_name().unwrap_or_default(), &half)?;
    fs::rename(&half, directory.join(GOOD))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct State(PathBuf);

    impl State {
        fn new(name: &str) -> Self {
            let name = format!("lockgate-mirror-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for State {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn version(revision: &str, files: &[(&str, &str)]) -> Arc<Version> {
        let files =
            files.iter().map(|(name, text)| ((*name).to_owned(), Bytes::from(text.to_string())));
        let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let prefix = "etcd://h/k/".to_owned();
        let (revision, files, seat) = (revision.to_owned(), files.collect(), Seat::default());
        Arc::new(Version { prefix, revision, files, seat, at })
    }

    #[tokio::test]
    async fn what_was_in_force_is_found_again_and_what_was_not_is_gone() {
        let state = State::new("kept");
        let mut mirror = Mirror::open(&state.0, "etcd://h/k/").unwrap();
        assert!(mirror.good().is_none());
        let first = version("1", &[("a", "x: 1"), ("files/s.json", "{}"), ("routes/b", "y: 2")]);
        let one = mirror.write(&first, None).unwrap();
        assert_eq!(one.parts, [PathBuf::from("a"), PathBuf::from("routes/b")]);
        assert!(mirror.good().is_none(), "it was not put in force");
        mirror.keep(&one, None);
        mirror.kept().await;
        let second = version("2", &[("a", "x: 2"), ("files/s.json", "{}")]);
        let two = mirror.write(&second, Some(&one)).unwrap();
        assert_eq!(mirror.good().unwrap().version, first);
        mirror.keep(&two, Some(one.clone()));
        mirror.kept().await;
        let refused = mirror.write(&version("3", &[("a", "broken")]), Some(&two)).unwrap();
        // As the next process would find it, and another source would not.
        let mirror = Mirror::open(&state.0, "etcd://h/k/").unwrap();
        assert_eq!(mirror.good().unwrap().version, second);
        assert!(!one.directory.exists() && !refused.directory.exists());
        assert!(Mirror::open(&state.0, "etcd://h/other/").unwrap().good().is_none());
    }

    #[tokio::test]
    async fn nobody_else_reads_it_and_half_of_it_is_nothing() {
        let state = State::new("private");
        let mut mirror = Mirror::open(&state.0, "s").unwrap();
        let one = mirror.write(&version("1", &[("a", "x"), ("b", "y")]), None).unwrap();
        mirror.keep(&one, None);
        mirror.kept().await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&one.root), mode(&one.root.join("a"))), (0o700, 0o600));
        fs::remove_file(one.root.join("b")).unwrap();
        assert!(mirror.good().is_none());
    }

    #[test]
    fn only_names_that_stay_inside_are_names() {
        for name in ["a", "a.yaml", "routes/a", "..data", "a..b/c"] {
            assert!(is_name(name), "{name}");
        }
        for name in
            ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a/.", "a\0", &"x".repeat(201)]
        {
            assert!(!is_name(name), "{name}");
        }
    }
}
