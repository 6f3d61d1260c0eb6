//! Where lines end: standard output or a file, and the thread that writes there. A target that
//! fails costs the lines it should have taken, is told once, and never stops the gateway.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use lockgate_config::model::LogTo;

use super::{Batch, Shared};

/// How long a target that takes nothing now (a non-blocking pipe) is waited for.
const PATIENCE: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// A target and, for a file, where to open it anew.
pub(super) struct Sink {
    file: File,
    path: Option<PathBuf>,
    /// Whether the last write ended inside a line.
    torn: bool,
    failing: bool,
}

impl Sink {
    pub(super) fn open(to: &LogTo) -> io::Result<Self> {
        match to {
            // Not through `std::io::stdout`, which holds lines back and keeps them on errors.
            LogTo::Stdout => Ok(Self::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))),
            LogTo::File(path) => Ok(Self { path: Some(path.clone()), ..Self::new(open(path)?) }),
        }
    }

    pub(super) fn new(file: File) -> Self {
        Self { file, path: None, torn: false, failing: false }
    }

    /// Writes batches until the log closes and its queue is empty.
    pub(super) fn run(mut self, queue: &Receiver<Batch>, shared: &Arc<Shared>) {
        loop {
            let batch =
                if shared.closing.load(SeqCst) { queue.try_recv().ok() } else { queue.recv().ok() };
            // Before the batch: what was handed over after the signal belongs into the new file.
            if shared.reopen.swap(false, SeqCst) {
                self.reopen(shared);
            }
            let Some(batch) = batch else { break };
            if batch.lines > 0 {
                self.write(&batch, shared);
            }
            shared.recycle(batch.bytes);
        }
    }

    fn write(&mut self, batch: &Batch, shared: &Shared) {
        let result = self.write_whole(&batch.bytes);
        match result {
            Ok(()) => {
                shared.written.fetch_add(u64::from(batch.lines), Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the access log can be written again");
                }
            }
            Err((written, error)) => {
                let whole = batch.bytes.get(..written).unwrap_or_default();
                let whole = whole.iter().filter(|byte| **byte == b'\n').count() as u64;
                shared.written.fetch_add(whole, Relaxed);
                shared.dropped.fetch_add(u64::from(batch.lines).saturating_sub(whole), Relaxed);
                shared.errors.fetch_add(1, Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the access log cannot be written: lines are lost");
                }
            }
        }
    }

    /// The error says how many bytes were taken before it.
    fn write_whole(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.torn {
            // What is left of a broken line must not become part of the next one.
            self.write_from(b"\n").map_err(|(_, error)| (0, error))?;
            self.torn = false;
        }
        let result = self.write_from(bytes);
        if let Err((written, _)) = &result {
            let last = written.checked_sub(1).and_then(|last| bytes.get(last));
            self.torn = last.is_some_and(|byte| *byte != b'\n');
        }
        result
    }

    fn write_from(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        let mut patience = PATIENCE;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
                Ok(n) => {
                    written += n;
                    patience = PATIENCE;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && patience > 0 => {
                    patience -= 1;
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    fn reopen(&mut self, shared: &Shared) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => {
                shared.errors.fetch_add(1, Relaxed);
                let path = path.display();
                tracing::warn!(%error, %path, "the access log is not reopened; the old one stays");
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
impl Sink {
    /// As if a write had ended inside a line.
    pub(super) fn tear(&mut self, begin: &[u8]) {
        self.torn = self.write_from(begin).is_ok();
    }
}
