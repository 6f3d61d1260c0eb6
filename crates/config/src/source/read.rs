//! Reads the main file and what it includes into one tree, each key once.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::reference::{self, Lookup, Wrong};
use super::tree::{At, NodeId, Shape, Tree};
use super::{Fail, File, Folded, Source, toml, yaml};
use crate::changes::{Laid, lay};

/// The most bytes of one configuration, all files together.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How deep files may include files.
const MAX_INCLUDES: usize = 8;
/// The most files of one configuration.
const MAX_FILES: usize = 256;

/// Gathers files, nodes and fails while reading.
pub(crate) struct Reader<'a> {
    files: Vec<File>,
    tree: Tree,
    env: Lookup<'a>,
    left: u64,
    pub(crate) fails: Vec<Fail>,
    /// Whether a file could not be parsed at all, so that looking further makes no sense.
    pub(crate) broken: bool,
    /// Scalars whose references could not be resolved.
    pub(crate) unresolved: Vec<NodeId>,
    /// Scalars that are wrong unless they are templates.
    pub(crate) unless_template: Vec<(NodeId, Wrong)>,
    /// All files that were read.
    pub(crate) read: Vec<PathBuf>,
    /// The files that each `include` meant, in the order of reading.
    included: Vec<Vec<PathBuf>>,
    /// What is read once more, from memory; its files and includes come in the same order.
    again: Option<&'a Folded>,
    /// Whether references are looked up.
    resolves: bool,
    /// Whether a file may not include others.
    alone: bool,
    /// The root of the files, the number of the file of changes that lie over it, and what became
    /// of each.
    changed: Option<(NodeId, u16, Vec<Laid>)>,
}

/// What has been read.
pub(crate) struct Finished {
    pub(crate) source: Source,
    /// Scalars whose references could not be resolved.
    pub(crate) unresolved: Vec<NodeId>,
    /// All files that were read.
    pub(crate) files: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(env: Lookup<'a>) -> Self {
        Self {
            files: Vec::new(),
            tree: Tree::default(),
            env,
            left: MAX_BYTES,
            fails: Vec::new(),
            broken: false,
            unresolved: Vec::new(),
            unless_template: Vec::new(),
            read: Vec::new(),
            included: Vec::new(),
            again: None,
            resolves: true,
            alone: false,
            changed: None,
        }
    }

    /// Reads once more what has been read before, whatever has become of the files.
    pub(crate) fn again(folded: &'a Folded) -> Source {
        let mut reader = Self { again: Some(folded), ..Self::unresolved() };
        let root = reader.begin_again(folded);
        reader.finish(root).source
    }

    /// The same with references looked up, to be decoded once more: a reader and its root.
    pub(crate) fn anew(folded: &'a Folded, env: Lookup<'a>) -> (Self, NodeId) {
        let mut reader = Self { again: Some(folded), ..Self::new(env) };
        let root = reader.begin_again(folded);
        (reader, root)
    }

    fn begin_again(&mut self, folded: &Folded) -> NodeId {
        let root = match folded.files.first() {
            Some(main) => self.start(&main.name, main.base.clone(), main.text.to_string()),
            None => self.tree.map(At::default(), &[]),
        };
        match folded.changes.and_then(|number| folded.files.get(usize::from(number))) {
            Some(changes) => self.change(root, &changes.name, &changes.text),
            None => root,
        }
    }

    /// Reads the main file from the disk.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub(crate) fn open(&mut self, path: &Path) -> Result<NodeId, String> {
        let text = self.slurp(path)?;
        self.read.push(path.to_path_buf());
        Ok(self.begin(path, text))
    }

    /// Reads the main file from memory; `path` says how it is called and what it lies beside.
    pub(crate) fn begin(&mut self, path: &Path, text: String) -> NodeId {
        self.start(&path.display().to_string(), beside(path), text)
    }

    /// Reads a text instead of the main file `path`. It may not name other files: whoever sends a
    /// configuration says all of it.
    pub(crate) fn instead(&mut self, path: &Path, name: &str, text: &str) -> NodeId {
        self.alone = true;
        self.start(name, beside(path), text.to_owned())
    }

    fn start(&mut self, name: &str, base: PathBuf, text: String) -> NodeId {
        let root = self.file(name, base, text, 0);
        root.unwrap_or_else(|| self.tree.map(At::default(), &[]))
    }

    /// Lays changes over what has been read. Relative paths in them start where those of the main
    /// file do.
    pub(crate) fn change(&mut self, root: NodeId, name: &str, text: &str) -> NodeId {
        let base = self.files.first().map(|main| main.base.clone()).unwrap_or_default();
        let number = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
        self.alone = true;
        let Some(changes) = self.file(name, base, text.to_owned(), 0) else { return root };
        match lay(&mut self.tree, root, changes) {
            Ok((changed, laid)) => {
                self.changed = Some((root, number, laid));
                changed
            }
            Err(why) => {
                let at = At { file: number, ..At::default() };
                self.fails.push(Fail::new(at, format!("these changes cannot be read: {why}")));
                self.broken = true;
                root
            }
        }
    }

    /// Looks no reference up.
    pub(crate) fn unresolved() -> Self {
        Self { resolves: false, ..Self::new(&|_| None) }
    }

    /// Parses a text as YAML, and nothing more.
    pub(crate) fn parse_only(text: &str) -> (Tree, Option<NodeId>, Vec<Fail>) {
        let (mut tree, mut fails) = (Tree::default(), Vec::new());
        match yaml::parse(&mut tree, 0, text, &mut fails) {
            Ok(root) => (tree, root, fails),
            Err(fail) => (tree, None, vec![fail]),
        }
    }

    pub(crate) fn finish(self, root: NodeId) -> Finished {
        let Self { files, tree, included, .. } = self;
        let (of_files, changes, laid) = match self.changed {
            Some((of_files, changes, laid)) => (of_files, Some(changes), laid),
            None => (root, None, Vec::new()),
        };
        let source = Source { files, included, tree, root, of_files, changes, laid };
        Finished { source, unresolved: self.unresolved, files: self.read }
    }

    fn slurp(&mut self, path: &Path) -> Result<String, String> {
        if let Some(folded) = self.again {
            let file = folded.files.get(self.files.len());
            return file.map(|file| file.text.to_string()).ok_or_else(String::new);
        }
        let file = fs::File::open(path).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        file.take(self.left + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > self.left {
            return Err("the configuration has more than 16MiB".into());
        }
        self.left -= bytes.len() as u64;
        String::from_utf8(bytes).map_err(|error| {
            format!("not UTF-8 text: byte {} is not", error.utf8_error().valid_up_to())
        })
    }

    fn file(&mut self, name: &str, base: PathBuf, text: String, depth: usize) -> Option<NodeId> {
        let number = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        self.files.push(File { name: name.into(), base: base.clone(), text: text.as_str().into() });
        if text.len() as u64 > MAX_BYTES {
            let at = At { file: number, ..At::default() };
            return self.give_up(Fail::new(at, "the configuration has more than 16MiB"));
        }
        let first = self.tree.len();
        self.tree.expect(text.len());
        let extension = Path::new(name).extension();
        let parsed = if extension.is_some_and(|ext| ext.eq_ignore_ascii_case("toml")) {
            toml::parse(&mut self.tree, number, &text).map(Some)
        } else {
            yaml::parse(&mut self.tree, number, &text, &mut self.fails)
        };
        let root = match parsed {
            Ok(root) => root?,
            Err(fail) => return self.give_up(fail),
        };
        if text.contains("${") && self.resolves {
            self.resolve(first, &base);
        }
        match self.tree.shape(root) {
            Shape::Map => Some(self.include(root, &base, depth)),
            Shape::Nothing => None,
            _ => {
                let fail = Fail::new(self.tree.at(root), "a configuration is a map of sections");
                self.give_up(fail.help("for example `routes: { /*: { to: http://10.0.0.1:80 } }`"))
            }
        }
    }

    fn give_up(&mut self, fail: Fail) -> Option<NodeId> {
        self.fails.push(fail);
        self.broken = true;
        None
    }

    fn resolve(&mut self, first: usize, base: &Path) {
        let keys = self.tree.keys(first);
        for id in self.tree.since(first) {
            let Some(text) = self.tree.written(id) else { continue };
            match reference::resolve(text, base, self.env, &mut self.read) {
                Ok(None) => {}
                Ok(Some(_)) if keys.contains(&id) => {
                    let fail = Fail::new(self.tree.at(id), "a key cannot be a reference");
                    self.fails.push(fail.help("references stand in values"));
                }
                Ok(Some(found)) => {
                    self.tree.refer(id, found.reference);
                    let wrong = found.unless_template.map(|wrong| (id, wrong));
                    self.unless_template.extend(wrong);
                }
                Err((message, help)) => {
                    self.fails.push(Fail::new(self.tree.at(id), message).help(help));
                    self.unresolved.push(id);
                }
            }
        }
    }

    /// Takes `include` out of a file's map and merges what it names.
    fn include(&mut self, root: NodeId, base: &Path, depth: usize) -> NodeId {
        let Some((key, list)) = self.tree.pair(root, "include") else { return root };
        if self.alone {
            let fail = Fail::new(self.tree.at(key), "what is sent includes no files");
            self.fails.push(fail.help("send what they have in it"));
            return root;
        }
        let own: Vec<_> =
            self.tree.pairs(root).iter().copied().filter(|pair| pair.0 != key).collect();
        let names = match self.tree.shape(list) {
            Shape::List => self.tree.items(list).to_vec(),
            _ => vec![list],
        };
        let mut merged = self.tree.map(self.tree.at(root), &own);
        for name in names {
            let at = self.tree.at(name);
            let Some(text) = self.tree.text(name).map(str::to_owned) else {
                self.fails.push(Fail::new(at, "expected a file's name, or a list of them"));
                continue;
            };
            match self.meant(base, &text) {
                Err(why) => self.fails.push(Fail::new(at, format!("cannot include: {why}"))),
                Ok(paths) => {
                    self.included.push(paths.clone());
                    for path in paths {
                        if let Some(other) = self.included(&path, at, depth) {
                            merged = self.merge(merged, other, 0);
                        }
                    }
                }
            }
        }
        merged
    }

    /// The files that an `include` means.
    fn meant(&self, base: &Path, name: &str) -> Result<Vec<PathBuf>, String> {
        match self.again {
            None => matching(base, name),
            Some(folded) => {
                folded.included.get(self.included.len()).cloned().ok_or_else(String::new)
            }
        }
    }

    fn included(&mut self, path: &Path, at: At, depth: usize) -> Option<NodeId> {
        let name = path.display();
        let refusal = if depth + 1 > MAX_INCLUDES {
            format!("`{name}`: files include one another more than {MAX_INCLUDES} deep")
        } else if self.files.len() >= MAX_FILES {
            format!("`{name}`: more than {MAX_FILES} files")
        } else if self.read.iter().any(|read| read == path) {
            format!("`{name}` is included already")
        } else {
            match self.slurp(path) {
                Ok(text) => {
                    self.read.push(path.to_path_buf());
                    let name = path.display().to_string();
                    return self.file(&name, beside(path), text, depth + 1);
                }
                Err(why) => format!("cannot include `{name}`: {why}"),
            }
        };
        self.fails.push(Fail::new(at, refusal));
        None
    }

    /// Two maps as one: sections are merged, anything in them may stand only once.
    fn merge(&mut self, one: NodeId, other: NodeId, depth: usize) -> NodeId {
        let mut pairs = self.tree.pairs(one).to_vec();
        for (key, value) in self.tree.pairs(other).to_vec() {
            let word = self.tree.written(key);
            let Some((first, before)) = self.tree.pair(one, word.unwrap_or_default()) else {
                pairs.push((key, value));
                continue;
            };
            let sections = self.tree.shape(before) == Shape::Map
                && self.tree.shape(value) == Shape::Map
                && depth == 0;
            if sections {
                let both = self.merge(before, value, depth + 1);
                if let Some(pair) = pairs.iter_mut().find(|pair| pair.0 == first) {
                    pair.1 = both;
                }
                continue;
            }
            let word = word.unwrap_or_default();
            let fail = Fail::new(self.tree.at(key), format!("`{word}` stands in two files"));
            self.fails.push(fail.first(self.tree.at(first)));
        }
        self.tree.map(self.tree.at(one), &pairs)
    }
}

/// The directory that relative paths in a file start from.
fn beside(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_path_buf()
}

/// The files that a name with `*` and `?` in its last part means, sorted.
fn matching(base: &Path, name: &str) -> Result<Vec<PathBuf>, String> {
    let path = base.join(name);
    let pattern = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    if !pattern.contains(['*', '?']) {
        return Ok(vec![path]);
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = fs::read_dir(here).map_err(|error| format!("`{}`: {error}", here.display()))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let fits = name.to_str().is_some_and(|name| {
            !name.starts_with('.') && fits(pattern.as_bytes(), name.as_bytes())
        });
        if fits && entry.path().is_file() {
            found.push(directory.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name fits a pattern of `*` (any run) and `?` (any byte).
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(&b) if b == b'?' || name.get(n) == Some(&b) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                p = star + 1;
                n = from + 1;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|b| *b == b'*')
}
