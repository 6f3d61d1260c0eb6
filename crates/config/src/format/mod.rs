//! `fmt`: a document in its canonical layout, and `fmt --long`: every short form and default
//! written out. Neither ever changes what a document means; what is not sure is refused.

mod emit;
mod hide;
mod in_part;
mod layout;
mod long;

use std::path::Path;

use crate::source::{Fail, NodeId, Reader, Shape, Tree};

pub(crate) use emit::emit;
pub use hide::{HIDDEN, bare};
pub(crate) use hide::{hide_plain_secrets, is_secret};
pub(crate) use in_part::{argument, is_secret_webhook, target};
pub(crate) use long::told;
pub use long::{long, long_value};

/// Why a text is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

/// A file's text in its canonical layout: two blanks a level, one blank after a colon, comments
/// kept. YAML by its lines, JSON whole.
///
/// # Errors
/// When the text is not valid, or cannot surely be laid out without a change of its meaning.
pub fn format(name: &str, text: &str) -> Result<String, Refusal> {
    let extension = Path::new(name).extension().and_then(|ext| ext.to_str()).unwrap_or_default();
    match extension {
        "toml" => return Err(Refusal("TOML files are left as they are".into())),
        "json" => return json(text),
        _ => {}
    }
    let before = parse(name, text)?;
    let laid_out = layout::lay_out(text).map_err(Refusal)?;
    let after = parse(name, &laid_out)
        .map_err(|_| Refusal("its layout is too unusual to be changed safely".into()))?;
    if !same(&before.0, before.1, &after.0, after.1) || comments(text) != comments(&laid_out) {
        return Err(Refusal("its layout is too unusual to be changed safely".into()));
    }
    Ok(laid_out)
}

fn json(text: &str) -> Result<String, Refusal> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| Refusal(format!("not strict JSON: {error}")))?;
    let mut pretty =
        serde_json::to_string_pretty(&value).map_err(|error| Refusal(error.to_string()))?;
    pretty.push('\n');
    Ok(pretty)
}

/// The tree of one text alone: nothing is included, no reference looked up.
fn parse(name: &str, text: &str) -> Result<(Tree, NodeId), Refusal> {
    let (tree, root, fails) = Reader::parse_only(text);
    let first = fails.into_iter().next();
    let told = |fail: Fail| format!("{name}:{}:{}: {}", fail.at.line, fail.at.column, fail.message);
    match (first, root) {
        (Some(fail), _) => Err(Refusal(told(fail))),
        (None, Some(root)) => Ok((tree, root)),
        (None, None) => Err(Refusal("there is nothing in it".into())),
    }
}

/// Whether two trees say the same.
fn same(one: &Tree, a: NodeId, other: &Tree, b: NodeId) -> bool {
    if one.shape(a) != other.shape(b) || one.written(a) != other.written(b) {
        return false;
    }
    match one.shape(a) {
        Shape::Map => {
            let (pairs, others) = (one.pairs(a), other.pairs(b));
            pairs.len() == others.len()
                && pairs.iter().zip(others).all(|(pair, like)| {
                    same(one, pair.0, other, like.0) && same(one, pair.1, other, like.1)
                })
        }
        Shape::List => {
            let (items, others) = (one.items(a), other.items(b));
            items.len() == others.len()
                && items.iter().zip(others).all(|(item, like)| same(one, *item, other, *like))
        }
        _ => true,
    }
}

/// Everything behind a `#`, in order: more than the comments, and never less.
fn comments(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once('#')).map(|(_, rest)| rest.trim_end()).collect()
}
