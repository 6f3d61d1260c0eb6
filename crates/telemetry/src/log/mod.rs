//! The access log: workers append lines to buffers of their own, a bounded queue carries full
//! buffers to one writer thread. When the writer cannot keep up, lines are lost and counted;
//! a worker never waits.

mod clock;
mod entry;
mod escape;
mod header;
mod json;
mod memo;
mod redact;
pub(crate) mod redacted;
mod sink;
#[cfg(test)]
mod tests;
mod text;

use std::cell::RefCell;
use std::env;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use lockgate_config::model;

use crate::metrics::{Collect, Encoder, names};
use clock::Clock;
use header::HeaderChoice;
use memo::Memo;
use sink::Sink;

pub(crate) use redact::hidden;
pub use redacted::redacted_url;

pub use clock::rfc3339;
pub(crate) use entry::origin_word;
pub use entry::{Entry, FIELDS, Field, access_log_reference};

/// A buffer of this size is handed over; less waits for [`WorkerLog::flush`]. Each hand-over wakes
/// the writer and is one write: at full load that cost more than the lines themselves when it was
/// a thirtieth of this, and as much as half of them when it was a quarter.
const HAND_OVER: usize = 256 * 1024;

/// Buffers on their way to the writer, of about 256 KiB each at full load and far less otherwise:
/// each worker hands one over at each flush. Some hundred milliseconds of full load can wait here
/// for a slow disk.
const QUEUE: usize = 64;

/// Empty buffers kept for reuse, and the largest that is kept.
const SPARE: usize = 4;
const MAX_SPARE: usize = 512 * 1024;

/// The access log of the process.
pub struct AccessLog {
    shared: Arc<Shared>,
    queue: SyncSender<Batch>,
    /// Hears of the writer's end.
    ended: Mutex<Receiver<()>>,
    form: Form,
    sample: f64,
    headers: Arc<[HeaderChoice]>,
}

/// Lines on their way to the writer.
struct Batch {
    bytes: Vec<u8>,
    /// Zero only wakes the writer.
    lines: u32,
}

/// What the workers and the writer both see.
#[derive(Default)]
struct Shared {
    written: AtomicU64,
    dropped: AtomicU64,
    errors: AtomicU64,
    reopen: AtomicBool,
    closing: AtomicBool,
    spare: Mutex<Vec<Vec<u8>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Ecs,
    Text { colours: bool },
}

/// What became of the lines so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCounts {
    /// Lines written.
    pub written: u64,
    /// Lines lost: the target was too slow, or failed.
    pub dropped: u64,
    /// Failures to write or to reopen.
    pub errors: u64,
}

impl AccessLog {
    /// Opens the target and starts the writer thread. A file is created with mode 0640, and
    /// appended to.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not started.
    pub fn start(config: &model::AccessLog) -> io::Result<Arc<Self>> {
        let sink = Sink::open(&config.to)?;
        Self::with_sink(config, sink, QUEUE)
    }

    fn with_sink(config: &model::AccessLog, sink: Sink, queue: usize) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = sync_channel(queue);
        let (end, ended) = sync_channel(1);
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            sink.run(&receiver, &theirs);
            // First, so that whoever heard of the end finds nobody to hand lines to.
            drop(receiver);
            // Nobody may be listening any more.
            let _ = end.try_send(());
        })?;
        Ok(Arc::new(Self {
            shared,
            queue: sender,
            ended: Mutex::new(ended),
            form: Form::of(config),
            sample: config.sample.0,
            headers: config.headers.iter().filter_map(|name| HeaderChoice::new(name)).collect(),
        }))
    }

    /// The log of one worker. Each worker has its own, and writes it from its own thread.
    pub fn worker(self: &Arc<Self>, worker: usize) -> WorkerLog {
        let page = Page {
            bytes: Vec::with_capacity(HAND_OVER + HAND_OVER / 4),
            lines: 0,
            clock: Clock::new(),
            memo: Memo::default(),
        };
        WorkerLog { log: Arc::clone(self), worker, page: RefCell::new(page) }
    }

    /// Opens the file anew, before the next lines are written: for rotation by renaming. Does
    /// nothing on standard output. A file that cannot be opened leaves the old one in use.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, SeqCst);
        self.wake();
    }

    /// Writes what the queue holds, then ends the writer. The workers' logs must have been
    /// flushed or dropped before. `false` when the target did not take it all in time.
    pub fn close(&self, deadline: Duration) -> bool {
        self.shared.closing.store(true, SeqCst);
        self.wake();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(ended.recv_timeout(deadline), Err(RecvTimeoutError::Timeout))
    }

    /// What became of the lines so far.
    pub fn counts(&self) -> LogCounts {
        LogCounts {
            written: self.shared.written.load(Relaxed),
            dropped: self.shared.dropped.load(Relaxed),
            errors: self.shared.errors.load(Relaxed),
        }
    }

    /// When the queue is full the writer is awake anyway, and looks at the flags.
    fn wake(&self) {
        let _ = self.queue.try_send(Batch { bytes: Vec::new(), lines: 0 });
    }
}

impl Collect for AccessLog {
    fn collect(&self, out: &mut Encoder) {
        let counts = self.counts();
        out.count(&names::LOG_LINES, &[], counts.written);
        out.count(&names::LOG_DROPPED, &[], counts.dropped);
        out.count(&names::LOG_ERRORS, &[], counts.errors);
    }
}

impl Form {
    fn of(config: &model::AccessLog) -> Self {
        let terminal = config.to == model::LogTo::Stdout && io::stdout().is_terminal();
        let colours = terminal && env::var_os("NO_COLOR").is_none();
        match config.format {
            model::LogFormat::Auto if terminal => Self::Text { colours },
            model::LogFormat::Auto | model::LogFormat::Json => Self::Json,
            model::LogFormat::Text => Self::Text { colours },
            model::LogFormat::Ecs => Self::Ecs,
        }
    }
}

impl Shared {
    fn spare(&self) -> Vec<u8> {
        // A worker does not wait for a buffer either: a fresh one costs little.
        let spare = self.spare.try_lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_else(|| Vec::with_capacity(HAND_OVER + HAND_OVER / 4))
    }

    fn recycle(&self, mut bytes: Vec<u8>) {
        if !(1..=MAX_SPARE).contains(&bytes.capacity()) {
            return;
        }
        bytes.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(bytes);
        }
    }
}

/// The log of one worker. Dropping it hands over what it holds.
pub struct WorkerLog {
    log: Arc<AccessLog>,
    worker: usize,
    page: RefCell<Page>,
}

struct Page {
    bytes: Vec<u8>,
    lines: u32,
    clock: Clock,
    memo: Memo,
}

impl WorkerLog {
    /// Writes one line, unless the sample leaves it out: never an error's (status 500 or more, or
    /// any reason). The worker's index is filled in here.
    pub fn write(&self, entry: &mut Entry<'_>) {
        let log = &*self.log;
        if log.sample < 1.0 && !entry.is_error() && fastrand::f64() >= log.sample {
            return;
        }
        entry.worker = self.worker;
        let mut page = self.page.borrow_mut();
        let Page { bytes, lines, clock, memo } = &mut *page;
        match log.form {
            Form::Json => json::push_line(bytes, clock, memo, &log.headers, false, entry),
            Form::Ecs => json::push_line(bytes, clock, memo, &log.headers, true, entry),
            Form::Text { colours } => text::push_line(bytes, clock, colours, entry),
        }
        *lines += 1;
        if bytes.len() >= HAND_OVER {
            page.hand_over(log);
        }
    }

    /// Hands over what has been written so far. The worker calls it about every 100 ms, so that
    /// lines are not late, and before it ends.
    pub fn flush(&self) {
        self.page.borrow_mut().hand_over(&self.log);
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Page {
    fn hand_over(&mut self, log: &AccessLog) {
        if self.lines == 0 {
            return;
        }
        let bytes = std::mem::replace(&mut self.bytes, log.shared.spare());
        let lines = std::mem::take(&mut self.lines);
        match log.queue.try_send(Batch { bytes, lines }) {
            Ok(()) => {}
            Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) => {
                log.shared.dropped.fetch_add(u64::from(lost.lines), Relaxed);
                self.bytes = lost.bytes;
                self.bytes.clear();
            }
        }
    }
}
