//! The listeners of the configuration in force. A change is prepared first (sockets bound,
//! certificates read), so that what cannot be done keeps the old configuration whole.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, bail};
use lockgate_config::model::{Document, Listener, Protocol};
use lockgate_net::listen::{Gate, ListenerState, Settings, bind};
use lockgate_net::tls::ServerTls;

use crate::worker::{Command, WorkerThread};

/// What is listening now.
pub(crate) struct Listeners {
    gate: Arc<Gate>,
    workers: usize,
    open: BTreeMap<String, Open>,
}

struct Open {
    address: SocketAddr,
    state: Arc<ListenerState>,
}

/// A change that can no longer fail.
pub(crate) struct Prepared {
    fresh: Vec<(String, SocketAddr, Vec<TcpListener>, Settings)>,
    kept: Vec<(String, Settings)>,
    gone: Vec<String>,
}

impl Listeners {
    /// No listener yet.
    pub(crate) fn new(gate: Arc<Gate>, workers: usize) -> Self {
        Self { gate, workers, open: BTreeMap::new() }
    }

    /// Binds and reads what a document asks for beyond what is open.
    ///
    /// # Errors
    /// Which listener cannot be had, and why.
    pub(crate) fn prepare(&self, document: &Document) -> anyhow::Result<Prepared> {
        let mut prepared = Prepared { fresh: Vec::new(), kept: Vec::new(), gone: Vec::new() };
        for (name, listener) in &document.listeners {
            if listener.protocol != Protocol::Http {
                bail!("listener `{name}`: this version serves `protocol: http` only");
            }
            let open = self.open.get(name).filter(|open| open.address == listener.address);
            let tls = self
                .tls(open, listener)
                .with_context(|| format!("listener `{name}`: its TLS cannot be used"))?;
            let settings = Settings::new(listener, &document.http, &document.trusted_proxies, tls);
            if open.is_some() {
                prepared.kept.push((name.clone(), settings));
                continue;
            }
            let sockets =
                bind(listener, self.workers).with_context(|| format!("listener `{name}`"))?;
            prepared.fresh.push((name.clone(), listener.address, sockets, settings));
        }
        for (name, open) in &self.open {
            let wanted = document.listeners.get(name);
            if wanted.is_none_or(|listener| listener.address != open.address) {
                prepared.gone.push(name.clone());
            }
        }
        Ok(prepared)
    }

    /// A listener whose TLS settings stay keeps its session tickets and reads its files anew.
    fn tls(
        &self,
        open: Option<&Open>,
        listener: &Listener,
    ) -> anyhow::Result<Option<Arc<ServerTls>>> {
        let Some(wanted) = &listener.tls else { return Ok(None) };
        if let Some(tls) = open.and_then(|open| open.state.settings().tls.clone())
            && tls.settings() == wanted
        {
            tls.reload()?;
            return Ok(Some(tls));
        }
        let tls = ServerTls::load(wanted)?;
        for warning in tls.warnings() {
            tracing::warn!("{warning}");
        }
        Ok(Some(Arc::new(tls)))
    }

    /// Carries out a prepared change.
    pub(crate) async fn commit(&mut self, prepared: Prepared, workers: &[WorkerThread]) {
        for name in prepared.gone {
            self.open.remove(&name);
            tell(workers, || Command::Close(name.as_str().into())).await;
            tracing::info!(listener = name, "closed");
        }
        for (name, settings) in prepared.kept {
            if let Some(open) = self.open.get(&name) {
                open.state.replace(settings);
            }
        }
        for (name, address, sockets, settings) in prepared.fresh {
            let secure = settings.tls.is_some();
            let state = ListenerState::new(name.as_str(), settings, Arc::clone(&self.gate));
            for (worker, socket) in workers.iter().zip(sockets) {
                let command = Command::Open(socket, Arc::clone(&state));
                let _ = worker.commands.send(command).await;
            }
            tracing::info!(listener = name, %address, tls = secure, "listening");
            self.open.insert(name, Open { address, state });
        }
    }
}

/// Tells every worker the same. One that has ended has nothing left to be told.
pub(crate) async fn tell(workers: &[WorkerThread], command: impl Fn() -> Command) {
    for worker in workers {
        let _ = worker.commands.send(command()).await;
    }
}
