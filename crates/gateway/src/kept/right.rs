//! The right to write into the directory of what is kept: a lock on a file in it, which the system
//! takes back however the process ends. Of two gateways that were given one directory the second
//! serves, and changes nothing there. A successor is handed the locked file itself, so that nobody
//! comes in between.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most bytes that are read of who has it.
const MOST: u64 = 256;

/// The right, had or not.
pub(crate) struct Right {
    /// `None`: there is no directory, and nobody asks.
    file: Option<PathBuf>,
    state: Mutex<State>,
}

enum State {
    /// It is locked as long as it is open.
    Held(File),
    /// A successor that is starting has it too, and nobody writes but that one.
    Lent(File),
    /// Nobody has asked for it yet, or it is another's now.
    Left,
    Not(WhyNot),
}

/// Why it is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WhyNot {
    /// Another gateway has it; else what is there is of no use.
    pub(crate) is_taken: bool,
    text: String,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Right {
    /// What is asked for by the lock of this file.
    pub(crate) fn of(file: Option<PathBuf>) -> Self {
        Self { file, state: Mutex::new(State::Left) }
    }

    /// Asks for it, unless it is had already. Whether it was given just now.
    pub(crate) fn ask(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Left) {
            State::Held(lock) => {
                *state = State::Held(lock);
                return false;
            }
            State::Lent(lock) => {
                sign(&lock);
                *state = State::Held(lock);
                return true;
            }
            before => *state = before,
        }
        match lock(file) {
            Ok(lock) => {
                *state = State::Held(lock);
                true
            }
            Err(why) => {
                say(&mut state, why);
                false
            }
        }
    }

    /// Takes it from the gateway whose place this one takes. Whether it is this right that was
    /// handed over: another directory may be configured since.
    pub(crate) fn adopt(&self, lock: File) -> bool {
        let Some(file) = &self.file else { return false };
        let is_it = match (lock.metadata(), std::fs::metadata(file)) {
            (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
            _ => false,
        };
        // It belongs to whoever has the file open: to lock it once more changes nothing.
        let has_it = is_it && lock.try_lock().is_ok();
        if has_it {
            sign(&lock);
            *self.state() = State::Held(lock);
        }
        has_it
    }

    /// The locked file once more, for a successor; `None` when it is not had.
    ///
    /// # Errors
    /// When the system gives no file descriptor.
    pub(crate) fn again(&self) -> io::Result<Option<File>> {
        match &*self.state() {
            State::Held(lock) => lock.try_clone().map(Some),
            _ => Ok(None),
        }
    }

    /// A successor has it from now on, unless it fails: then it is to be asked for.
    pub(crate) fn lend(&self) {
        let mut state = self.state();
        *state = match std::mem::replace(&mut *state, State::Left) {
            State::Held(lock) => State::Lent(lock),
            before => before,
        };
    }

    /// Gives it back, as what is there is of no use: why.
    pub(crate) fn refuse(&self, text: String) {
        say(&mut self.state(), WhyNot { is_taken: false, text });
    }

    /// Whether what is there was of no use.
    pub(crate) fn was_refused(&self) -> bool {
        matches!(&*self.state(), State::Not(why) if !why.is_taken)
    }

    /// Lets others have it.
    pub(crate) fn let_go(&self) {
        *self.state() = State::Left;
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(*self.state(), State::Held(_))
    }

    /// Whether nobody but this process and a successor of it has it.
    pub(crate) fn is_own(&self) -> bool {
        matches!(*self.state(), State::Held(_) | State::Lent(_))
    }

    /// Whether it is to be asked for again.
    pub(crate) fn is_wanted(&self) -> bool {
        self.file.is_some() && !self.is_held()
    }

    /// Why it is not to be had.
    pub(crate) fn why_not(&self) -> Option<WhyNot> {
        match &*self.state() {
            State::Not(why) => Some(why.clone()),
            State::Held(_) | State::Lent(_) | State::Left => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes why it is not to be had, and says it once.
fn say(state: &mut State, why: WhyNot) {
    if !matches!(state, State::Not(before) if *before == why) {
        let advice = match why.is_taken {
            true => "Give each gateway an `admin.state_dir` of its own",
            false => "Mend it, or move it away: it is looked at again every second",
        };
        tracing::warn!(
            "this gateway serves, and refuses changes through its admin interface: {why}. {advice}"
        );
    }
    *state = State::Not(why);
}

/// Locks a file, which then tells who has locked it.
fn lock(path: &Path) -> Result<File, WhyNot> {
    let told = |error: io::Error| WhyNot {
        is_taken: false,
        text: format!("{} cannot be locked: {error}", path.display()),
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(told)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let place = path.parent().unwrap_or(path).display();
            let text = match holder(file) {
                Some(who) => format!("`{place}` belongs to another gateway, {who}"),
                None => format!("`{place}` belongs to another gateway"),
            };
            return Err(WhyNot { is_taken: true, text });
        }
        Err(TryLockError::Error(error)) => return Err(told(error)),
    }
    sign(&file);
    Ok(file)
}

/// Writes into the file who has it, to be told by others, and no more than that.
fn sign(file: &File) {
    let me = format!("process {}{}\n", std::process::id(), host());
    let _ = file.set_len(0).and_then(|()| file.write_all_at(me.as_bytes(), 0));
}

/// Who has locked a file, by its own word.
fn holder(file: File) -> Option<String> {
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).ok()?;
    let line = text.lines().next().unwrap_or_default();
    let is_plain = line.chars().all(|letter| !letter.is_control());
    (is_plain && line.starts_with("process ")).then(|| line.to_owned())
}

/// The machine, which several containers may not share.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => String::new(),
        name => format!(" on {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_the_other_knows_who() {
        let dir = lockgate_testkit::Dir::new();
        let file = dir.path().join("changes.lock");
        let (one, other) = (Right::of(Some(file.clone())), Right::of(Some(file.clone())));
        assert!(one.is_wanted() && one.ask() && one.is_held() && !one.is_wanted());
        assert!(!one.ask(), "it has it already");
        assert!(!other.ask() && !other.is_held() && other.is_wanted());
        let why = other.why_not().unwrap().to_string();
        let me = format!("belongs to another gateway, process {}", std::process::id());
        assert!(why.contains(&me), "{why}");
        one.let_go();
        assert_eq!(one.why_not(), None);
        assert!(other.ask() && !one.ask());
        drop(other);
        assert!(one.ask());
        // What stands in the file is of others, and not believed blindly.
        std::fs::write(&file, "\u{1b}[31mprocess").unwrap();
        let third = Right::of(Some(file));
        assert!(!third.ask());
        let why = third.why_not().unwrap();
        assert!(why.is_taken && why.to_string().ends_with("belongs to another gateway"));
    }

    #[test]
    fn without_a_directory_nobody_asks() {
        let right = Right::of(None);
        assert!(!right.ask() && !right.is_wanted() && !right.is_held());
        let right = Right::of(Some("/no/such/place/changes.lock".into()));
        assert!(!right.ask() && right.is_wanted());
        let why = right.why_not().unwrap();
        assert!(!why.is_taken && why.to_string().contains("cannot be locked"));
    }

    #[test]
    fn a_successor_has_it_without_a_gap_and_gives_it_back_when_it_fails() {
        let dir = lockgate_testkit::Dir::new();
        let file = dir.path().join("changes.lock");
        let of = || Right::of(Some(file.clone()));
        let (old, third) = (of(), of());
        assert!(old.again().unwrap().is_none(), "what is not had is not handed on");
        assert!(old.ask());

        // It fails: both were open, and the old one still is.
        let failing = of();
        let handed = old.again().unwrap().unwrap();
        old.lend();
        assert!(!old.is_held() && old.is_wanted() && old.why_not().is_none());
        assert!(failing.adopt(handed) && failing.is_held());
        drop(failing);
        assert!(!third.ask() && old.ask() && old.is_held());

        let new = of();
        assert!(new.adopt(old.again().unwrap().unwrap()));
        old.lend();
        old.let_go();
        assert!(!third.ask() && !old.ask() && new.is_held());
        // What was handed over is of another directory: it is asked for in the usual way.
        let other = Right::of(Some(dir.path().join("other.lock")));
        assert!(other.ask() && !of().adopt(other.again().unwrap().unwrap()));
        drop(new);
        assert!(third.ask());
    }
}
