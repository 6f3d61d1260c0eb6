//! The life of a running gateway, on the control runtime: start, reload when told or when files
//! change, drain, end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context;
use lockgate_admin::Handles;
use lockgate_config::Report;
use lockgate_net::listen::Gate;
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, interval, timeout_at};

use crate::collect::Collector;
use crate::demo;
use crate::explain::explain;
use crate::gateway::{self, Checked, Gateway};
use crate::listeners::{Listeners, tell};
use crate::signals::{Asked, Signals};
use crate::watch::Watch;
use crate::worker::{self, Command, WorkerThread};

/// What to run.
pub(crate) struct Start {
    /// The first configuration.
    pub(crate) checked: Checked,
    /// The file to read again on a change, and what watches it since before it was read; `None`
    /// when the configuration is not from a file.
    pub(crate) file: Option<(PathBuf, Watch)>,
    /// Run the demo's services too, on the ports after this one.
    pub(crate) demo: Option<u16>,
}

/// Runs a gateway until it is told to stop. The exit code says how that went.
///
/// # Errors
/// What kept it from starting.
pub(crate) fn run(start: Start) -> anyhow::Result<ExitCode> {
    lockgate_telemetry::init_tracing().context("setting up the log")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the control runtime")?;
    runtime.block_on(live(start))
}

async fn live(start: Start) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("listening to signals")?;
    raise_file_limit(start.checked.loaded.document.http.max_connections);
    let document = &start.checked.loaded.document;
    let count = document.workers.unwrap_or_else(cores);
    let gate = Gate::new();
    let mut listeners = Listeners::new(Arc::clone(&gate), count);
    let prepared = listeners.prepare(document)?;
    let admin = match document.admin.address {
        Some(address) => Some(
            bind_admin(address)
                .with_context(|| format!("the admin listener cannot have {address}"))?,
        ),
        None => None,
    };
    let _services = match start.demo {
        Some(port_base) => Some(demo::Services::start(port_base).await?),
        None => None,
    };
    let gateway = Arc::new(Gateway::start(start.checked, count)?);
    gateway.know_names().await;
    gateway
        .metrics
        .register(Arc::new(Collector { shared: Arc::clone(&gateway.shared), gate: gate.clone() }));

    let (ended, ends) = channel(count.max(1));
    let mut workers = Vec::with_capacity(count);
    for index in 0..count {
        workers.push(worker::start(index, Arc::clone(&gateway.shared), ended.clone())?);
    }
    listeners.commit(prepared, &workers).await;
    let admin = admin.map(|listener| {
        tokio::spawn(lockgate_admin::serve(listener, Arc::new(handles(Arc::clone(&gateway)))))
    });
    if let Some(port_base) = start.demo {
        crate::cli::say(&demo::hints(port_base));
    }
    let (path, mut watch) = start.file.unzip();
    let mut running = Running { gateway, listeners, workers, path, gate };
    let code = running.serve(&mut signals, &mut watch, ends).await;
    if let Some(admin) = admin {
        admin.abort();
    }
    Ok(code)
}

/// Waits for a change of the files that are watched, if any are.
async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// A connection takes a file descriptor, and one more towards its upstream. The soft limit, 1024 on
/// most systems, is raised as far as the hard one lets it; what is still too little is said.
fn raise_file_limit(max_connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let wanted = 2 * max_connections as u64;
    if let Some(files) = getrlimit(Resource::Nofile).current.filter(|files| *files < wanted) {
        tracing::warn!(
            files,
            max_connections,
            "the system allows fewer open files than `http.max_connections` may need (two each)"
        );
    }
}

/// One worker for each core that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The port is shared with a gateway that drains and is still asked how far it is; one that serves
/// has its listeners, and those are not shared.
fn bind_admin(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(256)
}

fn handles(gateway: Arc<Gateway>) -> Handles {
    let (asked, stored) = (Arc::clone(&gateway), Arc::clone(&gateway));
    let services = Arc::clone(&gateway.services);
    let refusals = Arc::clone(&gateway.services);
    Handles {
        counters: Box::new(move |read| services.counters().map(|memory| read(memory))),
        refusals: Box::new(move || refusals.figures("lockgate_limit_refusals_total")),
        draining: Box::new(move || asked.draining.load(Relaxed)),
        shared: Arc::clone(&gateway.shared),
        blobs: Box::new(move || stored.services.blobs()),
        explain: Box::new(move |asked| {
            explain(&gateway.snapshot(), &gateway.source(), asked, true)
        }),
    }
}

struct Running {
    gateway: Arc<Gateway>,
    listeners: Listeners,
    workers: Vec<WorkerThread>,
    path: Option<PathBuf>,
    gate: Arc<Gate>,
}

impl Running {
    async fn serve(
        &mut self,
        signals: &mut Signals,
        watch: &mut Option<Watch>,
        mut ends: Receiver<usize>,
    ) -> ExitCode {
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Reload => {
                        self.reopen_log();
                        self.reload(watch).await;
                    }
                    Asked::Stop => break,
                },
                () = changed(watch) => self.reload(watch).await,
                worker = ends.recv() => {
                    tracing::error!(?worker, "a worker ended unasked: a bug. The gateway ends");
                    return ExitCode::FAILURE;
                }
            }
        }
        self.drain(signals, ends).await
    }

    /// Reads the file again and puts it in force; what is wrong with it is logged, counted, and
    /// leaves everything as it was.
    async fn reload(&mut self, watch: &mut Option<Watch>) {
        let (Some(path), Some(watch)) = (&self.path, watch) else {
            return tracing::info!("nothing to reload: the configuration is not from a file");
        };
        let begun = Instant::now();
        let checked = match gateway::load_watched(path, watch) {
            Ok(checked) => checked,
            Err(report) => return self.refused(&report.render(false)),
        };
        if !checked.loaded.warnings.is_empty() {
            let report = Report::new(checked.loaded.warnings.clone());
            tracing::warn!("the new configuration is doubtful:\n{}", report.render(false));
        }
        let files = checked.loaded.files.clone();
        let prepared = match self.listeners.prepare(&checked.loaded.document) {
            Ok(prepared) => prepared,
            Err(error) => return self.refused(&format!("{error:#}")),
        };
        match self.gateway.apply(checked).await {
            Err(error) => self.refused(&format!("{error:#}")),
            Ok(applied) => {
                self.listeners.commit(prepared, &self.workers).await;
                watch.keep(&files);
                let took_ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
                let generation = applied.generation;
                let changes = self.gateway.changes(applied);
                tracing::info!(generation, took_ms, changes = changes.len(), "reloaded");
                for change in changes.iter().filter(|change| change.needs_restart.is_some()) {
                    tracing::warn!("{change}");
                }
            }
        }
    }

    fn reopen_log(&self) {
        if let Some(log) = &self.gateway.snapshot().log {
            log.reopen();
        }
    }

    fn refused(&self, why: &str) {
        self.gateway.metrics.reload_refused();
        tracing::error!("the new configuration is refused, the old one stays:\n{why}");
    }

    /// Lets what is under way end: until all workers have, the deadline, or
    /// a second order to stop.
    async fn drain(&mut self, signals: &mut Signals, mut ends: Receiver<usize>) -> ExitCode {
        self.gateway.draining.store(true, Relaxed);
        let limit = self.gateway.snapshot().document.http.drain_timeout.0;
        let deadline = Instant::now() + limit;
        tell(&self.workers, || Command::Drain).await;
        let mut left = self.workers.len();
        let mut progress = interval(Duration::from_secs(1));
        let all = async {
            while left > 0 {
                tokio::select! {
                    _ = ends.recv() => left -= 1,
                    _ = progress.tick() => self.report_drain(deadline),
                    asked = signals.next() => {
                        if asked == Asked::Reload {
                            self.reopen_log();
                            continue;
                        }
                        tracing::warn!("told a second time: ending at once");
                        return false;
                    }
                }
            }
            true
        };
        let whole = timeout_at(deadline, all).await.unwrap_or(false);
        if let Some(log) = &self.gateway.snapshot().log {
            log.close(Duration::from_secs(2));
        }
        let open = self.gate.counters().open.load(Relaxed);
        if whole {
            for worker in self.workers.drain(..) {
                let _ = worker.thread.join();
            }
            tracing::info!("drained");
        } else {
            tracing::warn!(connections = open, "ended before all connections had");
        }
        self.gateway.services.leave().await;
        // What did not end in time is cut; the exit code says so.
        ExitCode::from(u8::from(!whole))
    }

    fn report_drain(&self, deadline: Instant) {
        let open = self.gate.counters().open.load(Relaxed);
        let seconds_left = deadline.saturating_duration_since(Instant::now()).as_secs();
        tracing::info!(connections = open, seconds_left, "draining");
    }
}
