//! The rules that no compiler knows: who may import whom, how large a file may be, how things are
//! called. It reads manifests and sources as text; it runs as `cargo xtask tidy` and as a test.

mod arrows;
mod blank;
mod graph;
mod manifest;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A broken rule: where, what, and what to do.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: PathBuf,
    line: usize,
    what: String,
}

impl Violation {
    fn new(file: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Holds the whole tree to the rules.
///
/// # Errors
/// All violations, once they are printed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let violations = all(root)?;
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Ok(()),
        count => bail!("{count} to put right"),
    }
}

fn all(root: &Path) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let mut manifests = Vec::new();
    for folder in entries(&root.join("crates"))? {
        let path = folder.join("Cargo.toml");
        if let Ok(text) = fs::read_to_string(&path) {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            manifests.push(manifest::read(&name, relative(root, &path), &text)?);
        }
    }
    violations.extend(arrows::check(&manifests));
    for file in sources(&root.join("crates"))?.into_iter().chain(sources(&root.join("fuzz"))?) {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        violations.extend(source::check(relative(root, &file), &text));
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
    violations.extend(graph::budget(Path::new("Cargo.lock"), &lock));
    violations.extend(graph::bans(root)?);
    violations.sort();
    Ok(violations)
}

fn relative<'a>(root: &Path, path: &'a Path) -> &'a Path {
    path.strip_prefix(root).unwrap_or(path)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// All `.rs` files below, build output apart.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            if !path.ends_with("target") {
                files.extend(sources(&path)?);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[test]
fn this_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().unwrap();
    let violations = all(&root).unwrap();
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}
