//! Where a configuration begins: a file, the files of a directory, or copies of what stands
//! somewhere else. Of a directory that Kubernetes mounts, one state is read and never two.

use std::fs;
use std::path::{Path, PathBuf};

/// The endings of the files of a directory that are read.
const ENDINGS: [&str; 4] = ["yaml", "yml", "json", "toml"];
/// The link by which a mounted ConfigMap is swapped as a whole.
const MOUNTED: &str = "..data";

/// Where a configuration begins.
#[derive(Debug, Clone, Copy)]
pub enum Begin<'b> {
    /// A file, or a directory whose files are merged as included ones are.
    Path(&'b Path),
    /// Files under `root`, merged the same way: copies of what is called `name`, with their own
    /// names after it.
    Copies { root: &'b Path, files: &'b [PathBuf], name: &'b str },
}

impl<'b, P: AsRef<Path> + ?Sized> From<&'b P> for Begin<'b> {
    fn from(path: &'b P) -> Self {
        Self::Path(path.as_ref())
    }
}

/// One of several files that are a configuration together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What it is called.
    pub(super) name: String,
    /// Where it is read.
    pub(super) from: PathBuf,
}

/// The files of a directory that are read, by their names in it and sorted: those that end in
/// `.yaml`, `.yml`, `.json` or `.toml`, hidden ones apart.
///
/// # Errors
/// When the directory cannot be read.
pub fn parts(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(standing(directory))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if is_part(name) && path.is_file() {
            found.push(directory.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file of a directory is read, by its name in it.
pub fn is_part(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_known = ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known));
    is_known && !name.starts_with('.') && !name.contains('/')
}

/// What [`parts`] finds, and where each is to be read.
pub(super) fn listed(directory: &Path) -> std::io::Result<Vec<Part>> {
    let from = standing(directory);
    let parts = parts(directory)?.into_iter().map(|path| Part {
        name: path.display().to_string(),
        from: path.file_name().map_or_else(|| path.clone(), |name| from.join(name)),
    });
    Ok(parts.collect())
}

/// What is to be watched of a directory beside its files: of a mounted one, the link.
pub(super) fn watched(directory: &Path) -> Vec<PathBuf> {
    let link = directory.join(MOUNTED);
    if link.is_dir() { vec![directory.to_owned(), link] } else { vec![directory.to_owned()] }
}

/// Whether a directory is a mounted ConfigMap: then the names in it are links, which follow a swap
/// one after the other.
pub(super) fn is_mounted(directory: &Path) -> bool {
    directory.join(MOUNTED).is_dir()
}

/// Where a directory's files really stand: those of a mounted one in the directory of their state.
pub fn standing(directory: &Path) -> PathBuf {
    directory.join(MOUNTED).canonicalize().unwrap_or_else(|_| directory.to_owned())
}
