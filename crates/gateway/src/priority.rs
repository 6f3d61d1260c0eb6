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

/// Starts processes and threads from a thread that has never stepped back: a successor's workers
/// would be as nice as this process's control thread otherwise, and each successor's nicer than the
/// last; and so would be what requests wait for.
#[derive(Debug, Clone)]
pub(crate) struct Starter(SyncSender<Job>);

/// What starts something, and tells who waits for it.
type Job = Box<dyn FnOnce() + Send>;

impl Starter {
    /// Must be called before the calling thread steps back.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn new() -> io::Result<Self> {
        let (give, jobs) = sync_channel::<Job>(0);
        std::thread::Builder::new().name("starter".to_owned()).spawn(move || {
            for start in jobs {
                start();
            }
        })?;
        Ok(Self(give))
    }

    /// Starts a process.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn spawn(&self, mut command: Command) -> io::Result<Child> {
        self.run(move || command.spawn())
    }

    /// Starts something, and waits until it has.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        start: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let gone = || io::Error::other("the thread that starts others is gone: a bug");
        let (tell, told) = sync_channel(1);
        let job = Box::new(move || drop(tell.send(start())));
        self.0.send(job).map_err(|_| gone())?;
        told.recv().unwrap_or_else(|_| Err(gone()))
    }
}
