//! What the texts of the files say, without the changes that lie over them.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::tree::Spelling;
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

    /// The changes that lie over the files: what their file is called, and its text.
    pub fn changes(&self) -> Option<(&str, &str)> {
        let file = self.files.get(usize::from(self.changes?))?;
        Some((&file.name, &file.text))
    }
}
