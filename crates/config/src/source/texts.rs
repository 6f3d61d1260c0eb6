//! What the texts of the files say, without the changes that lie over them.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::tree::{Shape, Spelling};
use super::{File, Source};

impl Source {
    fn own(&self) -> impl Iterator<Item = &File> {
        let files = self.files.iter().zip(0_u16..);
        files.filter(|(_, number)| Some(*number) != self.changes).map(|(file, _)| file)
    }

    /// What tells the texts of the files from others.
    pub fn files_hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for file in self.own() {
            let own = file.hash.get_or_init(|| xxh3_64(file.text.as_bytes()));
            hash.update(&(file.text.len() as u64).to_le_bytes());
            hash.update(&own.to_le_bytes());
        }
        hash.digest()
    }

    /// The files as one text, as written.
    pub fn files_text(&self) -> String {
        crate::format::emit(&self.tree.value(self.of_files, Spelling::Written))
    }

    /// Whether one of the files has these words in it.
    pub fn files_say(&self, words: &str) -> bool {
        self.own().any(|file| file.text.contains(words))
    }

    /// Whether the files have nothing in them, or notes alone: they are about to be written, or
    /// were emptied.
    pub fn is_blank(&self) -> bool {
        let is_note = |line: &str| line.is_empty() || line.starts_with('#');
        self.own().all(|file| file.text.lines().map(str::trim).all(is_note))
    }

    /// The names of the files in which routes stand, without the changes over them; `None` when
    /// they do not even say `routes: {}`.
    pub fn routes_stand_in(&self) -> Option<Vec<&str>> {
        let routes = self.tree.get(self.of_files, "routes")?;
        if self.tree.shape(routes) != Shape::Map {
            return None;
        }
        let pairs = self.tree.pairs(routes).iter();
        let files: BTreeSet<u16> = pairs.map(|pair| self.tree.at(pair.0).file).collect();
        let names = files.into_iter().filter_map(|file| self.files.get(usize::from(file)));
        Some(names.map(|file| &*file.name).collect())
    }

    /// The changes that lie over the files: what their file is called, and its text.
    pub fn changes(&self) -> Option<(&str, &str)> {
        let file = self.files.get(usize::from(self.changes?))?;
        Some((&file.name, &file.text))
    }
}
