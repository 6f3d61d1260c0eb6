//! Who goes first when there are fewer cores than work: the workers, before the control thread. A
//! reload, a scrape or a page of the dashboard then takes the time that requests leave.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};

/// How much nicer than the workers the control thread is. It keeps a quarter of a core for which a
/// worker contends, so that probes and orders are late by little and never starve.
#[cfg(target_os = "linux")]
const NICER: i32 = 5;

/// Puts the calling thread behind the others of this process. Threads that it starts from then on
/// go where it does, so this comes after the workers have been started.
pub(crate) fn step_back() {
    // Elsewhere a priority is the whole process's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICER) {
        tracing::debug!(%error, "the control thread keeps its priority");
    }
}

/// Starts processes from a thread that has never stepped back: a successor's workers would be as
/// nice as this process's control thread otherwise, and each successor's nicer than the last.
#[derive(Debug, Clone)]
pub(crate) struct Starter(SyncSender<Job>);

/// What is to be started, and who is told.
type Job = (Command, SyncSender<io::Result<Child>>);

impl Starter {
    /// Must be called before the calling thread steps back.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn new() -> io::Result<Self> {
        let (give, jobs) = sync_channel::<Job>(0);
        std::thread::Builder::new().name("starter".to_owned()).spawn(move || {
            for (mut command, told) in jobs {
                let _ = told.send(command.spawn());
            }
        })?;
        Ok(Self(give))
    }

    /// Starts a process.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts processes is gone: a bug");
        let (tell, told) = sync_channel(1);
        self.0.send((command, tell)).map_err(|_| gone())?;
        told.recv().unwrap_or_else(|_| Err(gone()))
    }
}
