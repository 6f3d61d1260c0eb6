//! A directory of the gateway's own. A file in it is replaced at once or not at all, and nobody
//! else reads it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of one file.
pub(super) const MOST_BYTES: u64 = 16 << 20;

#[derive(Clone)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// Makes it where it is missing.
    ///
    /// # Errors
    /// When it is not there and cannot be made, or cannot be written to.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // What it is named by may lead through a directory that goes away.
        let dir = Self(path.canonicalize()?);
        dir.write(".writable", "")?;
        dir.remove(".writable");
        Ok(dir)
    }

    /// One inside of it.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub(crate) fn inside(&self, name: &str) -> io::Result<Self> {
        Self::open(&self.path(name))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file's text; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than any that the gateway has written.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<String>> {
        let path = self.path(name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(meta) if meta.len() > MOST_BYTES => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 16MiB"));
            }
            Ok(_) => {}
        }
        fs::read_to_string(path).map(Some)
    }

    /// Replaces a file. It is on the disk when this is over.
    ///
    /// # Errors
    /// When it cannot be written; the one before is then as it was.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        self.put(name, text, true)
    }

    /// The same without waiting for the disk: a system that fails at once may lose it.
    ///
    /// # Errors
    /// As of [`Self::write`].
    pub(crate) fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        self.put(name, text, false)
    }

    fn put(&self, name: &str, text: &str, sync: bool) -> io::Result<()> {
        let half = self.path(&format!("{name}.{}.new", std::process::id()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&half)?;
            file.write_all(text.as_bytes())?;
            if sync {
                file.sync_all()?;
            }
            fs::rename(&half, self.path(name))?;
            // The new name too.
            if sync { File::open(&self.0)?.sync_all() } else { Ok(()) }
        })();
        if written.is_err() {
            let _ = fs::remove_file(&half);
        }
        written
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }

    /// The names of the files in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}
