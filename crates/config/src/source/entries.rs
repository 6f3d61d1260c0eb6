//! Changes that the gateway has written itself, read entry by entry: one that was read before is
//! copied, so that a change costs its own text and not that of all.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::read::Reader;
use super::tree::{At, NodeId, Part};
use super::{File, MAX_NODES, yaml};
use crate::changes::{Changes, LINES_BEFORE, LIST};

/// An entry as it was read.
pub(super) struct EntryRead {
    text: Arc<str>,
    part: Part,
    root: NodeId,
    /// The line on which it begins.
    line: u32,
}

impl Reader<'_> {
    /// Reads what these changes are as a text; what comes of it is what comes of reading the text.
    /// `None`: it is to be read as a whole, and nothing has happened.
    pub(super) fn entries(
        &mut self,
        name: &str,
        base: &Path,
        text: &str,
        changes: &Changes,
    ) -> Option<NodeId> {
        let number = u16::try_from(self.files.len()).ok()?;
        let mark = self.tree.mark();
        let mut known = self.before.map(|before| before.entries.as_slice()).unwrap_or_default();
        let mut line = LINES_BEFORE + 1;
        let (mut items, mut read) = (Vec::new(), Vec::new());
        for entry in changes.entries() {
            let text = entry.text();
            let is_it = |known: &EntryRead| Arc::ptr_eq(&known.text, text) || known.text == *text;
            // One may have gone since, or said something else.
            let place = known.iter().take(2).position(is_it);
            let found = place.and_then(|place| known.get(place));
            known = known.get(place.unwrap_or(0) + 1..).unwrap_or_default();
            let before = self.tree.mark();
            let root = match (found, self.before) {
                (Some(found), Some(before)) => {
                    let moved = line.wrapping_sub(found.line);
                    self.tree.copy(&before.tree, found.part, found.root, number, moved)
                }
                _ => self.entry(text, number, line)?,
            };
            let part = self.tree.since(before);
            read.push(EntryRead { text: Arc::clone(text), part, root, line });
            items.push(root);
            line += u32::try_from(text.matches('\n').count()).ok()?;
        }
        if items.is_empty() || self.tree.since(mark).count() > MAX_NODES {
            return None;
        }
        let at = |line, column, width| At { file: number, width, line, column };
        let key =
            self.tree.scalar(at(LINES_BEFORE, 1, 7), LIST.trim_end_matches([':', '\n']), true);
        let list = self.tree.list(at(LINES_BEFORE + 1, 3, 0), &items);
        let root = self.tree.map(at(LINES_BEFORE, 1, 0), &[(key, list)]);
        let part = self.tree.since(mark);
        let refers = text.contains("${");
        self.files.push(File {
            name: name.into(),
            base: base.into(),
            text: text.into(),
            hash: OnceLock::new(),
            read: Some((part, root)),
            refers,
        });
        if refers {
            self.resolve(part, base, &HashMap::new());
        }
        self.read_entries = read;
        Some(root)
    }

    /// Reads one. It stands in a list as in the file, so that its columns and depth are the same.
    fn entry(&mut self, text: &str, number: u16, line: u32) -> Option<NodeId> {
        let before = self.tree.mark();
        let mut fails = Vec::new();
        let root = yaml::parse(&mut self.tree, number, &format!("{LIST}{text}"), &mut fails);
        let root = root.ok()?.filter(|_| fails.is_empty())?;
        self.tree.move_lines(before, line.wrapping_sub(2));
        let list = self.tree.get(root, "changes")?;
        match self.tree.items(list) {
            [one] => Some(*one),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Shape, Source};

    fn changes(count: u32, changed: u32) -> Changes {
        let mut all = Changes::default();
        for n in 0..count {
            let word = if n == changed { "other" } else { "one" };
            let to = match n % 5 {
                0 => None,
                1 => Some(
                    json!({ "to": word, "tags": ["a: b", "c"], "when": [{ "x": [[1, 2], {}] }] }),
                ),
                2 => Some(json!([{ "to": word, "timeout": "1s" }, { "to": {} }])),
                3 => Some(json!(format!("  - \"{word}\"\nchanges:\n  - ${{ip}} # ü"))),
                _ => Some(json!({ "to": { word: null, "off": false, "12": 3.5 } })),
            };
            all.set("routes", &format!("/r/{n} {word}"), to).unwrap();
        }
        all
    }

    /// Everything below a node with its place, as a text.
    fn told(source: &Source, node: NodeId) -> String {
        let tree = &source.tree;
        let at = tree.at(node);
        let below = |node: &NodeId| told(source, *node);
        let own = match tree.shape(node) {
            Shape::Map => {
                let pairs = tree.pairs(node).iter();
                pairs.map(|(key, value)| below(key) + &below(value)).collect()
            }
            Shape::List => tree.items(node).iter().map(below).collect(),
            _ => format!("{:?}", tree.written(node)),
        };
        format!("{at:?} {own}\n")
    }

    fn read(all: &Changes, before: Option<&Source>, by_entries: bool) -> (Source, NodeId) {
        let mut reader = Reader::new(&|_| None).knowing(before);
        let text = all.write();
        let root = match by_entries {
            true => reader.entries("changes.yaml", Path::new("dir"), &text, all),
            false => reader.file("changes.yaml", "dir".into(), text, 0),
        };
        let root = root.unwrap();
        assert_eq!(reader.fails, []);
        (reader.finish(root).source, root)
    }

    #[test]
    fn entries_are_read_as_their_text_is() {
        let mut before: Option<Source> = None;
        for (count, changed) in [(1, 9), (7, 9), (7, 3), (6, 3), (12, 0), (12, 11), (3, 1)] {
            let all = changes(count, changed);
            let (whole, root) = read(&all, None, false);
            let (new, own) = read(&all, before.as_ref(), true);
            assert_eq!(told(&whole, root), told(&new, own), "{count} {changed}");
            before = Some(new);
        }
    }
}
