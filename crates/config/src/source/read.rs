//! Reads the main file, or several, and what they include into one tree, each key once.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::entries::EntryRead;
use super::hidden::Hidden;
use super::reference::{self, Lookup, Wrong};
use super::tree::{At, NodeId, Part, Shape, Tree};
use super::{Begin, Fail, File, Source, begin, toml, yaml};
use crate::changes::{Changes, Laid, lay};
use crate::report::Severity;

/// The most bytes of one configuration, all files together.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How deep files may include files.
const MAX_INCLUDES: usize = 8;
/// The most files of one configuration that are included.
const MAX_FILES: usize = 256;
/// The most files of one that has no main file.
const MAX_PARTS: usize = 16_384;
/// How often a directory is read again because it changed while it was.
const READINGS: usize = 4;

/// Gathers files, nodes and fails while reading.
pub(crate) struct Reader<'a> {
    pub(super) files: Vec<File>,
    pub(super) tree: Tree,
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
    /// Whether the first file is only what the others are in.
    in_parts: bool,
    /// What was read before: files with the same texts need not be parsed again.
    pub(super) before: Option<&'a Source>,
    /// Its files by their names, with their numbers.
    names: HashMap<&'a str, (&'a File, u16)>,
    /// What is read once more, from memory; its files and includes come in the same order.
    again: Option<&'a Source>,
    /// Whether references are looked up.
    resolves: bool,
    /// Whether a file may not include others.
    alone: bool,
    /// What stands where secrets were not shown.
    pub(crate) hidden: Option<&'a Hidden>,
    /// The root of the files, the number of the file of changes that lie over it, and what became
    /// of each.
    changed: Option<(NodeId, u16, Vec<Laid>)>,
    /// What was read of each change, where they were read one by one.
    pub(super) read_entries: Vec<EntryRead>,
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
            in_parts: false,
            before: None,
            names: HashMap::new(),
            again: None,
            resolves: true,
            alone: false,
            hidden: None,
            changed: None,
            read_entries: Vec::new(),
        }
    }

    /// Takes over what has been read before of files that are as they were.
    pub(crate) fn knowing(self, before: Option<&'a Source>) -> Self {
        let Some(before) = before else { return self };
        let files = before.files.iter().zip(0_u16..);
        let names = files.map(|(file, number)| (&*file.name, (file, number))).collect();
        Self { before: Some(before), names, tree: Tree::beside(&before.tree), ..self }
    }

    /// Reads once more what has been read before, whatever has become of the files, to be decoded
    /// anew: a reader and its root.
    pub(crate) fn anew(before: &'a Source, env: Lookup<'a>) -> (Self, NodeId) {
        let mut reader = Self { again: Some(before), ..Self::new(env).knowing(Some(before)) };
        let root = reader.begin_again(before);
        (reader, root)
    }

    fn begin_again(&mut self, before: &Source) -> NodeId {
        let root = match before.files.first() {
            Some(all) if before.in_parts => {
                let mut roots = Vec::new();
                self.enter(all.name.to_string(), &all.base);
                let end = before.changes.map_or(before.files.len(), usize::from);
                // Those that a part includes come behind it.
                while let Some(part) =
                    before.files.get(self.files.len()..end).and_then(<[_]>::first)
                {
                    let text = part.text.to_string();
                    roots.extend(self.file(&part.name, part.base.clone(), text, 1));
                }
                self.join(&roots)
            }
            Some(main) => self.start(&main.name, main.base.clone(), main.text.to_string()),
            None => self.tree.map(At::default(), &[]),
        };
        match before.changes.and_then(|number| before.files.get(usize::from(number))) {
            Some(changes) => self.change(root, &changes.name, &changes.text, None),
            None => root,
        }
    }

    /// Reads it from the disk.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub(crate) fn open(&mut self, begin: Begin<'_>) -> Result<NodeId, String> {
        match begin {
            Begin::Path(path) if path.is_dir() => self.directory(path),
            Begin::Path(path) => {
                let text = self.slurp(path)?;
                self.read.push(path.to_path_buf());
                Ok(self.begin(path, text))
            }
            Begin::Copies { root, files, name } => {
                let parts = files.iter().map(|file| {
                    (format!("{name}{}", file.display()), self.slurp(&root.join(file)))
                });
                let parts = parts.collect();
                self.parts(name.to_owned(), root, parts)
            }
        }
    }

    /// Reads the files of a directory, all of one state of it.
    fn directory(&mut self, path: &Path) -> Result<NodeId, String> {
        let left = self.left;
        let told = |error: std::io::Error| error.to_string();
        for reading in 1.. {
            let listed = begin::listed(path).map_err(told)?;
            let texts: Vec<_> = listed.iter().map(|part| self.slurp(&part.from)).collect();
            if reading < READINGS && begin::listed(path).map_err(told)? != listed {
                self.left = left;
                continue;
            }
            self.read.extend(begin::watched(path));
            if !begin::is_mounted(path) {
                self.read.extend(listed.iter().map(|part| part.from.clone()));
            }
            let parts = listed.into_iter().map(|part| part.name).zip(texts).collect();
            return self.parts(path.display().to_string(), path, parts);
        }
        Err("it never comes to rest".to_owned())
    }

    /// Several files as one, none of them the main one. What they name is looked for in `base`.
    fn parts(
        &mut self,
        name: String,
        base: &Path,
        parts: Vec<(String, Result<String, String>)>,
    ) -> Result<NodeId, String> {
        match parts.len() {
            0 => return Err("there is no .yaml, .yml, .json or .toml in it".to_owned()),
            1..=MAX_PARTS => {}
            _ => return Err(format!("there are more than {MAX_PARTS} files in it")),
        }
        self.enter(name, base);
        let mut roots = Vec::new();
        for (name, text) in parts {
            match text {
                Ok(text) => roots.extend(self.file(&name, base.to_owned(), text, 1)),
                Err(why) => {
                    let fail = Fail::new(At::default(), format!("cannot read `{name}`: {why}"));
                    self.fails.push(fail);
                }
            }
        }
        let is_told = self.fails.iter().any(|fail| fail.severity == Severity::Error);
        if !is_told && roots.iter().all(|root| self.tree.pairs(*root).is_empty()) {
            let fail = Fail::new(At::default(), "there is no section in any file of it");
            self.give_up(fail.help("at least one has a section in it, such as `routes:`"));
        }
        Ok(self.join(&roots))
    }

    /// What several files are in, as the first of them: errors that have no place are there.
    fn enter(&mut self, name: String, base: &Path) {
        self.in_parts = true;
        let (name, base) = (name.into(), base.to_owned());
        let (text, hash) = ("".into(), OnceLock::new());
        self.files.push(File { name, base, text, hash, read: None, refers: false });
    }

    /// Reads the main file from memory; `path` says how it is called and what it lies beside.
    pub(crate) fn begin(&mut self, path: &Path, text: String) -> NodeId {
        self.start(&path.display().to_string(), beside(path), text)
    }

    /// Reads a text instead of the files. It may not name other files: whoever sends a
    /// configuration says all of it.
    pub(crate) fn instead(&mut self, of: Begin<'_>, name: &str, text: &str) -> NodeId {
        self.alone = true;
        let base = match of {
            Begin::Path(path) if !path.is_dir() => beside(path),
            Begin::Path(root) | Begin::Copies { root, .. } => root.to_owned(),
        };
        self.start(name, base, text.to_owned())
    }

    fn start(&mut self, name: &str, base: PathBuf, text: String) -> NodeId {
        let root = self.file(name, base, text, 0);
        root.unwrap_or_else(|| self.tree.map(At::default(), &[]))
    }

    /// Lays changes over what has been read. Relative paths in them start where those of the main
    /// file do. `of`: the changes that the text was written of, when it is known.
    pub(crate) fn change(
        &mut self,
        root: NodeId,
        name: &str,
        text: &str,
        of: Option<&Changes>,
    ) -> NodeId {
        let base = self.files.first().map(|main| main.base.clone()).unwrap_or_default();
        let number = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
        self.alone = true;
        let entries = of.and_then(|of| self.entries(name, &base, text, of));
        let changes = entries.or_else(|| self.file(name, base, text.to_owned(), 0));
        let Some(changes) = changes else { return root };
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
        let Self { files, tree, included, in_parts, read_entries: entries, .. } = self;
        let (of_files, changes, laid) = match self.changed {
            Some((of_files, changes, laid)) => (of_files, Some(changes), laid),
            None => (root, None, Vec::new()),
        };
        let source =
            Source { files, included, in_parts, tree, root, of_files, changes, laid, entries };
        Finished { source, unresolved: self.unresolved, files: self.read }
    }

    fn slurp(&mut self, path: &Path) -> Result<String, String> {
        if let Some(before) = self.again {
            let file = before.files.get(self.files.len());
            return file.map(|file| file.text.to_string()).ok_or_else(String::new);
        }
        let file = fs::File::open(path).map_err(|error| error.to_string())?;
        let length = file.metadata().map_or(0, |meta| meta.len()).min(self.left);
        let mut bytes = Vec::with_capacity(length as usize + 1);
        file.take(self.left + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > self.left {
            return Err("the configuration has more than 16MiB".into());
        }
        self.left -= bytes.len() as u64;
        String::from_utf8(bytes).map_err(|error| {
            format!("not UTF-8 text: byte {} is not", error.utf8_error().valid_up_to())
        })
    }

    pub(super) fn file(
        &mut self,
        name: &str,
        base: PathBuf,
        text: String,
        depth: usize,
    ) -> Option<NodeId> {
        let number = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let known = self.names.get(name).copied().filter(|(file, _)| *file.text == *text);
        let refers = known.map_or_else(|| text.contains("${"), |(file, _)| file.refers);
        let kept = known.map_or_else(|| Arc::from(text), |(file, _)| Arc::clone(&file.text));
        let hash = known.map(|(file, _)| file.hash.clone()).unwrap_or_default();
        let (name_of, base_of) = (name.into(), base.clone());
        let file = File {
            name: name_of,
            base: base_of,
            text: Arc::clone(&kept),
            hash,
            read: None,
            refers,
        };
        self.files.push(file);
        if text.len() as u64 > MAX_BYTES {
            let at = At { file: number, ..At::default() };
            return self.give_up(Fail::new(at, "the configuration has more than 16MiB"));
        }
        let mark = self.tree.mark();
        let root = match known.and_then(|known| self.copy(known, number)) {
            Some(root) => root,
            None => self.parse(name, &kept, number)?,
        };
        let part = self.tree.since(mark);
        if let Some(file) = self.files.last_mut() {
            file.read = Some((part, root));
        }
        if refers && self.resolves {
            let hidden = self.hidden.map(|hidden| hidden.secrets(&self.tree, root));
            self.resolve(part, &base, &hidden.unwrap_or_default());
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

    /// What was read before of a file with the same text, and the number that it had.
    fn copy(&mut self, (file, before): (&File, u16), number: u16) -> Option<NodeId> {
        let (part, root) = file.read?;
        if before == number && self.tree.share(part) {
            return Some(root);
        }
        Some(self.tree.copy(&self.before?.tree, part, root, number, 0))
    }

    fn parse(&mut self, name: &str, text: &Arc<str>, number: u16) -> Option<NodeId> {
        self.tree.expect(text.len());
        self.tree.begin(text);
        let extension = Path::new(name).extension();
        let parsed = if extension.is_some_and(|ext| ext.eq_ignore_ascii_case("toml")) {
            toml::parse(&mut self.tree, number, text).map(Some)
        } else {
            yaml::parse(&mut self.tree, number, text, &mut self.fails)
        };
        parsed.unwrap_or_else(|fail| self.give_up(fail))
    }

    fn give_up(&mut self, fail: Fail) -> Option<NodeId> {
        self.fails.push(fail);
        self.broken = true;
        None
    }

    pub(super) fn resolve(&mut self, part: Part, base: &Path, hidden: &HashMap<NodeId, String>) {
        let found = self.tree.with_references(part);
        let keys = self.tree.keys(part, &found);
        for id in found {
            let Some(text) = self.tree.written(id) else { continue };
            let hidden = hidden.get(&id).map(String::as_str);
            match reference::resolve(text, base, self.env, &mut self.read, hidden) {
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
        let mut roots = vec![self.tree.map(self.tree.at(root), &own)];
        for name in names {
            let at = self.tree.at(name);
            let Some(text) = self.tree.text(name).map(str::to_owned) else {
                self.fails.push(Fail::new(at, "expected a file's name, or a list of them"));
                continue;
            };
            // Another file there may be meant too, one day.
            self.read.extend(searched(&base.join(&text)).map(Path::to_path_buf));
            match self.meant(base, &text) {
                Err(why) => self.fails.push(Fail::new(at, format!("cannot include: {why}"))),
                Ok(paths) => {
                    self.included.push(paths.clone());
                    for path in paths {
                        roots.extend(self.included(&path, at, depth));
                    }
                }
            }
        }
        self.join(&roots)
    }

    /// The files that an `include` means.
    fn meant(&self, base: &Path, name: &str) -> Result<Vec<PathBuf>, String> {
        match self.again {
            None => matching(base, name),
            Some(before) => {
                before.included.get(self.included.len()).cloned().ok_or_else(String::new)
            }
        }
    }

    fn included(&mut self, path: &Path, at: At, depth: usize) -> Option<NodeId> {
        let name = path.display();
        let refusal = if depth + 1 > MAX_INCLUDES {
            format!("`{name}`: files include one another more than {MAX_INCLUDES} deep")
        } else if self.included.iter().map(Vec::len).sum::<usize>() > MAX_FILES {
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

    /// The maps of several files as one: sections are merged, anything in them may stand only once.
    fn join(&mut self, roots: &[NodeId]) -> NodeId {
        if let [one] = roots {
            return *one;
        }
        let mut fails = Vec::new();
        let mut sections: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let is_map = |node| self.tree.shape(node) == Shape::Map;
        for &(key, value) in roots.iter().flat_map(|root| self.tree.pairs(*root)) {
            let word = self.tree.written(key).unwrap_or_default();
            let Some((first, values)) = known.get(word).and_then(|place| sections.get_mut(*place))
            else {
                known.insert(word, sections.len());
                sections.push((key, vec![value]));
                continue;
            };
            if is_map(value) && values.iter().all(|other| is_map(*other)) {
                values.push(value);
            } else {
                fails.push(twice(&self.tree, key, *first));
            }
        }
        self.fails.extend(fails);
        let mut pairs = Vec::with_capacity(sections.len());
        for (key, values) in sections {
            let value = match values.as_slice() {
                [one] => *one,
                several => self.join_section(several),
            };
            pairs.push((key, value));
        }
        let at = roots.first().map(|root| self.tree.at(*root)).unwrap_or_default();
        self.tree.map(at, &pairs)
    }

    fn join_section(&mut self, parts: &[NodeId]) -> NodeId {
        let mut pairs = Vec::new();
        let mut known: HashMap<&str, NodeId> = HashMap::new();
        for &(key, value) in parts.iter().flat_map(|part| self.tree.pairs(*part)) {
            let word = self.tree.written(key).unwrap_or_default();
            if let Some(first) = known.get(word) {
                self.fails.push(twice(&self.tree, key, *first));
                continue;
            }
            known.insert(word, key);
            pairs.push((key, value));
        }
        let at = parts.first().map(|part| self.tree.at(*part)).unwrap_or_default();
        self.tree.map(at, &pairs)
    }
}

fn twice(tree: &Tree, key: NodeId, first: NodeId) -> Fail {
    let word = tree.written(key).unwrap_or_default();
    Fail::new(tree.at(key), format!("`{word}` stands in two files")).first(tree.at(first))
}

/// The directory that relative paths in a file start from.
fn beside(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_path_buf()
}

/// The files that a name with `*` and `?` in its last part means, sorted.
fn matching(base: &Path, name: &str) -> Result<Vec<PathBuf>, String> {
    let path = base.join(name);
    let Some(here) = searched(&path) else { return Ok(vec![path]) };
    let pattern = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let directory = path.parent().unwrap_or(here);
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

/// The directory whose files a path means, if it is a pattern.
fn searched(path: &Path) -> Option<&Path> {
    let pattern = path.file_name()?.to_str()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    pattern.contains(['*', '?']).then_some(directory.unwrap_or(Path::new(".")))
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
