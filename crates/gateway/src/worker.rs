//! The worker threads: each a runtime of its own, its own sockets, its own connections.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use lockgate_net::Drain;
use lockgate_net::listen::{ListenerState, accept};
use lockgate_proxy::{Proxy, Shared, Worker};
use lockgate_upstream::Caller;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;

/// How often a worker looks after what is not tied to a request.
const TICK: Duration = Duration::from_millis(100);
/// More than one configuration can have listeners that change.
const QUEUE: usize = 256;

/// What a worker is told.
pub(crate) enum Command {
    /// Accept on this socket.
    Open(TcpListener, Arc<ListenerState>),
    /// Stop accepting on this listener. Its open connections go on.
    Close(Arc<ListenerState>),
    /// Stop accepting, tell connections to end, close idle ones after this time, and return when
    /// none is left.
    Drain(Duration),
}

/// A worker thread.
pub(crate) struct WorkerThread {
    pub(crate) commands: Sender<Command>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts worker `index`. `ended` hears of its end, whatever the cause.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(
    index: usize,
    shared: Arc<Shared>,
    ended: Sender<usize>,
) -> anyhow::Result<WorkerThread> {
    let (commands, inbox) = channel(QUEUE);
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            // Dropped last, so that a panic is heard of too.
            let _ended = Ended(index, ended);
            let runtime =
                Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => runtime.block_on(work(index, shared, inbox)),
                Err(error) => tracing::error!(index, %error, "a worker's runtime cannot start"),
            }
        })
        .context("starting a worker thread")?;
    Ok(WorkerThread { commands, thread })
}

struct Ended(usize, Sender<usize>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.1.try_send(self.0);
    }
}

async fn work(index: usize, shared: Arc<Shared>, mut inbox: Receiver<Command>) {
    let worker = Rc::new(Worker::new(index, shared, Caller::new()));
    let proxy = Proxy::new(Rc::clone(&worker));
    let drain = Drain::default();
    let mut open: Vec<(Arc<ListenerState>, AbortHandle)> = Vec::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let grace = loop {
        tokio::select! {
            _ = tick.tick() => worker.tick(drain.open()),
            command = inbox.recv() => match command {
                Some(Command::Open(socket, state)) => {
                    let listener = Arc::clone(&state);
                    let accepting = accept(socket, state, index, proxy.clone(), drain.clone());
                    let task = tokio::task::spawn_local(async move {
                        if let Err(error) = accepting.await {
                            tracing::error!(%error, "a listener's socket cannot be used");
                        }
                    });
                    open.push((listener, task.abort_handle()));
                }
                Some(Command::Close(state)) => open.retain(|(listener, task)| {
                    let stays = !Arc::ptr_eq(listener, &state);
                    if !stays {
                        task.abort();
                    }
                    stays
                }),
                Some(Command::Drain(grace)) => break grace,
                None => break Duration::ZERO,
            },
        }
    };
    for (_, task) in open {
        task.abort();
    }
    drain.start();
    let closing = tokio::time::sleep(grace);
    tokio::pin!(closing);
    let mut told = false;
    loop {
        tokio::select! {
            () = drain.emptied() => break,
            () = &mut closing, if !told => {
                told = true;
                drain.close_idle();
            }
            _ = tick.tick() => worker.tick(drain.open()),
        }
    }
    // What must not be cut off in the middle is bounded in time by itself.
    while worker.is_unfinished() {
        worker.tick(drain.open());
        tick.tick().await;
    }
    worker.tick(drain.open());
}
