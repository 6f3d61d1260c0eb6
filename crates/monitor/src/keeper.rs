//! Between the history in memory and the one on disk: opened when it can be, written in batches off
//! the runtime, and given up without harm. What could not be written stays in memory, and is
//! written later.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::history::disk::{Batch, Disk, Loaded, NotOpen};
use crate::history::view::KeptWhere;

/// The disk's side.
pub(crate) struct Keeper {
    directory: Option<PathBuf>,
    disk: Arc<Mutex<Option<Disk>>>,
    why_not: Mutex<String>,
    open: AtomicBool,
    /// Whether what a process before this one has kept is known, or never will be.
    settled: AtomicBool,
    failures: AtomicU64,
    /// Whether the failure that goes on has been told.
    told: AtomicBool,
}

/// What an attempt to open came to.
pub(crate) enum Opened {
    /// It was opened just now, and this was in it.
    Now(Box<Loaded>),
    /// Another process has it still, or it cannot be opened.
    Not,
}

impl Keeper {
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        let why = match &directory {
            Some(_) => "it is not open yet",
            None => "no directory is given (`admin.state_dir`)",
        };
        let settled = AtomicBool::new(directory.is_none());
        Self {
            directory,
            settled,
            disk: Arc::default(),
            why_not: Mutex::new(why.to_owned()),
            open: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Relaxed)
    }

    /// What was on disk has been taken.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Relaxed);
    }

    /// Whether there is a disk to be kept on, and it does not work.
    pub(crate) fn is_failing(&self) -> bool {
        self.told.load(Relaxed)
    }

    /// Times that it could not be opened, read or written.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn kept_where(&self) -> KeptWhere {
        match &self.directory {
            Some(directory) if self.is_open() => {
                KeptWhere::Disk { directory: directory.display().to_string() }
            }
            _ => {
                let why = self.why_not.lock().unwrap_or_else(PoisonError::into_inner).clone();
                KeptWhere::Memory { why }
            }
        }
    }

    /// Opens it and reads what is there, unless it is open.
    pub(crate) async fn open(&self) -> Opened {
        let Some(directory) = self.directory.clone().filter(|_| !self.is_open()) else {
            return Opened::Not;
        };
        let place = Arc::clone(&self.disk);
        let work = move || {
            let disk = Disk::open(&directory)?;
            let told = |error: rusqlite::Error| NotOpen::Failed(error.to_string());
            let loaded = disk.load().map_err(told)?;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(disk);
            Ok(loaded)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(loaded)) => {
                self.open.store(true, Relaxed);
                self.works();
                Opened::Now(Box::new(loaded))
            }
            Ok(Err(NotOpen::Taken)) => {
                self.say("another process writes it");
                Opened::Not
            }
            Ok(Err(NotOpen::Failed(why))) => {
                self.fails(&why);
                Opened::Not
            }
            Err(_) => {
                self.fails("a bug: its reading panicked");
                Opened::Not
            }
        }
    }

    /// Writes a batch: whether it is on disk now.
    pub(crate) async fn write(&self, batch: Batch) -> bool {
        let place = Arc::clone(&self.disk);
        let work = move || {
            let mut disk = place.lock().unwrap_or_else(PoisonError::into_inner);
            match disk.as_mut() {
                Some(disk) => disk.write(&batch).map_err(|error| error.to_string()),
                None => Err("it is closed".to_owned()),
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {
                self.works();
                true
            }
            Ok(Err(why)) => {
                self.fails(&why);
                false
            }
            Err(_) => {
                self.fails("a bug: its writing panicked");
                false
            }
        }
    }

    /// Lets another process have it.
    pub(crate) async fn close(&self) {
        let place = Arc::clone(&self.disk);
        let work = move || drop(place.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = tokio::task::spawn_blocking(work).await;
        self.open.store(false, Relaxed);
        self.say("the process is about to end");
    }

    fn works(&self) {
        if self.told.swap(false, Relaxed) {
            tracing::info!("the history can be written again");
        }
    }

    fn fails(&self, why: &str) {
        self.settle();
        self.failures.fetch_add(1, Relaxed);
        self.say(why);
        if !self.told.swap(true, Relaxed) {
            tracing::warn!(why, "the history cannot be written: it goes on in memory");
        }
    }

    fn say(&self, why: &str) {
        why.clone_into(&mut self.why_not.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
