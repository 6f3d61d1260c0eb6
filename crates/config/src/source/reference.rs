//! `${env:NAME}` and `${file:path}` inside a scalar; `$${` is a literal `${`. Any other word may be
//! one of a template, which only the plugin knows that the setting belongs to. What a reference
//! stands for leaves this crate only through the fields it was written in.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::tree::Reference;
use crate::format::HIDDEN;

/// The largest file that a reference may stand for.
const MAX_FILE: u64 = 64 * 1024;

/// Looks an environment variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wrong, and what to write instead.
pub(crate) type Wrong = (String, &'static str);

/// A scalar's references, and what is wrong with it if it turns out to be no template.
pub(super) struct Resolved {
    pub(super) reference: Reference,
    pub(super) unless_template: Option<Wrong>,
}

/// Resolves a scalar's references. `Ok(None)`: it has none. Files that were read are added to
/// `read`; relative ones are looked for beside the configuration file, in `base`. `hidden` is the
/// secret that stands at its place, if that is known, for what was shown in place of it.
pub(super) fn resolve(
    text: &str,
    base: &Path,
    env: Lookup<'_>,
    read: &mut Vec<PathBuf>,
    hidden: Option<&str>,
) -> Result<Option<Resolved>, Wrong> {
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut value, mut template) = (String::new(), String::new());
    let mut unless_template = None;
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(literal) = before.strip_suffix('$') {
            value.push_str(literal);
            value.push_str("${");
            template.push_str(before);
            template.push_str("${");
            rest = from.strip_prefix("${").unwrap_or_default();
            continue;
        }
        value.push_str(before);
        template.push_str(before);
        let Some(end) = from.find('}') else {
            return Err((
                "`${` without its `}`".into(),
                "`${env:NAME}` or `${file:path}`; a literal `${` is written `$${`",
            ));
        };
        let (written, after) = from.split_at(end + 1);
        rest = after;
        let inner = written.strip_prefix("${").and_then(|s| s.strip_suffix('}'));
        let inner = inner.unwrap_or_default();
        let found = match written {
            HIDDEN => Some(hidden.ok_or_else(not_known)?.to_owned()),
            _ => look_up(inner, base, env, read)?,
        };
        let Some(stands_for) = found else {
            template.push_str(written);
            unless_template.get_or_insert_with(|| unknown(inner));
            continue;
        };
        value.push_str(&stands_for);
        // Nothing that a reference stands for is a template's word, or makes one with its
        // neighbours.
        template.push_str(&stands_for.replace('$', "${$}"));
        parts.push((written.into(), stands_for.into()));
    }
    value.push_str(rest);
    template.push_str(rest);
    let reference = Reference { value: value.into(), template: template.into(), parts };
    Ok(Some(Resolved { reference, unless_template }))
}

fn not_known() -> Wrong {
    (
        format!("`{HIDDEN}` is shown in place of a secret, and is none"),
        "`${env:NAME}` or `${file:path}`, or the secret itself",
    )
}

fn unknown(inner: &str) -> Wrong {
    (
        format!("`${{{inner}}}` is not a reference that is known"),
        "`${env:NAME}` or `${file:path}`; a literal `${` is written `$${`",
    )
}

/// `Ok(None)`: it is no reference.
fn look_up(
    inner: &str,
    base: &Path,
    env: Lookup<'_>,
    read: &mut Vec<PathBuf>,
) -> Result<Option<String>, Wrong> {
    if let Some(name) = inner.strip_prefix("env:") {
        let found = env(name);
        return found.map(Some).ok_or_else(|| {
            (
                format!("the environment variable `{name}` is not set"),
                "set it before starting, or use `${file:path}`",
            )
        });
    }
    if let Some(path) = inner.strip_prefix("file:") {
        let path = base.join(path);
        let text = read_small(&path).map_err(|why| {
            (format!("cannot read `{}`: {why}", path.display()), "the file's path, from this file")
        })?;
        read.push(path);
        return Ok(Some(text));
    }
    Ok(None)
}

fn read_small(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let limited = file.take(MAX_FILE + 1).read_to_string(&mut text);
    limited.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err("it has more than 64KiB".into());
    }
    let line_end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(line_end);
    Ok(text)
}
