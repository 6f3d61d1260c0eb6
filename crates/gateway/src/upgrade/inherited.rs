//! Sockets that were open before this process began: from the gateway whose place it takes, or
//! from systemd (`sd_listen_fds(3)`).

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context;
use listenfd::ListenFd;

use super::{Handed, SILENT, VARIABLE, handover};

/// Inherited sockets, until a listener of the configuration takes them.
#[derive(Default)]
pub(crate) struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
    /// The right to what is kept.
    lock: Option<File>,
    /// Where to say that this process serves.
    parent: Option<OwnedFd>,
    /// Whether it can be asked there what is known.
    can_ask: bool,
}

impl Inherited {
    /// Takes what there is to be had.
    ///
    /// # Errors
    /// When this process was started to take over, and is not given what it needs.
    pub(crate) fn take() -> anyhow::Result<Self> {
        if let Some(version) = std::env::var_os(VARIABLE) {
            let parent = std::io::stdin().as_fd().try_clone_to_owned();
            let parent = parent.context("taking over: no standard input")?;
            let Handed { sockets, lock } =
                handover::take(&parent).context("taking over the listening sockets")?;
            let can_ask = version != SILENT;
            return Ok(Self { sockets, lock, parent: Some(parent), can_ask });
        }
        let mut activated = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..activated.len() {
            let socket = activated.take_tcp_listener(index);
            let socket = socket.context("a socket from systemd is no listening TCP socket")?;
            if let Some(socket) = socket {
                sockets.push((socket.local_addr().context("a socket from systemd")?, socket));
            }
        }
        Ok(Self { sockets, ..Self::default() })
    }

    /// Whether this process takes the place of a gateway that serves.
    pub(crate) fn is_successor(&self) -> bool {
        self.parent.is_some()
    }

    /// The right to what is kept, where it was handed over.
    pub(crate) fn lock(&mut self) -> Option<File> {
        self.lock.take()
    }

    /// The sockets of one listener, at least `workers` of them, or none.
    ///
    /// # Errors
    /// When the system gives no file descriptor for another worker.
    pub(crate) fn listener(
        &mut self,
        address: SocketAddr,
        workers: usize,
    ) -> std::io::Result<Vec<TcpListener>> {
        let all = std::mem::take(&mut self.sockets);
        let (mut own, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(own, _)| *own == address);
        self.sockets = others;
        // Workers that have none share one: its queue is then served by both.
        for index in 0..workers.saturating_sub(own.len()) {
            if let Some((address, socket)) = own.get(index) {
                let shared = (*address, socket.try_clone()?);
                own.push(shared);
            }
        }
        own.iter().try_for_each(|(_, socket)| socket.set_nonblocking(true))?;
        Ok(own.into_iter().map(|(_, socket)| socket).collect())
    }

    /// What that process knows, if it can be asked. It takes no more orders after the `last` time.
    ///
    /// # Errors
    /// When it has gone, or does not answer.
    pub(super) fn ask_known(&self, last: bool) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(parent) = self.parent.as_ref().filter(|_| self.can_ask) else { return Ok(None) };
        let known = handover::ask_known(parent, last);
        known.map(Some).context("asking what the gateway knows whose place this one takes")
    }

    /// Tells that process why this one does not serve yet.
    ///
    /// # Errors
    /// When it has gone.
    pub(super) fn say_waiting(&self, why: &str) -> anyhow::Result<()> {
        let Some(parent) = self.parent.as_ref().filter(|_| self.can_ask) else { return Ok(()) };
        handover::say_waiting(parent, why)
            .context("the gateway whose place this one takes has gone")
    }

    /// Says that this process serves, to whoever waits for it; what no listener has taken is let
    /// go.
    ///
    /// # Errors
    /// When the process whose place it takes has gone or given up: then it must not serve beside
    /// what may have been started instead.
    pub(crate) fn serving(self) -> anyhow::Result<()> {
        for (address, _) in &self.sockets {
            tracing::warn!(%address, "an inherited socket belongs to no listener, and is closed");
        }
        match self.parent {
            Some(parent) => handover::say_serving(&parent)
                .context("the gateway whose place this one takes does not wait any more"),
            None => Ok(()),
        }
    }
}
