//! The right to write into the directory of what is kept: a lock on a file in it, which the system
//! takes back however the process ends. Of two gateways that were given one directory the second
//! serves, and changes nothing there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
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
    Held(#[expect(dead_code, reason = "it is locked as long as it is open")] File),
    /// A successor shall have it.
    Left,
    /// Why it is not to be had.
    Not(String),
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
        if matches!(*state, State::Held(_)) {
            return false;
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

    /// Gives it back, as it is of no use here: why.
    pub(crate) fn refuse(&self, why: String) {
        say(&mut self.state(), why);
    }

    /// Lets a successor have it.
    pub(crate) fn let_go(&self) {
        *self.state() = State::Left;
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(*self.state(), State::Held(_))
    }

    /// Whether it is to be asked for again.
    pub(crate) fn is_wanted(&self) -> bool {
        self.file.is_some() && !self.is_held()
    }

    /// Why it is not to be had.
    pub(crate) fn why_not(&self) -> Option<String> {
        match &*self.state() {
            State::Not(why) => Some(why.clone()),
            State::Held(_) | State::Left => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes why it is not to be had, and says it once.
fn say(state: &mut State, why: String) {
    if !matches!(state, State::Not(before) if *before == why) {
        tracing::warn!(
            "this gateway serves, and refuses changes through its admin interface: {why}. Give \
             each gateway an `admin.state_dir` of its own"
        );
    }
    *state = State::Not(why);
}

/// Locks a file, which then tells who has locked it.
fn lock(path: &Path) -> Result<File, String> {
    let told = |error: std::io::Error| format!("{} cannot be locked: {error}", path.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path).map_err(told)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let place = path.parent().unwrap_or(path).display();
            return Err(match holder(file) {
                Some(who) => format!("`{place}` belongs to another gateway, {who}"),
                None => format!("`{place}` belongs to another gateway"),
            });
        }
        Err(TryLockError::Error(error)) => return Err(told(error)),
    }
    // To be told by others, and no more than that.
    let me = format!("process {}{}\n", std::process::id(), host());
    let _ = file.set_len(0).and_then(|()| file.write_all(me.as_bytes()));
    Ok(file)
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
        let why = other.why_not().unwrap();
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
        assert!(third.why_not().unwrap().ends_with("belongs to another gateway"));
    }

    #[test]
    fn without_a_directory_nobody_asks() {
        let right = Right::of(None);
        assert!(!right.ask() && !right.is_wanted() && !right.is_held());
        let right = Right::of(Some("/no/such/place/changes.lock".into()));
        assert!(!right.ask() && right.is_wanted());
        assert!(right.why_not().unwrap().contains("cannot be locked"));
    }
}
