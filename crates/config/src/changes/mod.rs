//! Changes of a configuration that lie over its files: what was set or removed through the admin
//! interface. Each names one thing of a section, and remembers what the files said of it then, so
//! that a file that says something else later has the last word.

mod between;
mod lay;
mod told;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use crate::format::emit;
use crate::source::{Reader, Spelling, Tree};

pub use between::{FILES_ALONE, between, effective, laid_over, without_plain_secrets, write_value};
pub(crate) use lay::lay;
pub use told::{Differing, differing, shown};

/// The sections of which single things are changed; of the others the whole is: without any
/// listener, say, there is the one that is there when none is named.
pub(crate) const NAMED: [&str; 6] =
    ["stores", "identity", "consumers", "plans", "upstreams", "routes"];

/// The most changes over one configuration.
pub(crate) const MOST: usize = 20_000;

const HEAD: &str = "\
# Changes made through the admin interface, over the files. The gateway writes this;
# `lockgate export` prints the files and these changes as one.
";

/// How many lines stand before the entries.
pub(crate) const LINES_BEFORE: u32 = 3;
/// The last of them.
pub(crate) const LIST: &str = "changes:\n";
/// Before none.
const NONE: &str = "changes: []\n";

/// All changes over one configuration, each thing at most once. A copy shares what is the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    all: Vec<Arc<Entry>>,
}

/// One thing that is not as the files say.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The section: `routes`, `upstreams` …
    pub section: String,
    /// The name in it; empty: the whole section.
    pub name: String,
    /// What it is now, as it was written; `None`: it is removed.
    pub to: Option<Value>,
    /// What the files said of it when it was changed.
    pub base: Base,
    /// It as it stands in the file, once it has been written.
    text: OnceLock<Arc<str>>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (&self.section, &self.name, &self.to, self.base)
            == (&other.section, &other.name, &other.to, other.base)
    }
}

impl Entry {
    fn new(section: &str, name: &str, to: Option<Value>, base: Base) -> Self {
        let text = OnceLock::new();
        Self { section: section.to_owned(), name: name.to_owned(), to, base, text }
    }

    /// It as it stands in the file.
    pub(crate) fn text(&self) -> &Arc<str> {
        self.text.get_or_init(|| {
            let whole = emit(&json!({ "changes": [self.value()] }));
            whole.strip_prefix(LIST).unwrap_or_default().into()
        })
    }

    fn value(&self) -> Value {
        let mut out = Map::new();
        out.insert("section".into(), self.section.as_str().into());
        if !self.name.is_empty() {
            out.insert("name".into(), self.name.as_str().into());
        }
        let base = match self.base {
            Base::Now => "now".to_owned(),
            Base::Nothing => "nothing".to_owned(),
            Base::Was(hash) => format!("was {hash:016x}"),
        };
        out.insert("base".into(), base.into());
        match &self.to {
            Some(to) => out.insert("to".into(), to.clone()),
            None => out.insert("removed".into(), true.into()),
        };
        Value::Object(out)
    }
}

/// What the files said of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Whatever they say when the change is laid over them.
    Now,
    /// Nothing.
    Nothing,
    /// Something of this hash.
    Was(u64),
}

/// What became of a change when it was laid over the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laid {
    pub section: String,
    pub name: String,
    pub outcome: Outcome,
    /// What the files say of it, in the form in which a change remembers it.
    pub base: Base,
}

/// See [`Laid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The change is in force.
    InForce,
    /// The files say the same now: it is no change any more.
    Settled,
    /// The files say something new since: they have the last word.
    Overruled,
}

impl Changes {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn read(text: &str) -> Result<Self, String> {
        let (tree, root, fails) = Reader::parse_only(text);
        if let Some(fail) = fails.first() {
            return Err(format!("line {}: {}", fail.at.line, fail.message));
        }
        let Some(root) = root else { return Ok(Self::default()) };
        let mut all = Vec::new();
        for found in lay::entries(&tree, root)? {
            let to = found.to.map(|to| tree.value(to, Spelling::Written));
            all.push(Arc::new(Entry::new(found.section, found.name, to, found.base)));
        }
        Ok(Self { all })
    }

    /// Them as a text that [`Changes::read`] reads.
    pub fn write(&self) -> String {
        let length: usize = self.all.iter().map(|entry| entry.text().len()).sum();
        let mut out = String::with_capacity(HEAD.len() + NONE.len() + length);
        out.push_str(HEAD);
        out.push_str(if self.all.is_empty() { NONE } else { LIST });
        self.all.iter().for_each(|entry| out.push_str(entry.text()));
        out
    }

    /// Says what a thing shall be, or that it shall not be.
    ///
    /// # Errors
    /// When there are too many.
    pub fn set(&mut self, section: &str, name: &str, to: Option<Value>) -> Result<(), String> {
        let entry = Arc::new(Entry::new(section, name, to, Base::Now));
        let is_about = |one: &Entry| one.section == section && one.name == name;
        if let Some(one) = self.all.iter_mut().find(|one| is_about(one)) {
            *one = entry;
            return Ok(());
        }
        if self.all.len() >= MOST {
            return Err(format!(
                "there are {MOST} changes over the files already: write them into the files \
                 (`lockgate export`) and drop them"
            ));
        }
        self.all.push(entry);
        Ok(())
    }

    /// Drops what is no change any more, and remembers what the files said.
    pub fn settle(&mut self, laid: &[Laid]) {
        let mut laid = laid.iter();
        // They are laid in their order.
        self.all.retain_mut(|entry| match laid.next() {
            Some(one) if one.outcome != Outcome::InForce => false,
            Some(one) => {
                if entry.base != one.base {
                    let Entry { section, name, to, .. } = &**entry;
                    *entry = Arc::new(Entry::new(section, name, to.clone(), one.base));
                }
                true
            }
            None => true,
        });
    }

    /// Whether they say the same as others do, in the same order.
    pub fn say_the_same_as(&self, other: &Self) -> bool {
        let is_same = |(a, b): (&Arc<Entry>, &Arc<Entry>)| Arc::ptr_eq(a, b) || a == b;
        self.all.len() == other.all.len() && self.all.iter().zip(&other.all).all(is_same)
    }

    /// Whether they set and remove the same things as others do, whatever they set them to.
    pub fn are_about_the_same_as(&self, other: &Self) -> bool {
        self.all.len() == other.all.len() && self.things() == other.things()
    }

    fn things(&self) -> HashSet<(&str, &str, bool)> {
        let all = self.all.iter();
        all.map(|one| (one.section.as_str(), one.name.as_str(), one.to.is_some())).collect()
    }

    /// What is changed.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.all
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// A text, YAML or JSON, as a value with its references as they are written.
///
/// # Errors
/// What is wrong with it, with its line and column.
pub fn read_value(text: &str) -> Result<Value, String> {
    let (tree, root, fails) = Reader::parse_only(text);
    match (fails.first(), root) {
        (Some(fail), _) => {
            Err(format!("line {}, column {}: {}", fail.at.line, fail.at.column, fail.message))
        }
        (None, Some(root)) => Ok(tree.value(root, Spelling::Written)),
        (None, None) => Ok(Value::Null),
    }
}

/// What tells one value from another, however they are laid out.
pub(crate) fn hash(tree: &Tree, node: crate::source::NodeId) -> u64 {
    let value = tree.value(node, Spelling::Written);
    xxhash_rust::xxh3::xxh3_64(value.to_string().as_bytes())
}
