//! The listeners of the configuration in force. A change is prepared first (sockets bound,
//! certificates read), so that what cannot be done keeps the old configuration whole.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use lockgate_config::model::{Document, Listener, Protocol};
use lockgate_net::listen::{Gate, ListenerState, Settings, bind};
use lockgate_net::tls::{Renewal, ServerTls};

use crate::upgrade::Inherited;
use crate::worker::{Command, WorkerThread};

/// What is listening now.
pub(crate) struct Listeners {
    gate: Arc<Gate>,
    workers: usize,
    open: Vec<Open>,
    /// Those that are open, for operators.
    view: Arc<ArcSwap<Vec<Arc<ListenerState>>>>,
    /// Sockets that were there before the process.
    inherited: Inherited,
}

struct Open {
    address: SocketAddr,
    state: Arc<ListenerState>,
    /// The workers' sockets once more, to be handed to a successor.
    sockets: Vec<TcpListener>,
}

/// A change that can no longer fail.
#[derive(Default)]
pub(crate) struct Prepared {
    fresh: Vec<(SocketAddr, Vec<TcpListener>, Settings)>,
    kept: Vec<(Arc<ListenerState>, Settings)>,
    renewals: Vec<(Arc<ServerTls>, Renewal)>,
}

impl Listeners {
    /// No listener yet.
    pub(crate) fn new(gate: Arc<Gate>, workers: usize, inherited: Inherited) -> Self {
        Self { gate, workers, open: Vec::new(), view: Arc::default(), inherited }
    }

    /// Those that are open, at any time.
    pub(crate) fn view(&self) -> Arc<ArcSwap<Vec<Arc<ListenerState>>>> {
        Arc::clone(&self.view)
    }

    /// The one socket that was inherited for an address, if there is one.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) fn inherited(
        &mut self,
        address: SocketAddr,
    ) -> std::io::Result<Option<TcpListener>> {
        Ok(self.inherited.listener(address, 1)?.pop())
    }

    /// What was inherited and not taken by a listener.
    pub(crate) fn take_inherited(&mut self) -> Inherited {
        std::mem::take(&mut self.inherited)
    }

    /// All sockets once more, each with its listener's address in the configuration.
    ///
    /// # Errors
    /// When the system gives no more file descriptors.
    pub(crate) fn sockets(&self) -> std::io::Result<Vec<(SocketAddr, TcpListener)>> {
        let sockets = self.open.iter().flat_map(|open| {
            open.sockets.iter().map(|socket| Ok((open.address, socket.try_clone()?)))
        });
        sockets.collect()
    }

    /// Forgets all listeners, so that their sockets close when the workers let go of them.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }

    /// Binds and reads what a document asks for beyond what is open. A listener is known by its
    /// address, so that another name makes no other of it.
    ///
    /// # Errors
    /// Which listener cannot be had, and why.
    pub(crate) fn prepare(&mut self, document: &Document) -> anyhow::Result<Prepared> {
        let mut prepared = Prepared::default();
        for (name, listener) in &document.listeners {
            if listener.protocol != Protocol::Http {
                bail!("listener `{name}`: this version serves `protocol: http` only");
            }
            let open = self.open.iter().find(|open| {
                // Those on a free port of the system's choice are told apart by name.
                open.address == listener.address
                    && (open.address.port() != 0 || *open.state.settings().name == **name)
            });
            let tls = tls(open, listener, &mut prepared.renewals)
                .with_context(|| format!("listener `{name}`: its TLS cannot be used"))?;
            let (http, trusted) = (&document.http, &document.trusted_proxies);
            let settings = Settings::new(name, listener, http, trusted, tls);
            if let Some(open) = open {
                prepared.kept.push((Arc::clone(&open.state), settings));
                continue;
            }
            let inherited = self.inherited.listener(listener.address, self.workers);
            let inherited = inherited.with_context(|| format!("listener `{name}`"))?;
            if !inherited.is_empty() {
                prepared.fresh.push((listener.address, inherited, settings));
                continue;
            }
            let port = listener.address.port();
            let held = self.open.iter().any(|open| open.address.port() == port);
            let sockets =
                bind(listener, self.workers, held).with_context(|| format!("listener `{name}`"))?;
            prepared.fresh.push((listener.address, sockets, settings));
        }
        Ok(prepared)
    }

    /// Carries out a prepared change.
    pub(crate) async fn commit(&mut self, prepared: Prepared, workers: &[WorkerThread]) {
        let Prepared { fresh, kept, renewals } = prepared;
        let stays = |open: &Open| kept.iter().any(|(state, _)| Arc::ptr_eq(state, &open.state));
        let (stay, gone) = std::mem::take(&mut self.open).into_iter().partition(stays);
        self.open = stay;
        let gone: Vec<Open> = gone;
        for Open { address, state, .. } in gone {
            tell(workers, || Command::Close(Arc::clone(&state))).await;
            tracing::info!(listener = %state.settings().name, %address, "closed");
        }
        for (tls, renewal) in renewals {
            tls.renew(renewal);
        }
        for (state, settings) in kept {
            state.replace(settings);
        }
        for (address, sockets, settings) in fresh {
            let (name, secure) = (Arc::clone(&settings.name), settings.tls.is_some());
            let state = ListenerState::new(settings, Arc::clone(&self.gate));
            let again = sockets.iter().filter_map(|socket| socket.try_clone().ok()).collect();
            // There may be more of them than workers, where there were more workers before.
            for (worker, socket) in workers.iter().cycle().zip(sockets) {
                let command = Command::Open(socket, Arc::clone(&state));
                let _ = worker.commands.send(command).await;
            }
            tracing::info!(listener = %name, %address, tls = secure, "listening");
            self.open.push(Open { address, state, sockets: again });
        }
        let open = self.open.iter().map(|open| Arc::clone(&open.state)).collect();
        self.view.store(Arc::new(open));
    }
}

/// A listener whose TLS settings stay keeps its session tickets and reads its files anew.
fn tls(
    open: Option<&Open>,
    listener: &Listener,
    renewals: &mut Vec<(Arc<ServerTls>, Renewal)>,
) -> anyhow::Result<Option<Arc<ServerTls>>> {
    let Some(wanted) = &listener.tls else { return Ok(None) };
    if let Some(tls) = open.and_then(|open| open.state.settings().tls.clone())
        && tls.settings() == wanted
    {
        renewals.push((Arc::clone(&tls), tls.read_again()?));
        return Ok(Some(tls));
    }
    let tls = ServerTls::load(wanted)?;
    for warning in tls.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(Some(Arc::new(tls)))
}

/// Tells every worker the same. One that has ended has nothing left to be told.
pub(crate) async fn tell(workers: &[WorkerThread], command: impl Fn() -> Command) {
    for worker in workers {
        let _ = worker.commands.send(command()).await;
    }
}
