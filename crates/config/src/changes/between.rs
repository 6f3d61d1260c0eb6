//! The changes that make of some files what a whole configuration says.

use std::path::Path;

use indexmap::IndexSet;
use lockgate_core::Plugin;
use serde_json::{Value, json};

use super::{Changes, NAMED};
use crate::format::{emit, hide_plain_secrets, long_value};
use crate::load::{self, Given, Loaded};
use crate::report::{Problem, Report, Severity};
use crate::source::{Begin, NodeId, Reader, Source, Spelling};

/// What no change may touch: it says how the process itself is reached and run.
/// Alerts run programs, which is more than changing routes.
pub const FILES_ALONE: [&str; 3] = ["admin", "workers", "alerts"];

/// The changes that turn the files of `from` into what `text` says. What means the
/// same as in the files stays as it is written there, so that the long form, which `GET
/// /admin/config` gives, can be sent back with one thing changed.
///
/// # Errors
/// All that is wrong with the text or the files.
pub fn between<'b>(
    from: impl Into<Begin<'b>>,
    name: &str,
    text: &str,
    plugins: &[Plugin],
) -> Result<Changes, Report> {
    let from = from.into();
    let files = load::shown(from, Given::Nothing, plugins)?;
    let wanted = load::shown(from, Given::Instead { name, text }, plugins)?;
    let one = Sides::new(&files);
    let other = Sides::new(&wanted);
    if let Some(problem) = of_the_process(&one, &other) {
        return Err(Report::new(vec![problem]));
    }
    let lost = lost_secrets(&one, &other);
    if !lost.is_empty() {
        return Err(Report::new(lost));
    }
    let few = differences(&one, &other, true);
    let changed = few.write();
    let given = Given::Changes { name: "changes", text: &changed, of: Some(&few) };
    // What is inherited may make the same words mean something else.
    let means_it = load::shown(from, given, plugins)
        .is_ok_and(|loaded| long_value(&loaded.document) == other.long);
    Ok(if means_it { few } else { differences(&one, &other, false) })
}

/// A configuration in force as one text: its files and what lies over them, references as they are
/// written. What stands there as a secret in plain text is left out.
pub fn effective(source: &Source) -> String {
    without_plain_secrets(source.tree.value(source.root, Spelling::Written))
}

/// A configuration from both sides: as written, and what it means.
struct Sides<'l> {
    source: &'l Source,
    long: Value,
}

impl<'l> Sides<'l> {
    fn new(loaded: &'l Loaded) -> Self {
        Self { source: &loaded.source, long: long_value(&loaded.document) }
    }

    fn written(&self, path: &[&str]) -> Option<Value> {
        let node: NodeId = self.source.node(path)?;
        Some(self.source.tree.value(node, Spelling::Written))
    }

    fn meant(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.long, |value, key| value.get(key))
    }

    /// The secrets that stand in plain text under a path.
    fn secrets(&self, path: &[&str]) -> Vec<String> {
        let Some(written) = self.written(path) else { return Vec::new() };
        let mut whole = path.iter().rev().fold(written, |inner, key| json!({ *key: inner }));
        hide_plain_secrets(&mut whole)
    }

    fn keys(&self, path: &[&str]) -> Vec<&'l str> {
        let tree = &self.source.tree;
        let pairs = self.source.node(path).map(|node| tree.pairs(node)).unwrap_or_default();
        pairs.iter().filter_map(|pair| tree.written(pair.0)).collect()
    }
}

fn of_the_process(files: &Sides<'_>, wanted: &Sides<'_>) -> Option<Problem> {
    FILES_ALONE.iter().find_map(|section| {
        wanted.source.node(&[section])?;
        let differs = wanted.meant(&[section]) != files.meant(&[section]);
        let message = format!("`{section}` is changed in the files alone");
        let problem = || wanted.source.problem(&[section], Severity::Error, message);
        differs.then(problem).map(|problem| {
            problem.with_help("leave it out of what you send, or as the files have it")
        })
    })
}

/// The things that have secrets in plain text in the files, and none in what was sent: it may have
/// been made of what is shown, where they are left out. Nobody's key shall go by that.
fn lost_secrets(files: &Sides<'_>, wanted: &Sides<'_>) -> Vec<Problem> {
    let mut lost = Vec::new();
    for section in wanted.keys(&[]) {
        let names = match NAMED.contains(&section) {
            true => wanted.keys(&[section]),
            false => vec![""],
        };
        for name in names {
            let path = [section, name];
            let path = if name.is_empty() { &path[..1] } else { &path[..] };
            let (before, after) = (files.written(path), wanted.written(path));
            if before == after || files.secrets(path).is_empty() || !wanted.secrets(path).is_empty()
            {
                continue;
            }
            let message = "the files have a secret in plain text here, which this lacks";
            let problem = wanted.source.problem(path, Severity::Error, message);
            let help = "put a reference in its place in the files, or change this there";
            lost.push(problem.with_help(help));
        }
    }
    lost
}

/// What differs. `by_meaning`: what is written in another way and means the same does not.
fn differences(files: &Sides<'_>, wanted: &Sides<'_>, by_meaning: bool) -> Changes {
    let mut changes = Changes::default();
    let mut compare = |path: &[&str]| {
        let (before, after) = (files.written(path), wanted.written(path));
        // Secrets are no part of what is meant, as far as that is shown.
        let means_the_same = by_meaning
            && files.meant(path) == wanted.meant(path)
            && files.secrets(path) == wanted.secrets(path);
        if before == after || means_the_same {
            return;
        }
        let (section, name) = (path.first().copied(), path.get(1).copied());
        // More than can be kept is refused where they are kept.
        let _ = changes.set(section.unwrap_or_default(), name.unwrap_or_default(), after);
    };
    let sections: IndexSet<&str> = files.keys(&[]).into_iter().chain(wanted.keys(&[])).collect();
    for section in sections {
        match section {
            "include" => {}
            section if FILES_ALONE.contains(&section) => {}
            // The long form has none: it is written out wherever it holds.
            "defaults" if by_meaning && wanted.source.node(&[section]).is_none() => {}
            section if NAMED.contains(&section) => {
                let before = files.keys(&[section]).into_iter();
                let names: IndexSet<&str> = before.chain(wanted.keys(&[section])).collect();
                names.into_iter().for_each(|name| compare(&[section, name]));
            }
            section => compare(&[section]),
        }
    }
    changes
}

/// What files and changes over them say together, as written: both as texts.
///
/// # Errors
/// What is wrong with either.
pub fn laid_over(files: &str, changes: &str) -> Result<Value, String> {
    let mut reader = Reader::unresolved();
    let mut root = reader.begin(Path::new("files"), files.to_owned());
    if !changes.is_empty() {
        root = reader.change(root, "changes", changes, None);
    }
    if let Some(fail) = reader.fails.first() {
        return Err(fail.message.clone());
    }
    let source = reader.finish(root).source;
    Ok(source.tree.value(source.root, Spelling::Written))
}

/// A value as a YAML text.
pub fn write_value(value: &Value) -> String {
    emit(value)
}

/// A whole configuration, as written, as a YAML text. What stands there as a secret in plain text
/// is left out, which a comment on top says.
pub fn without_plain_secrets(mut whole: Value) -> String {
    let hidden = hide_plain_secrets(&mut whole).len();
    let text = emit(&whole);
    if hidden == 0 {
        return text;
    }
    format!("# Left out: {hidden} secrets in plain text. Put references in their place.\n{text}")
}
