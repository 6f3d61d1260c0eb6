//! The start of a gateway: everything that is needed is had before the first request is taken.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Context;
use lockgate_admin::{Handles, Pages, Serving};
use lockgate_core::Clock;
use lockgate_monitor::{Monitor, Outfit};
use lockgate_net::listen::Gate;
use lockgate_telemetry::Collect;
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{Receiver, channel};

use crate::change::{self, Cause};
use crate::collect::{self, Collector};
use crate::demo;
use crate::explain::{explain, explain_pattern};
use crate::gateway::{Checked, Gateway};
use crate::kept::{Kept, Overrides, Right, Versions};
use crate::listeners::Listeners;
use crate::orders::{self, Orders};
use crate::priority::{self, Starter};
use crate::rest::Rest;
use crate::running::Running;
use crate::sight::Seen;
use crate::signals::Signals;
use crate::source::{Source, Status};
use crate::systemd::Systemd;
use crate::upgrade::{self, Inherited, Program};
use crate::worker::{self, WorkerThread};

/// How long the end of the process waits until the history is written.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

/// What to run.
pub(crate) struct Start {
    /// The first configuration.
    pub(crate) checked: Checked,
    /// What outlives the process; the changes in it are part of `checked`.
    pub(crate) kept: Kept,
    /// What was open before this process began.
    pub(crate) inherited: Inherited,
    /// Where it comes from, to be read again on a change; `None` when it is built in.
    pub(crate) source: Option<Source>,
    /// Run the demo's services too, on the ports after this one.
    pub(crate) demo: Option<u16>,
}

/// Runs a gateway until it is told to stop. The exit code says how that went.
///
/// # Errors
/// What kept it from starting.
pub(crate) fn run(start: Start) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the control runtime")?;
    runtime.block_on(live(start))
}

async fn live(mut start: Start) -> anyhow::Result<ExitCode> {
    let program = Program::current().context("asking for this program")?;
    let mut signals = Signals::listen().context("listening to signals")?;
    raise_file_limit(start.checked.loaded.document.http.max_connections);
    let document = &start.checked.loaded.document;
    let count = document.workers.unwrap_or_else(cores);
    let gate = Gate::new();
    let mut listeners = Listeners::new(Arc::clone(&gate), count, start.inherited);
    let prepared = listeners.prepare(document)?;
    let admin = document.admin.address.map(|address| admin_socket(address, &mut listeners));
    let admin = admin.transpose()?;
    let _services = match start.demo {
        Some(port) => Some(demo::Services::start(Ipv4Addr::LOCALHOST.into(), port).await?),
        None => None,
    };
    let files = start.checked.loaded.files.clone();
    change::settle_at_start(&mut start.kept, &start.checked);
    let gateway = Arc::new(Gateway::start(start.checked, count, program.starter())?);
    let mut source = begun_with(start.source, &gateway, &files).await;
    gateway.know_names().await;
    collect(&gateway, &gate, &listeners);
    let (workers, ends) = workers(&gateway, count)?;
    priority::step_back();
    let (orders, ordered) = orders::orders();
    let monitor = monitor(&gateway, &listeners, program.starter(), start.kept.directory());
    let monitoring = tokio::spawn(Arc::clone(&monitor).run());
    let (seen, versions) = (Arc::clone(&monitor), Arc::clone(&start.kept.versions));
    let status = source.as_ref().map(Source::status);
    let right = Arc::clone(start.kept.right());
    let overrides = Arc::clone(&start.kept.overrides);
    let asked = Asked { orders, monitor: seen, versions, right, source: status, overrides };
    let handles = handles(Arc::clone(&gateway), asked, &listeners, Arc::clone(&gate));
    let admin_again = admin.as_ref().map(once_more).transpose().context("the admin listener")?;
    let pages = Pages::start(handles);
    let _ = gateway.services.pages.set(pages.clone());
    let inherited = listeners.take_inherited();
    upgrade::come_up(&inherited, &gateway, &start.kept.overrides).await?;
    listeners.commit(prepared, &workers).await;
    let admin = admin.map(|(_, socket)| Serving::start(socket, pages));
    inherited.serving()?;
    start.kept.overrides.begin(&gateway.snapshot().upstreams);
    let systemd = Systemd::ready();
    if let Some(port_base) = start.demo {
        crate::cli::say(&demo::hints(port_base));
    }
    let mut running = Running {
        gateway,
        listeners,
        workers,
        kept: start.kept,
        gate,
        admin,
        admin_again,
        program,
        ordered,
        apart: VecDeque::new(),
        is_due: false,
        successor: None,
        rest: Rest::default(),
        state: upgrade::State::Serving,
        systemd,
    };
    running.remember(1, Cause { via: "start", who: "" }, Vec::new());
    let code = running.serve(&mut signals, &mut source, ends).await;
    last_words(&monitor, monitoring).await;
    Ok(code)
}

/// Has the metrics tell of workers and listeners too.
fn collect(gateway: &Gateway, gate: &Arc<Gate>, listeners: &Listeners) {
    gateway.metrics.register(Arc::new(Collector {
        shared: Arc::clone(&gateway.shared),
        gate: Arc::clone(gate),
        listeners: listeners.view(),
    }));
}

/// Notes that what the source gave is in force, on the disk too.
async fn begun_with(
    source: Option<Source>,
    gateway: &Gateway,
    files: &[PathBuf],
) -> Option<Source> {
    let mut source = source?;
    gateway.metrics.register(source.status());
    if source.status().is_refused() {
        gateway.metrics.reload_refused();
    }
    source.in_force(files);
    source.kept().await;
    Some(source)
}

/// The threads that serve, and where each tells of its end.
fn workers(
    gateway: &Gateway,
    count: usize,
) -> anyhow::Result<(Vec<WorkerThread>, Receiver<usize>)> {
    let (ended, ends) = channel(count.max(1));
    let start = |index| worker::start(index, Arc::clone(&gateway.shared), ended.clone());
    let workers: Result<Vec<_>, _> = (0..count).map(start).collect();
    Ok((workers?, ends))
}

/// A socket once more, to be handed to a successor.
fn once_more(
    (address, socket): &(SocketAddr, tokio::net::TcpListener),
) -> std::io::Result<(SocketAddr, std::net::TcpListener)> {
    Ok((*address, socket.as_fd().try_clone_to_owned()?.into()))
}

/// Waits until the history is written, but not for a disk that hangs.
async fn last_words(monitor: &Monitor, monitoring: tokio::task::JoinHandle<()>) {
    monitor.stop();
    if tokio::time::timeout(LAST_WORDS, monitoring).await.is_err() {
        tracing::warn!("the history could not be written to its end");
    }
}

/// What looks at all of it. Its figures are in the metrics.
fn monitor(
    gateway: &Arc<Gateway>,
    listeners: &Listeners,
    starter: Starter,
    directory: Option<PathBuf>,
) -> Arc<Monitor> {
    let monitor = Monitor::new(Outfit {
        sight: Box::new(Seen { gateway: Arc::clone(gateway), listeners: listeners.view() }),
        outbound: gateway.services.outbound(),
        spawn: Arc::new(move |command| starter.spawn(command)),
        clock: Clock::system(),
        directory,
        published: Arc::clone(&gateway.services.published),
    });
    gateway.metrics.register(Arc::clone(&monitor) as Arc<dyn Collect>);
    monitor
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

/// The socket of the gateway whose place this one takes, or one of its own; and its address.
fn admin_socket(
    address: SocketAddr,
    listeners: &mut Listeners,
) -> anyhow::Result<(SocketAddr, tokio::net::TcpListener)> {
    let socket = match listeners.inherited(address) {
        Ok(Some(socket)) => tokio::net::TcpListener::from_std(socket),
        Ok(None) => bind_admin(address),
        Err(error) => Err(error),
    };
    let socket = socket.with_context(|| format!("the admin listener cannot have {address}"))?;
    Ok((address, socket))
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

/// What the admin pages ask beside the gateway itself.
struct Asked {
    orders: Orders,
    monitor: Arc<Monitor>,
    versions: Arc<Versions>,
    right: Arc<Right>,
    source: Option<Arc<Status>>,
    overrides: Arc<Overrides>,
}

fn handles(
    gateway: Arc<Gateway>,
    Asked { orders, monitor, versions, right, source, overrides }: Asked,
    listeners: &Listeners,
    gate: Arc<Gate>,
) -> Handles {
    let (view, certified) = (listeners.view(), listeners.view());
    let (shown, written, changed) =
        (Arc::clone(&gateway), Arc::clone(&gateway), Arc::clone(&gateway));
    let (asked, stored) = (Arc::clone(&gateway), Arc::clone(&gateway));
    let (routed, steered) = (Arc::clone(&gateway), Arc::clone(&gateway));
    let services = Arc::clone(&gateway.services);
    let refusals = Arc::clone(&gateway.services);
    let shared = Arc::clone(&gateway.services);
    Handles {
        counters: Box::new(move |read| services.counters().map(|memory| read(memory))),
        redis_counters: Box::new(move || shared.redis_counters()),
        refusals: Box::new(move || refusals.figures("lockgate_limit_refusals_total")),
        monitor,
        config: Arc::new(move || shown.shown()),
        written: Arc::new(move || lockgate_config::effective(&written.read().source)),
        changes: Arc::new(move || changed.changed()),
        versions,
        no_changes: Box::new(move || right.why_not().map(|why| why.to_string())),
        connections: Box::new(move || collect::connections(&gate, &view.load())),
        certificates: Box::new(move || collect::certificates(&certified.load())),
        history: lockgate_admin::History::default(),
        listening: std::sync::atomic::AtomicUsize::new(0),
        sessions: lockgate_admin::Sessions::default(),
        order: Box::new(move |order| orders.give(order)),
        steer: Arc::new(move |service, order| {
            overrides.order(&steered.snapshot().upstreams, service, order)
        }),
        draining: Box::new(move || asked.draining.load(Relaxed)),
        source: Box::new(move || match &source {
            Some(source) => source.shown(),
            None => serde_json::json!({ "kind": "built in" }),
        }),
        shared: Arc::clone(&gateway.shared),
        blobs: Box::new(move || stored.services.blobs()),
        explain_pattern: Arc::new(move |pattern| {
            explain_pattern(&routed.snapshot(), &routed.read().source, pattern)
        }),
        explain: Arc::new(move |asked| {
            explain(&gateway.snapshot(), &gateway.read().source, asked, true)
        }),
    }
}
