//! YAML, and JSON with it, into the tree. Refuses what hides meaning or grows without bound:
//! aliases, tags, several documents, duplicate keys, keys that are not plain words, deep nesting.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use xxhash_rust::xxh3::xxh3_64;

use super::tree::{At, NodeId, Tree};
use super::{Fail, MAX_DEPTH, MAX_NODES};

/// Reads one document. `Ok(None)`: there is nothing in it. What is wrong but does not hinder
/// reading on goes to `fails`.
pub(super) fn parse(
    tree: &mut Tree,
    file: u16,
    text: &str,
    fails: &mut Vec<Fail>,
) -> Result<Option<NodeId>, Fail> {
    let tree_reads = tree.reads(text);
    let mut builder = Builder {
        tree,
        file,
        open: Vec::new(),
        loose: Vec::new(),
        pairs: Vec::new(),
        root: None,
        is_text: tree_reads && text.is_ascii(),
        fails,
    };
    let mut documents = 0;
    let mut nodes = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let mark = *error.marker();
            Fail::new(builder.place(Span::empty(mark)), plain_words(error.info()))
        })?;
        nodes += 1;
        if nodes > MAX_NODES {
            return Err(Fail::new(builder.place(span), format!("more than {MAX_NODES} values")));
        }
        if let Event::DocumentStart(_) = event {
            documents += 1;
            if documents > 1 {
                let fail = Fail::new(builder.place(span), "a second document begins here");
                return Err(fail.help("one file is one document: take `---` out, or `include`"));
            }
        }
        builder.event(event, span)?;
    }
    Ok(builder.root)
}

/// A map or list that has begun and not ended.
struct Open {
    at: At,
    is_map: bool,
    /// Where its parts begin in `loose`.
    from: usize,
}

struct Builder<'a> {
    tree: &'a mut Tree,
    file: u16,
    open: Vec<Open>,
    /// Finished nodes that wait for the end of what they stand in.
    loose: Vec<NodeId>,
    /// Room for the pairs of the map that is being closed.
    pairs: Vec<(NodeId, NodeId)>,
    root: Option<NodeId>,
    /// Whether it is the text that the tree keeps words in, where a place in characters is one in
    /// bytes.
    is_text: bool,
    fails: &'a mut Vec<Fail>,
}

impl Builder<'_> {
    fn place(&self, span: Span) -> At {
        let same_line = span.end.line() == span.start.line();
        let width = if same_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        At {
            file: self.file,
            width: u16::try_from(width).unwrap_or(u16::MAX),
            line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
            column: u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX),
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fail> {
        let at = self.place(span);
        match event {
            Event::Alias(_) => {
                let fail = Fail::new(at, "aliases are not read");
                return Err(fail.help("write the value out, or put what is shared in `defaults`"));
            }
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                let fail = Fail::new(at, format!("tags such as `{tag}` are not read"));
                return Err(fail.help("quotes make a text of anything"));
            }
            Event::Scalar(text, style, _, None) => {
                let plain = style == ScalarStyle::Plain;
                let byte = span.start.index() + usize::from(!plain);
                let id = match self.is_text {
                    true => self.tree.scalar_at(at, byte, &text, plain),
                    false => self.tree.scalar(at, &text, plain),
                };
                self.finished(id);
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if self.open.len() >= MAX_DEPTH {
                    return Err(Fail::new(at, format!("nested more than {MAX_DEPTH} deep")));
                }
                let is_map = matches!(event, Event::MappingStart(..));
                self.open.push(Open { at, is_map, from: self.loose.len() });
            }
            Event::MappingEnd | Event::SequenceEnd => self.close()?,
            _ => {}
        }
        Ok(())
    }

    fn finished(&mut self, id: NodeId) {
        if self.open.is_empty() {
            self.root = Some(id);
        } else {
            self.loose.push(id);
        }
    }

    fn close(&mut self) -> Result<(), Fail> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let parts = self.loose.get(open.from..).unwrap_or_default();
        let id = if open.is_map {
            self.pairs.clear();
            for pair in parts.chunks_exact(2) {
                let &[key, value] = pair else { continue };
                if self.tree.written(key).is_none() {
                    let at = self.tree.at(key);
                    return Err(Fail::new(at, "a key is a word, not a map or a list"));
                }
                self.pairs.push((key, value));
            }
            drop_duplicates(self.tree, &mut self.pairs, self.fails);
            self.tree.map(open.at, &self.pairs)
        } else {
            self.tree.list(open.at, parts)
        };
        self.loose.truncate(open.from);
        self.finished(id);
        Ok(())
    }
}

/// Keeps the first of several pairs with the same key, and reports the others.
pub(super) fn drop_duplicates(
    tree: &Tree,
    pairs: &mut Vec<(NodeId, NodeId)>,
    fails: &mut Vec<Fail>,
) {
    let few = pairs.len() <= 12;
    let differ = if few { few_differ(tree, pairs) } else { all_differ(tree, pairs) };
    if differ {
        return;
    }
    let mut seen: HashMap<&str, NodeId> = HashMap::new();
    let mut kept: Vec<(NodeId, NodeId)> = Vec::with_capacity(pairs.len());
    for &(key, value) in pairs.iter() {
        let word = tree.written(key).unwrap_or_default();
        let first = if few {
            kept.iter().find(|pair| tree.written(pair.0) == Some(word)).map(|pair| pair.0)
        } else {
            seen.get(word).copied()
        };
        match first {
            Some(first) => {
                let message = format!("`{word}` stands here a second time");
                fails.push(Fail::new(tree.at(key), message).first(tree.at(first)));
            }
            None => {
                if !few {
                    seen.insert(word, key);
                }
                kept.push((key, value));
            }
        }
    }
    *pairs = kept;
}

fn few_differ(tree: &Tree, pairs: &[(NodeId, NodeId)]) -> bool {
    let mut rest = pairs;
    while let Some((one, others)) = rest.split_first() {
        let word = tree.written(one.0);
        if others.iter().any(|other| tree.written(other.0) == word) {
            return false;
        }
        rest = others;
    }
    true
}

/// Whether all keys surely differ. The hash needs no secret: equal ones only cost a closer look.
fn all_differ(tree: &Tree, pairs: &[(NodeId, NodeId)]) -> bool {
    let hash = |key| xxh3_64(tree.written(key).unwrap_or_default().as_bytes());
    let mut hashes: Vec<u64> = pairs.iter().map(|pair| hash(pair.0)).collect();
    hashes.sort_unstable();
    hashes.array_windows().all(|[one, next]| one != next)
}

/// The parser's own words are terse: the frequent ones are told at more length.
fn plain_words(info: &str) -> String {
    match info {
        "found character that cannot start any token" => {
            "this character cannot begin a value: put the text in quotes, and indent with spaces"
                .into()
        }
        "mapping values are not allowed in this context" => {
            "a `:` is not allowed here: put text that contains one in quotes".into()
        }
        other => format!("not valid YAML: {other}"),
    }
}
