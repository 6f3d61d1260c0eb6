//! The changes that make of some files what a whole configuration says.

use std::path::Path;

use indexmap::IndexSet;
use lockgate_core::Plugin;
use serde_json::{Map, Value};

use super::{Changes, NAMED};
use crate::format::{HIDDEN, emit, hide_plain_secrets, told};
use crate::load::{self, Given, Loaded};
use crate::report::{Problem, Report, Severity};
use crate::source::{Begin, Hidden, Reader, Source, Spelling, marks};

/// What no change may touch: it says how the process itself is reached and run.
/// Alerts run programs, which is more than changing routes.
pub const FILES_ALONE: [&str; 3] = ["admin", "workers", "alerts"];

/// The changes that turn the files of `from` into what `text` says. What means the
/// same as in the files stays as it is written there, so that the long form, which `GET
/// /admin/config` gives, can be sent back with one thing changed. So does what is hidden there: a
/// thing with a secret in plain text that was not shown may be sent back as it is, and is
/// changed only by who says the secret, or a reference in its place.
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
    let one = Side::new(&files);
    let is_shown = text.contains(HIDDEN);
    let hidden = Hidden::new(if is_shown { vec![&one.long, &one.written] } else { Vec::new() });
    let wanted = load::shown(from, Given::Instead { name, text, hidden: &hidden }, plugins)?;
    let mut other = Side::new(&wanted);
    hidden.reveal(&mut other.long, 0);
    hidden.reveal(&mut other.written, 1);
    if let Some(problem) = of_the_process(&one, &other) {
        return Err(Report::new(vec![problem]));
    }
    let few = differences(&one, &other, true)?;
    let changed = few.write();
    let given = Given::Changes { name: "changes", text: &changed, of: Some(&few) };
    // What is inherited may make the same words mean something else.
    let means_it =
        load::shown(from, given, plugins).is_ok_and(|loaded| told(&loaded.document) == other.long);
    if means_it { Ok(few) } else { differences(&one, &other, false) }
}

/// A configuration in force as one text: its files and what lies over them, references as they are
/// written. What stands there as a secret in plain text is hidden.
pub fn effective(source: &Source) -> String {
    without_plain_secrets(source.tree.value(source.root, Spelling::Written))
}

/// A configuration from both sides: as written, and what it means. With its secrets.
struct Side<'l> {
    source: &'l Source,
    written: Value,
    long: Value,
}

impl<'l> Side<'l> {
    fn new(loaded: &'l Loaded) -> Self {
        let source = &loaded.source;
        let written = source.tree.value(source.root, Spelling::Written);
        Self { source, written, long: told(&loaded.document) }
    }

    fn written(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.written, |value, key| value.get(key))
    }

    fn meant(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.long, |value, key| value.get(key))
    }

    fn keys(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        self.written(path).and_then(Value::as_object).into_iter().flat_map(Map::keys).map(|k| &**k)
    }

    /// The first place under a path where something stands that was not shown.
    fn mark(&self, path: &[&str]) -> Option<Vec<String>> {
        let mut first = None;
        let mut whole: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        marks(&self.source.tree, self.source.node(path)?, &mut whole, &mut |path, _, _| {
            first.get_or_insert(path.to_owned());
        });
        first
    }
}

fn of_the_process(files: &Side<'_>, wanted: &Side<'_>) -> Option<Problem> {
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

/// What differs. `by_meaning`: what is written in another way and means the same does not.
///
/// # Errors
/// Where something differs and has something hidden in it: nobody shall change what is done with
/// a secret without knowing it, nor lose it by that.
fn differences(files: &Side<'_>, wanted: &Side<'_>, by_meaning: bool) -> Result<Changes, Report> {
    let (mut changes, mut hidden) = (Changes::default(), Vec::new());
    let mut compare = |path: &[&str]| {
        let (before, after) = (files.written(path), wanted.written(path));
        let means_the_same = by_meaning && files.meant(path) == wanted.meant(path);
        if before == after || means_the_same {
            return;
        }
        if let Some(place) = wanted.mark(path) {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            let thing = path.join(".");
            let message = format!(
                "`{HIDDEN}` is shown in place of a secret of the files, and `{thing}` is not as \
                 they have it"
            );
            let problem = wanted.source.problem(&place, Severity::Error, message);
            let help = "put a reference in its place in the files first, or send the secret";
            hidden.push(problem.with_help(help));
            return;
        }
        let (section, name) = (path.first().copied(), path.get(1).copied());
        // More than can be kept is refused where they are kept.
        let to = after.cloned();
        let _ = changes.set(section.unwrap_or_default(), name.unwrap_or_default(), to);
    };
    let sections: IndexSet<&str> = files.keys(&[]).chain(wanted.keys(&[])).collect();
    for section in sections {
        match section {
            "include" => {}
            section if FILES_ALONE.contains(&section) => {}
            // The long form has none: it is written out wherever it holds.
            "defaults" if by_meaning && wanted.source.node(&[section]).is_none() => {}
            section if NAMED.contains(&section) => {
                let path = [section];
                let names: IndexSet<&str> = files.keys(&path).chain(wanted.keys(&path)).collect();
                names.into_iter().for_each(|name| compare(&[section, name]));
            }
            section => compare(&[section]),
        }
    }
    if hidden.is_empty() { Ok(changes) } else { Err(Report::new(hidden)) }
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
/// is hidden, which a comment on top says.
pub fn without_plain_secrets(mut whole: Value) -> String {
    let hidden = hide_plain_secrets(&mut whole).len();
    let text = emit(&whole);
    if hidden == 0 {
        return text;
    }
    format!(
        "# {hidden} secrets that stand in plain text are not shown: put references in place of \
         each `{HIDDEN}`.\n{text}"
    )
}
