//! A directory of this machine as a source: it is read where it stands. What is in force of it is
//! copied, with the files in it that are named there, to begin with when the directory is away.
//! What it names outside of itself is no part of it: the copy has links that lead there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use lockgate_config::model::{Document, LogTo};
use lockgate_config::{Begin, Loaded, parts, standing};
use tokio::time::{Instant, sleep_until};

use super::follow::digest;
use super::mirror::{Confirmed, Copied, Mirror, NOW_AND_THEN, Seat, Version};
use super::remote::begin;
use super::state_dir;
use super::status::{Failure, Reason, Status};
use crate::watch::Watch;

/// Most bytes of a copy: of a configuration, and of what it names in its directory.
const MOST_BYTES: u64 = 64 << 20;

/// A directory whose files are a configuration together.
pub(super) struct Directory {
    path: PathBuf,
    /// `None`: there is no place for copies.
    mirror: Option<Mirror>,
    good: Option<Copied>,
    /// Whether that is what is in force, or was when the gateway last ran.
    is_current: bool,
    /// Whether what was read last is the copy.
    reads_copy: bool,
    /// What is to be copied once it is in force; `None` when it does not stand any more.
    gathered: Option<io::Result<Version>>,
    /// The files that were read last, and the paths in them that are written to.
    files: Vec<PathBuf>,
    written: Vec<PathBuf>,
    confirmed: Option<Confirmed>,
    /// When the copy is to be confirmed, or tried again.
    due: Instant,
}

impl Directory {
    /// What is a directory, or was one when the gateway last ran; `None` for what is neither.
    pub(super) fn open(path: &Path, state: Option<&Path>, status: &Status) -> Option<Self> {
        let source = plain(path).ok()?.display().to_string();
        let state = state_dir::of(state);
        let good = state.as_ref().ok().and_then(|state| Mirror::find(state, &source));
        if !path.is_dir() && (path.is_file() || good.is_none()) {
            return None;
        }
        let mirror = state.and_then(|state| {
            Mirror::open(&state, &source).map_err(|error| {
                let state = state.display();
                format!("it cannot be kept in `{state}`: {error}; `--state-dir` names another")
            })
        });
        if let Err(why) = &mirror {
            status.is_copied(Err(why.clone()));
        }
        let mirror = mirror.ok();
        Some(Self {
            path: path.to_owned(),
            confirmed: mirror.as_ref().map(Mirror::confirmed),
            mirror,
            good,
            is_current: true,
            reads_copy: false,
            gathered: None,
            files: Vec::new(),
            written: Vec::new(),
            due: Instant::now(),
        })
    }

    /// Where nothing is to be watched.
    pub(super) fn copies(&self) -> Option<&Path> {
        self.mirror.as_ref().map(Mirror::directory)
    }

    /// Why there is no configuration in it at all, as opposed to a wrong one.
    pub(super) fn failure(&self) -> Option<Failure> {
        match parts(&self.path) {
            Ok(parts) if parts.is_empty() => {
                Some(Failure::new(Reason::Empty, "has no .yaml, .yml, .json or .toml in it"))
            }
            Ok(_) => None,
            Err(_) if self.path.is_file() => None,
            Err(error) => Some(Failure::away(format!("cannot be read: {error}"))),
        }
    }

    /// Whether it was away and is there again.
    pub(super) fn is_back(&self, status: &Status) -> bool {
        status.why().is_some() && self.failure().is_none()
    }

    /// What is begun with when the directory is away.
    pub(super) fn good(&self) -> Option<&Copied> {
        self.good.as_ref()
    }

    /// The directory itself, to be read.
    pub(super) fn itself(&mut self) -> &PathBuf {
        self.reads_copy = false;
        &self.path
    }

    /// What is to be read of it now: of one that is away, the copy of what is in force.
    pub(super) fn now(&self) -> Begin<'_> {
        self.instead().map_or(Begin::Path(&self.path), begin)
    }

    /// The same, to be put in force.
    pub(super) fn take(&mut self) -> Begin<'_> {
        self.reads_copy = self.instead().is_some();
        self.now()
    }

    fn instead(&self) -> Option<&Copied> {
        let good = self.good.as_ref().filter(|good| self.is_current && good.is_there());
        good.filter(|_| self.failure().is_some())
    }

    /// Begins with the copy. Whether there is one.
    pub(super) fn fall_back(&mut self) -> bool {
        self.reads_copy = self.good.is_some();
        self.reads_copy
    }

    /// This was read last. It is gathered at once: the directory may be away before it is in force.
    pub(super) fn has_read(&mut self, loaded: &Loaded, watch: &mut Watch) {
        if !self.reads_copy {
            self.files.clone_from(&loaded.files);
            self.written = written(&loaded.document);
            self.gather_again(watch);
        }
    }

    /// What was read last is in force.
    pub(super) fn in_force(&mut self, files: &[PathBuf], watch: &mut Watch, status: &Status) {
        if self.reads_copy {
            // What was known of the directory is looked at until it is there again.
            let version = self.good.as_ref().map(|good| Arc::clone(&good.version));
            return status.in_force(version, true);
        }
        watch.keep(files);
        status.is_there();
        status.in_force(None, false);
        self.copy(status);
    }

    /// Waits until the copy is to be looked after.
    pub(super) async fn is_due(&self) {
        sleep_until(self.due).await;
    }

    /// Notes that the copy is what the directory still says, or tries again to make it.
    pub(super) fn look_after(&mut self, watch: &mut Watch, status: &Status) {
        self.due = Instant::now() + NOW_AND_THEN;
        match &mut self.confirmed {
            _ if !status.is_confirmed() => {}
            Some(confirmed) if self.is_current => confirmed.confirm(),
            _ => {
                self.gather_again(watch);
                self.copy(status);
            }
        }
    }

    /// Gathers what was read last, if it still stands as it was read.
    fn gather_again(&mut self, watch: &mut Watch) {
        let gathered = self.mirror.is_some().then(|| self.gather());
        // What comes of a change is copied in its place.
        self.gathered = gathered.filter(|_| !watch.differs());
    }

    /// Copies what is in force, as it was gathered.
    fn copy(&mut self, status: &Status) {
        self.is_current = false;
        self.due = Instant::now() + NOW_AND_THEN;
        let Some(gathered) = self.gathered.take() else { return };
        let copied = gathered.and_then(|version| self.write(Arc::new(version)));
        self.is_current = copied.is_ok();
        status.is_copied(copied.map_err(|error| error.to_string()));
    }

    fn write(&mut self, version: Arc<Version>) -> io::Result<()> {
        let Some(mirror) = &mut self.mirror else { return Ok(()) };
        if let Some(same) = self.good.as_ref().and_then(|good| good.as_of(Arc::clone(&version))) {
            self.good = Some(same);
            self.confirmed.iter_mut().for_each(Confirmed::confirm);
            return Ok(());
        }
        let copied = mirror.write(&version, self.good.as_ref())?;
        let before = self.good.replace(copied.clone());
        mirror.keep(&copied, before);
        Ok(())
    }

    /// Waits until the copy of what is in force is on the disk.
    pub(super) async fn kept(&mut self) {
        if let Some(mirror) = &mut self.mirror {
            mirror.kept().await;
        }
    }

    /// All of the directory that is in force, each file as deep as it is on this machine: so what a
    /// relative path means that leads out of the directory has its place in the copy too.
    fn gather(&self) -> io::Result<Version> {
        let named = plain(&self.path)?;
        let real = self.path.canonicalize()?;
        let mut room = MOST_BYTES;
        let mut files = BTreeMap::new();
        let mut links = BTreeMap::new();
        let standing = standing(&self.path);
        for part in parts(&self.path)? {
            let name = part.file_name().unwrap_or_default();
            files.insert(place(&named.join(name))?, read(&standing.join(name), &mut room)?);
        }
        let all = self.files.iter().map(|file| (file, false));
        for (file, is_written) in all.chain(self.written.iter().map(|file| (file, true))) {
            let Ok(inside) = file.strip_prefix(&self.path) else { continue };
            let here = plain(&named.join(inside))?;
            let name = place(&here)?;
            if is_written || (!here.starts_with(&named) && file.is_file()) {
                links.insert(name, plain(&real.join(inside))?);
            } else if here.starts_with(&named) && file.is_file() && !files.contains_key(&name) {
                files.insert(name, read(file, &mut room)?);
            }
        }
        // What lies in something that is linked is found by that link.
        let linked: Vec<String> = links.keys().map(|name| format!("{name}/")).collect();
        let is_own = |name: &str| !linked.iter().any(|above| name.starts_with(above));
        files.retain(|name, _| is_own(name));
        links.retain(|name, _| is_own(name));
        Ok(Version {
            prefix: self.path.join("").display().to_string(),
            revision: digest(&files),
            files,
            seat: Seat { path: place(&named)?, links },
            at: SystemTime::now(),
        })
    }
}

/// What a configuration has written to: that is never copied.
fn written(document: &Document) -> Vec<PathBuf> {
    let log = document.telemetry.access_log.as_ref().and_then(|log| match &log.to {
        LogTo::File(path) => Some(path.clone()),
        LogTo::Stdout => None,
    });
    document.admin.state_dir.iter().cloned().chain(log).collect()
}

/// A path from the root, without `.` and `..`.
fn plain(path: &Path) -> io::Result<PathBuf> {
    let mut plain = PathBuf::new();
    for component in std::path::absolute(path)?.components() {
        match component {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    Ok(plain)
}

/// Where something lies in a copy.
fn place(path: &Path) -> io::Result<String> {
    let place = path.strip_prefix("/").unwrap_or(path).to_str();
    let place = place.filter(|place| !place.is_empty()).map(str::to_owned);
    place.ok_or_else(|| {
        let path = path.display();
        io::Error::new(io::ErrorKind::InvalidInput, format!("`{path}` cannot be a name in a copy"))
    })
}

fn read(path: &Path, room: &mut u64) -> io::Result<Bytes> {
    let told =
        |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(*room + 1).read_to_end(&mut text)).map_err(told)?;
    *room = room.checked_sub(text.len() as u64).ok_or_else(|| {
        io::Error::new(io::ErrorKind::FileTooLarge, "there are more than 64MiB to be copied")
    })?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use lockgate_testkit::Dir;

    use super::*;

    #[test]
    fn what_leads_out_of_a_directory_is_linked_and_the_rest_is_copied() {
        let dir = Dir::new();
        let top = dir.path().canonicalize().unwrap();
        for (name, text) in [
            ("real/conf.d/a.yaml", "workers: 1"),
            ("real/conf.d/.b.yaml", "no part"),
            ("real/conf.d/deep/word", "w"),
            ("real/conf.d/state/own", "its own"),
            ("real/out", "o"),
        ] {
            dir.write(name, text);
        }
        let path = top.join("named");
        symlink(top.join("real/conf.d"), &path).unwrap();
        let status = Status::directory(String::new());
        let state = top.join("state");
        let mut directory = Directory::open(&path, Some(&state), &status).unwrap();
        let named = ["", "a.yaml", "deep/word", "deep/../state/own", "../out", "../nowhere"];
        directory.files = named.map(|name| path.join(name)).to_vec();
        directory.files.push("/etc/hostname".into());
        directory.written = vec![path.join("state"), path.join("../logs/access.log")];
        let version = directory.gather().unwrap();
        let place = |name: &str| place(&top.join(name)).unwrap();
        let copied: Vec<&String> = version.files.keys().collect();
        assert_eq!(copied, [&place("named/a.yaml"), &place("named/deep/word")]);
        // A path through a link leads out of where that leads.
        let linked = [
            (place("logs/access.log"), top.join("real/logs/access.log")),
            (place("named/state"), top.join("real/conf.d/state")),
            (place("out"), top.join("real/out")),
        ];
        assert_eq!(version.seat.links, BTreeMap::from(linked));
        let mirror = directory.mirror.as_ref().unwrap();
        let copied = mirror.write(&Arc::new(version), None).unwrap();
        assert_eq!(copied.parts, [PathBuf::from("a.yaml")]);
        let read = |name: &str| fs::read_to_string(copied.base.join(name)).unwrap();
        assert_eq!((read("deep/word"), read("../out")), ("w".to_owned(), "o".to_owned()));
        assert_eq!(read("state/own"), "its own");
    }
}
