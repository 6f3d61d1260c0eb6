//! The reference that is generated: it is committed, so that it can be read without a build, and
//! compared on every check, so that it cannot fall behind.

mod errors;
mod grafana;
mod policies;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const FOLDER: &str = "docs/reference";
/// The folder where every file is generated, so that what nothing generates any more is found.
const POLICIES: &str = "docs/reference/policies";

/// What each generated file holds, by its path from the root.
type Files = BTreeMap<PathBuf, String>;

fn generate(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    let at = |name: &str| Path::new(FOLDER).join(name);
    files.insert(at("errors.md"), errors::page());
    files.insert(at("schema.json"), schema::document()?);
    for (name, text) in policies::pages(root)? {
        files.insert(Path::new(POLICIES).join(name), text);
    }
    files.extend(grafana::files());
    Ok(files)
}

/// Writes all of it.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn write(root: &Path) -> Result<()> {
    let files = generate(root)?;
    for path in stale(root, &files)? {
        fs::remove_file(root.join(&path))?;
        println!("removed {}", path.display());
    }
    for (path, text) in &files {
        let place = root.join(path);
        if fs::read_to_string(&place).is_ok_and(|now| now == *text) {
            continue;
        }
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&place, text).with_context(|| place.display().to_string())?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Compares all of it with what is there.
///
/// # Errors
/// The files that are not as they would be written.
pub(crate) fn check(root: &Path) -> Result<()> {
    let drifted = drift(root)?;
    for path in &drifted {
        println!("{}:1: is not as it would be generated", path.display());
    }
    if !drifted.is_empty() {
        bail!("run `cargo xtask docs` and commit what it writes");
    }
    Ok(())
}

fn drift(root: &Path) -> Result<Vec<PathBuf>> {
    let files = generate(root)?;
    let mut drifted = stale(root, &files)?;
    for (path, text) in files {
        if !fs::read_to_string(root.join(&path)).is_ok_and(|now| now == text) {
            drifted.push(path);
        }
    }
    Ok(drifted)
}

fn stale(root: &Path, files: &Files) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    let Ok(entries) = fs::read_dir(root.join(POLICIES)) else { return Ok(stale) };
    for entry in entries {
        let path = Path::new(POLICIES).join(entry?.file_name());
        if !files.contains_key(&path) {
            stale.push(path);
        }
    }
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn what_is_committed_is_what_is_generated() {
        let drifted = drift(&here()).unwrap();
        assert!(drifted.is_empty(), "run `cargo xtask docs`: {drifted:?}");
    }

    #[test]
    fn a_page_that_fell_behind_or_that_nothing_generates_is_found() {
        let root = std::env::temp_dir().join(format!("lockgate-docs-{}", std::process::id()));
        let readmes = root.join("crates/plugins/src");
        for plugin in lockgate_plugins::ALL {
            let folder = readmes.join(plugin.name());
            fs::create_dir_all(&folder).unwrap();
            let readme = here().join("crates/plugins/src").join(plugin.name()).join("README.md");
            fs::copy(readme, folder.join("README.md")).unwrap();
        }
        write(&root).unwrap();
        assert!(drift(&root).unwrap().is_empty());
        fs::write(root.join(FOLDER).join("errors.md"), "old").unwrap();
        fs::write(root.join(POLICIES).join("gone.md"), "old").unwrap();
        assert_eq!(drift(&root).unwrap().len(), 2);
        write(&root).unwrap();
        assert!(drift(&root).unwrap().is_empty());
        fs::remove_dir_all(&root).unwrap();
    }
}
