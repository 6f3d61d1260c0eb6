//! A directory of a test's own, removed at its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A fresh directory; dropping it removes it and all that is in it.
#[derive(Debug)]
pub struct Dir(PathBuf);

impl Dir {
    /// Makes one under the system's place for such.
    #[allow(clippy::new_without_default, reason = "it makes something on the disk")]
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lockgate-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it, or in a folder of it, at once: readers see the old one or the new one,
    /// never half of one.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder of the test");
        }
        let half = path.with_file_name(format!(".{}.new", name.replace('/', "-")));
        std::fs::write(&half, text).expect("writing a file of the test");
        std::fs::rename(&half, &path).expect("renaming a file of the test");
        path
    }

    /// Reads a file in it; empty when there is none.
    pub fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.0.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
