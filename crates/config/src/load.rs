//! Loading: read, decode, check, and either a document or the whole list of what is wrong.

use std::path::{Path, PathBuf};

use lockgate_core::Plugin;

use crate::check;
use crate::decode::{self, Decoder, Reading};
use crate::model::Document;
use crate::report::{Problem, Report, Severity};
use crate::source::{Fail, Lookup, NodeId, Reader, Source};

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
}

/// Loads a file and all that it includes. `plugins` are the policies and handlers there are.
///
/// # Errors
/// All problems at once; [`Report::is_unreadable`] when the file itself cannot be read.
pub fn load(path: &Path, plugins: &[Plugin]) -> Result<Loaded, Report> {
    let env = |name: &str| std::env::var(name).ok();
    let mut reader = Reader::new(&env);
    let root =
        reader.open(path).map_err(|why| Report::unreadable(&path.display().to_string(), &why))?;
    finish(reader, root, plugins)
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
    finish(reader, root, plugins)
}

/// Loads a file, and if nothing is wrong decodes it anew with references as they are written,
/// wherever the field takes that.
pub(crate) fn load_shown(path: &Path, plugins: &[Plugin]) -> Result<Document, Report> {
    let env = |name: &str| std::env::var(name).ok();
    let mut reader = Reader::new(&env);
    let root =
        reader.open(path).map_err(|why| Report::unreadable(&path.display().to_string(), &why))?;
    let (document, ..) = read(reader, root, plugins, Reading::Shown)?;
    Ok(document)
}

fn finish(reader: Reader<'_>, root: NodeId, plugins: &[Plugin]) -> Result<Loaded, Report> {
    let (document, source, warnings, mut files) = read(reader, root, plugins, Reading::Resolved)?;
    files.extend(check::files(&document));
    files.sort();
    files.dedup();
    Ok(Loaded { document, source, warnings, files })
}

type Read = (Document, Source, Vec<Problem>, Vec<PathBuf>);

fn read(
    mut reader: Reader<'_>,
    root: NodeId,
    plugins: &[Plugin],
    reading: Reading,
) -> Result<Read, Report> {
    let mut fails = std::mem::take(&mut reader.fails);
    let broken = reader.broken;
    let (mut source, unresolved, files) = reader.finish(root);
    if broken {
        return Err(Report::new(tell(&source, fails)));
    }
    let inherited = decode::inherit(&mut source);
    let handlers: Vec<&str> = check::handler_names(plugins);
    let decode = |reading, fails: &mut Vec<Fail>| {
        let decoder = Decoder::new(&source, reading, &unresolved);
        let document = decode::document(&decoder, &inherited, &handlers);
        fails.extend(decoder.into_fails());
        document
    };
    let mut document = decode(Reading::Resolved, &mut fails);
    fails.extend(check::check(&mut document, &source, plugins));
    let problems = tell(&source, fails);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Report::new(problems));
    }
    if reading == Reading::Shown {
        document = decode(reading, &mut Vec::new());
    }
    Ok((document, source, problems, files))
}

/// Fails as problems, in the order of the files.
pub(crate) fn tell(source: &Source, mut fails: Vec<Fail>) -> Vec<Problem> {
    fails.sort_by_key(|fail| (fail.at.file, fail.at.line, fail.at.column));
    fails.dedup();
    fails.truncate(2 * decode::MAX_PROBLEMS);
    fails.into_iter().map(|fail| source.explain(fail)).collect()
}
