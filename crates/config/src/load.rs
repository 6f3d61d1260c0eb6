//! Loading: read, decode, check, and either a document or the whole list of what is wrong.

use std::path::{Path, PathBuf};

use lockgate_core::Plugin;

use crate::changes::Changes;
use crate::check::{self, Asked};
use crate::decode::{self, Decoder, Reading};
use crate::model::Document;
use crate::report::{Problem, Report, Severity};
use crate::same::{InForce, Same};
use crate::source::{Begin, Fail, Finished, Hidden, Lookup, NodeId, Reader, Source};
use crate::templates;

/// A configuration that may be used.
#[derive(Debug)]
pub struct Loaded {
    pub document: Document,
    /// Where everything in it stands.
    pub source: Source,
    /// What is allowed and yet hardly meant.
    pub warnings: Vec<Problem>,
    /// All files that were read or named, to be watched: includes, references, certificates.
    pub files: Vec<PathBuf>,
    /// Whether what routes are made of is as in the configuration that it was read against.
    pub same: bool,
    pub(crate) asked: Asked,
    pub(crate) inherited: check::Inherited,
}

/// What is given beside the files.
#[derive(Debug, Clone, Copy)]
pub enum Given<'g> {
    /// Nothing.
    Nothing,
    /// [`Changes`] to lie over them: as written, and what their file is called. `of`: what that was
    /// written of, when it is known; then only those are read that were not there before.
    Changes { name: &'g str, text: &'g str, of: Option<&'g Changes> },
    /// A whole configuration to be read instead of them, as if it lay beside the first: its text,
    /// what it is called, and what stands in them where it may have nothing but what is shown.
    Instead { name: &'g str, text: &'g str, hidden: &'g Hidden },
}

/// Loads a file, or a directory's, and all that it includes. `plugins` are the policies and
/// handlers there are.
///
/// # Errors
/// All problems at once; [`Report::is_unreadable`] when the file itself cannot be read.
pub fn load<'b>(from: impl Into<Begin<'b>>, plugins: &[Plugin]) -> Result<Loaded, Report> {
    load_with(from, Given::Nothing, None, plugins, &mut no_more)
}

/// What else is to be checked of a document, with the places that it was read from. It is asked
/// about a document with errors too, of which it has what could be read.
pub type More<'m> = &'m mut dyn FnMut(&Document, &Source) -> Vec<Problem>;

/// [`load`] with something beside the files, and with more to check. What is the same as in
/// `before` is taken over from it; what comes of it does not depend on that.
///
/// # Errors
/// All problems at once, those of `more` among them.
pub fn load_with<'b>(
    from: impl Into<Begin<'b>>,
    given: Given<'_>,
    before: Option<&InForce>,
    plugins: &[Plugin],
    more: More<'_>,
) -> Result<Loaded, Report> {
    let env = |name: &str| std::env::var(name).ok();
    let from = from.into();
    if before.is_some() {
        let (reader, root) = open(from, given, before, &env)?;
        // What is refused is read once more as if it were the first, so that nothing that is said
        // of it depends on what was before.
        if let Ok(loaded) = read(reader, root, plugins, Reading::Resolved, before, more) {
            return Ok(loaded);
        }
    }
    let (reader, root) = open(from, given, None, &env)?;
    read(reader, root, plugins, Reading::Resolved, None, more)
}

/// [`load_with`], decoded with references as they are written wherever the field takes that.
///
/// # Errors
/// As of [`load`].
pub(crate) fn shown(
    from: Begin<'_>,
    given: Given<'_>,
    plugins: &[Plugin],
) -> Result<Loaded, Report> {
    let env = |name: &str| std::env::var(name).ok();
    let (reader, root) = open(from, given, None, &env)?;
    read(reader, root, plugins, Reading::Shown, None, &mut no_more)
}

/// Where a file says that what outlives the process is kept: `admin.state_dir`. Nothing else of it
/// is looked at; what is wrong with it is told when it is loaded.
pub fn state_dir<'b>(from: impl Into<Begin<'b>>) -> Option<PathBuf> {
    let env = |name: &str| std::env::var(name).ok();
    let mut reader = Reader::new(&env);
    let root = reader.open(from.into()).ok()?;
    let source = reader.finish(root).source;
    let said = source.node(&["admin", "state_dir"])?;
    Some(source.base(source.tree.at(said)).join(source.tree.text(said)?))
}

fn open<'e>(
    from: Begin<'_>,
    given: Given<'e>,
    before: Option<&'e InForce>,
    env: Lookup<'e>,
) -> Result<(Reader<'e>, NodeId), Report> {
    let mut reader = Reader::new(env).knowing(before.map(|before| &before.source));
    if let Given::Instead { name, text, hidden } = given {
        reader.hidden = Some(hidden);
        let root = reader.instead(from, name, text);
        return Ok((reader, root));
    }
    let root = reader.open(from).map_err(|why| match from {
        Begin::Path(path) => Report::unreadable(&path.display().to_string(), &why),
        Begin::Copies { name, .. } => Report::unreadable(name, &why),
    })?;
    let Given::Changes { name, text, of } = given else { return Ok((reader, root)) };
    let root = reader.change(root, name, text, of);
    Ok((reader, root))
}

/// Loads a text as if it were the file `name`: what it includes is looked for beside that, and
/// its ending tells TOML from YAML and JSON.
///
/// # Errors
/// All problems at once.
pub fn load_str(name: &str, text: &str, plugins: &[Plugin]) -> Result<Loaded, Report> {
    load_str_with(name, text, plugins, &|name| std::env::var(name).ok())
}

/// [`load_str`] with another environment than the process's.
///
/// # Errors
/// All problems at once.
pub fn load_str_with(
    name: &str,
    text: &str,
    plugins: &[Plugin],
    env: Lookup<'_>,
) -> Result<Loaded, Report> {
    let mut reader = Reader::new(env);
    let root = reader.begin(Path::new(name), text.to_owned());
    read(reader, root, plugins, Reading::Resolved, None, &mut no_more)
}

/// Loads a file, and if nothing is wrong decodes it anew with references as they are written,
/// wherever the field takes that.
///
/// # Errors
/// As of [`load`].
pub fn load_shown<'b>(from: impl Into<Begin<'b>>, plugins: &[Plugin]) -> Result<Document, Report> {
    Ok(shown(from.into(), Given::Nothing, plugins)?.document)
}

/// What has been read before, decoded anew with references as they are written: for whoever asks
/// what a configuration in force says, when its files may have changed.
///
/// # Errors
/// As of [`load`], when what its references stand for has changed and is wrong now.
pub fn shown_again(source: &Source, plugins: &[Plugin]) -> Result<Document, Report> {
    let env = |name: &str| std::env::var(name).ok();
    let (reader, root) = Reader::anew(source, &env);
    Ok(read(reader, root, plugins, Reading::Shown, None, &mut no_more)?.document)
}

fn no_more(_: &Document, _: &Source) -> Vec<Problem> {
    Vec::new()
}

fn read(
    mut reader: Reader<'_>,
    root: NodeId,
    plugins: &[Plugin],
    reading: Reading,
    before: Option<&InForce>,
    more: More<'_>,
) -> Result<Loaded, Report> {
    let mut fails = std::mem::take(&mut reader.fails);
    let broken = reader.broken;
    let unless_template = std::mem::take(&mut reader.unless_template);
    let Finished { mut source, mut unresolved, mut files } = reader.finish(root);
    if broken {
        return Err(Report::of(files, tell(&source, fails)));
    }
    let templates = templates::claim(&mut source, plugins);
    for (node, (message, help)) in unless_template {
        if !templates.contains(&node) {
            fails.push(Fail::new(source.tree.at(node), message).help(help));
            unresolved.push(node);
        }
    }
    let same = before.and_then(|before| Same::of(before, &source));
    let same = same.as_ref();
    let inherited = decode::inherit(&mut source);
    let handlers: Vec<&str> = check::handler_names(plugins);
    let decode = |reading, fails: &mut Vec<Fail>| {
        let decoder = Decoder::new(&source, reading, &unresolved);
        let document = decode::document(&decoder, &inherited, &handlers, same);
        fails.extend(decoder.into_fails());
        document
    };
    let mut document = decode(Reading::Resolved, &mut fails);
    let (found, asked, in_force) = check::check(&mut document, &source, plugins, same);
    fails.extend(found);
    if same.is_some_and(|same| !same.holds(&document, &asked)) {
        return Err(Report::new(Vec::new()));
    }
    files.extend(asked.read.iter().map(|read| read.path.clone()));
    let mut problems = tell(&source, fails);
    let found = more(&document, &source);
    if !found.is_empty() {
        problems.extend(found);
        problems
            .sort_by_key(|problem| (source.number(&problem.file), problem.line, problem.column));
    }
    files.extend(check::files(&document));
    files.sort();
    files.dedup();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Report::of(files, problems));
    }
    if reading == Reading::Shown {
        document = decode(reading, &mut Vec::new());
    }
    let (same, inherited) = (same.is_some(), in_force);
    Ok(Loaded { document, source, warnings: problems, files, same, asked, inherited })
}

/// Fails as problems, in the order of the files.
pub(crate) fn tell(source: &Source, mut fails: Vec<Fail>) -> Vec<Problem> {
    fails.sort_by_key(|fail| (fail.at.file, fail.at.line, fail.at.column));
    fails.dedup();
    fails.truncate(2 * decode::MAX_PROBLEMS);
    fails.into_iter().map(|fail| source.explain(fail)).collect()
}
