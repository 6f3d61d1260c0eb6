//! The upgrade of a running gateway: another process of the program, perhaps a newer one, is
//! given the listening sockets, the right to what is kept and what is known of endpoints; once it
//! is ready and serves, this one drains. One that does not come up changes nothing. The sockets are
//! shared while both serve, so that no connection is lost.

mod handover;
mod inherited;
mod known;
mod state;
mod successor;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use handover::Failed;
use tokio::sync::oneshot;

pub(crate) use handover::Handed;
pub(crate) use inherited::Inherited;
pub(crate) use known::tell;
pub(crate) use state::State;
pub(crate) use successor::come_up;

use crate::priority::Starter;

/// How long a successor may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);
/// The variable that tells a successor to take sockets from its standard input.
const VARIABLE: &str = "LOCKGATE_HANDOVER";
/// What stands in it: the handover's version.
const VERSION: &str = "2";
/// The version that gives sockets, and tells nothing more.
const SILENT: &str = "1";

/// What this process was started as: where its program was, which a package may have replaced
/// since, and with which words.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    words: Vec<OsString>,
    starter: Starter,
}

impl Program {
    /// Of this process. To be asked for early: the name of a replaced program is another, and a
    /// successor is to have the priority that this process has now.
    ///
    /// # Errors
    /// When the system does not tell, or gives no thread.
    pub(crate) fn current() -> io::Result<Self> {
        let words = std::env::args_os().skip(1).collect();
        Ok(Self { path: std::env::current_exe()?, words, starter: Starter::new()? })
    }

    /// What starts threads and processes with the priority that this process had then.
    pub(crate) fn starter(&self) -> Starter {
        self.starter.clone()
    }
}

/// A successor that has been started.
pub(crate) struct Successor {
    /// Its process.
    pub(crate) pid: u32,
    /// Whether it serves, or why not.
    pub(crate) outcome: oneshot::Receiver<Result<(), String>>,
}

/// Says what is known, and hears whether that is for the last time.
pub(crate) type Tell = dyn Fn(bool) -> Vec<u8> + Send;

/// Starts a successor and hands it what it needs.
///
/// # Errors
/// Why it cannot be started.
pub(crate) fn start(
    program: &Program,
    handed: Handed,
    tell: Box<Tell>,
) -> Result<Successor, String> {
    if std::process::id() == 1 {
        return Err("this is process 1, and its container would end with it: start a new \
                    container beside this one instead"
            .to_owned());
    }
    let (ours, theirs) = handover::pair().map_err(|error| format!("no socket pair: {error}"))?;
    let mut command = Command::new(&program.path);
    command
        .args(&program.words)
        .env(VARIABLE, VERSION)
        // It names this process, and the watchdog shall watch the new one.
        .env_remove("WATCHDOG_PID")
        .stdin(theirs);
    let mut child = program
        .starter
        .spawn(command)
        .map_err(|error| format!("cannot start `{}`: {error}", program.path.display()))?;
    let pid = child.id();
    let (told, outcome) = oneshot::channel();
    // It waits, and a runtime must not.
    std::thread::Builder::new()
        .name("upgrade".to_owned())
        .spawn(move || {
            let result = handover::give(&ours, &handed, &tell, PATIENCE);
            // Who has given up waiting, because the gateway is to end, wants no successor either.
            if let Err(Ok(())) = told.send(conclude(&mut child, result)) {
                let _ = child.kill();
            }
        })
        .map_err(|error| format!("no thread to wait for it: {error}"))?;
    Ok(Successor { pid, outcome })
}

/// Ends a successor that has failed; one that serves is left alone.
fn conclude(child: &mut Child, result: Result<(), Failed>) -> Result<(), String> {
    let Err(Failed { error, waited_for }) = result else { return Ok(()) };
    let waiting = waited_for.map(|why| format!(". It was not ready: {why}")).unwrap_or_default();
    if let Ok(Some(status)) = wait_a_moment(child) {
        return Err(format!(
            "the new process ended before it served ({status}); its log says why{waiting}"
        ));
    }
    let _ = child.kill();
    let _ = child.wait();
    let why = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("the new process did not serve within {} s{waiting}", PATIENCE.as_secs())
        }
        _ => format!("the new process could not take over: {error}{waiting}"),
    };
    Err(why)
}

/// A process whose socket is closed is about to end, and has not quite yet.
fn wait_a_moment(child: &mut Child) -> io::Result<Option<std::process::ExitStatus>> {
    for _ in 0..50 {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}
