//! A source without its tree. A configuration that is in force is seldom asked for a place, and
//! the texts tell it as well: they are read once more when somebody asks.

use std::fmt;
use std::path::PathBuf;

use super::tree::Reference;
use super::{File, Reader, Source, without};

/// The texts of one configuration's files.
pub struct Folded {
    pub(super) files: Vec<File>,
    pub(super) included: Vec<Vec<PathBuf>>,
    pub(super) in_parts: bool,
    references: Vec<Reference>,
}

impl Source {
    /// Keeps the texts alone.
    pub fn fold(self) -> Folded {
        let Self { files, included, in_parts, tree, .. } = self;
        Folded { files, included, in_parts, references: tree.into_references() }
    }
}

impl Folded {
    /// Reads the texts again, to look places up. What their references stood for is not in it.
    pub fn unfold(&self) -> Source {
        Reader::again(self)
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
