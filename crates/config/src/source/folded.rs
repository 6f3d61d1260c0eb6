//! A source without its tree. A configuration that is in force is seldom asked for a place, and
//! the texts tell it as well: they are read once more when somebody asks.

use std::fmt;
use std::path::PathBuf;

use xxhash_rust::xxh3::Xxh3;

use super::tree::{Reference, Spelling};
use super::{File, Reader, Source, without};

/// The texts of one configuration's files.
pub struct Folded {
    pub(super) files: Vec<File>,
    pub(super) included: Vec<Vec<PathBuf>>,
    pub(super) in_parts: bool,
    /// Which of the files has the changes that lie over the others.
    pub(super) changes: Option<u16>,
    references: Vec<Reference>,
}

impl Source {
    /// Keeps the texts alone.
    pub fn fold(self) -> Folded {
        let Self { files, included, in_parts, tree, changes, .. } = self;
        let references = tree.into_references();
        Folded { files, included, in_parts, changes, references }
    }
}

impl Folded {
    /// Reads the texts again, to look places up. What their references stood for is not in it.
    pub fn unfold(&self) -> Source {
        Reader::again(self)
    }

    /// What tells the texts of the files from others; the changes over them are no part of it.
    pub fn files_hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for (file, number) in self.files.iter().zip(0_u16..) {
            if Some(number) != self.changes {
                hash.update(&(file.text.len() as u64).to_le_bytes());
                hash.update(file.text.as_bytes());
            }
        }
        hash.digest()
    }

    /// The files as one text, as written, without the changes over them.
    pub fn files_text(&self) -> String {
        let source = self.unfold();
        crate::format::emit(&source.tree.value(source.of_files, Spelling::Written))
    }

    /// Whether one of the files has these words in it; the changes over them do not count.
    pub fn files_say(&self, words: &str) -> bool {
        let files = self.files.iter().zip(0_u16..);
        let mut files = files.filter(|(_, number)| Some(*number) != self.changes);
        files.any(|(file, _)| file.text.contains(words))
    }

    /// The changes that lie over the files: what their file is called, and its text.
    pub fn changes(&self) -> Option<(&str, &str)> {
        let file = self.files.get(usize::from(self.changes?))?;
        Some((&file.name, &file.text))
    }

    /// [`Source::without_secrets`].
    pub fn without_secrets(&self, text: String) -> String {
        without(&self.references, text)
    }
}

impl fmt::Debug for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.iter().map(|file| &file.name)).finish()
    }
}
