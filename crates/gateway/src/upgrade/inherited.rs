//! Sockets that were open before this process began: from the gateway whose place it takes, or
//! from systemd (`sd_listen_fds(3)`).

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context;
use listenfd::ListenFd;

use super::{Handed, VARIABLE, handover};

/// Inherited sockets, until a listener of the configuration takes them.
#[derive(Default)]
pub(crate) struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
    /// The right to what is kept.
    lock: Option<File>,
    /// Where to say that this process serves.
    parent: Option<OwnedFd>,
}

impl Inherited {
    /// Takes what there is to be had.
    ///
    /// # Errors
    /// When this process was started to take over, and is not given what it needs.
    pub(crate) fn take() -> anyhow::Result<Self> {
        if std::env::var_os(VARIABLE).is_some() {
            let parent = std::io::stdin().as_fd().try_clone_to_owned();
            let parent = parent.context("taking over: no standard input")?;
            let Handed { sockets, lock } =
                handover::take(&parent).context("taking over the listening sockets")?;
            return Ok(Self { sockets, lock, parent: Some(parent) });
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
        Ok(Self { sockets, lock: None, parent: None })
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
