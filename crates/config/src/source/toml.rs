//! TOML into the tree. Dates are kept as text; the document's order is kept.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{At, NodeId, Tree};
use super::{Fail, MAX_DEPTH};

/// Reads one document.
pub(super) fn parse(tree: &mut Tree, file: u16, text: &str) -> Result<NodeId, Fail> {
    let lines = Lines::new(text);
    let table = DeTable::parse(text).map_err(|error| {
        let at = lines.place(file, error.span().unwrap_or(0..0));
        Fail::new(at, format!("not valid TOML: {}", error.message()))
    })?;
    let mut reader = Reader { tree, file, lines };
    let at = reader.lines.place(file, 0..0);
    reader.table(at, table.get_ref(), 0)
}

struct Reader<'a> {
    tree: &'a mut Tree,
    file: u16,
    lines: Lines<'a>,
}

impl Reader<'_> {
    fn table(&mut self, at: At, table: &DeTable<'_>, depth: usize) -> Result<NodeId, Fail> {
        if depth >= MAX_DEPTH {
            return Err(Fail::new(at, format!("nested more than {MAX_DEPTH} deep")));
        }
        // The parser sorts by name; what the document says first is meant to come first.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key_at = self.lines.place(self.file, key.span());
            let key = self.tree.scalar(key_at, key.get_ref(), false);
            pairs.push((key, self.value(value, depth + 1)?));
        }
        Ok(self.tree.map(at, &pairs))
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Result<NodeId, Fail> {
        let at = self.lines.place(self.file, value.span());
        Ok(match value.get_ref() {
            DeValue::String(text) => self.tree.scalar(at, text, false),
            DeValue::Integer(number) => {
                let number = i128::from_str_radix(number.as_str(), number.radix());
                let text = number.map(|n| n.to_string()).unwrap_or_default();
                self.tree.scalar(at, &text, true)
            }
            DeValue::Float(number) => self.tree.scalar(at, number.as_str(), true),
            DeValue::Boolean(on) => self.tree.scalar(at, if *on { "true" } else { "false" }, true),
            DeValue::Datetime(date) => self.tree.scalar(at, &date.to_string(), false),
            DeValue::Array(items) => {
                if depth >= MAX_DEPTH {
                    return Err(Fail::new(at, format!("nested more than {MAX_DEPTH} deep")));
                }
                let mut ids = Vec::with_capacity(items.len());
                for item in items.iter() {
                    ids.push(self.value(item, depth + 1)?);
                }
                self.tree.list(at, &ids)
            }
            DeValue::Table(table) => self.table(at, table, depth)?,
        })
    }
}

/// Byte offsets to lines and columns.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(place, _)| place + 1)).collect();
        Self { text, starts }
    }

    fn place(&self, file: u16, span: std::ops::Range<usize>) -> At {
        let line = self.starts.partition_point(|start| *start <= span.start).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let chars = |from, to| self.text.get(from..to).map_or(0, |part| part.chars().count());
        let inside = self.text.get(span.clone()).unwrap_or_default();
        let width = inside.lines().next().map_or(1, |line| line.chars().count());
        At {
            file,
            width: u16::try_from(width).unwrap_or(u16::MAX),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(chars(start, span.start) + 1).unwrap_or(u32::MAX),
        }
    }
}
