//! Reads what a room's `Cargo.toml` depends on, and on which line it says so.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

/// When a dependency is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Into the room itself, or its build script.
    Always,
    /// Only into its tests.
    Tests,
}

/// One dependency.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) when: When,
    pub(super) line: usize,
}

/// A room: a folder of `crates/`.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) room: String,
    pub(super) file: PathBuf,
    pub(super) dependencies: Vec<Dependency>,
}

/// Reads a manifest, the tables of single targets included.
pub(super) fn read(room: &str, file: &Path, text: &str) -> Result<Manifest> {
    let table: Table = text.parse().with_context(|| file.display().to_string())?;
    let mut dependencies = Vec::new();
    let targets = table.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    for part in std::iter::once(&table).chain(targets) {
        for (key, when) in [
            ("dependencies", When::Always),
            ("build-dependencies", When::Always),
            ("dev-dependencies", When::Tests),
        ] {
            for (name, value) in part.get(key).and_then(Value::as_table).into_iter().flatten() {
                let real = value.get("package").and_then(Value::as_str).unwrap_or(name);
                let line = line_of(text, key, name);
                dependencies.push(Dependency { name: real.to_owned(), when, line });
            }
        }
    }
    Ok(Manifest { room: room.to_owned(), file: file.to_owned(), dependencies })
}

/// The line of `name` under a heading that ends with `key`; 1 when it is written in another way.
fn line_of(text: &str, key: &str, name: &str) -> usize {
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix('[') {
            let heading = heading.trim_end().trim_end_matches(']');
            inside = heading.rsplit('.').next() == Some(key);
            if heading.ends_with(&format!("{key}.{name}")) {
                return number + 1;
            }
        }
        let word = line.split(['.', '=', ' ']).next().unwrap_or_default();
        if inside && word.trim_matches('"') == name {
            return number + 1;
        }
    }
    1
}
