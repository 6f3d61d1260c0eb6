//! Making a connection to an endpoint: TCP, then TLS where it is configured, then the protocol.

use std::sync::Arc;

use lockgate_core::{Fault, Resend, reasons};
use lockgate_net::tls::ClientTls;
use lockgate_net::{h1, h2};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::upstream::Upstream;

/// How the endpoints of one upstream are connected to.
pub(super) struct Connector {
    upstream: Arc<Upstream>,
    h2: h2::Settings,
}

/// A fresh connection, by the protocol it speaks.
pub(super) enum Connected {
    Http1(h1::ClientConnection),
    Http2(h2::Handle),
}

impl Connector {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        let settings = upstream.settings();
        let max_header_size = settings.pool.max_header_size.0;
        let h2 = h2::Settings {
            secure: settings.tls.is_some(),
            max_header_size: u32::try_from(max_header_size).unwrap_or(u32::MAX),
            headers: settings.timeout.headers.0,
            idle: settings.timeout.idle.0,
            ..h2::Settings::default()
        };
        Self { upstream, h2 }
    }

    /// Whether requests may come to share connections. A protocol switch cannot.
    pub(super) fn multiplexes(&self, upgrade: bool) -> bool {
        !upgrade && self.upstream.settings().may_speak_http2()
    }

    /// Connects, within `timeout.connect`.
    ///
    /// # Errors
    /// `upstream_refused`, `upstream_tls`, or `upstream_all_timed_out`; always safe to resend.
    pub(super) async fn connect(
        &self,
        endpoint: &Endpoint,
        upgrade: bool,
    ) -> Result<Connected, Fault> {
        let connecting = self.connect_unbounded(endpoint, upgrade);
        let within = self.upstream.settings().timeout.connect.0;
        if within.is_zero() {
            return connecting.await;
        }
        timeout(within, connecting).await.unwrap_or_else(|_| {
            Err(Fault::upstream(&reasons::UPSTREAM_TIMEOUTS)
                .resend(Resend::Safe)
                .detail(format!("no connection to {} in time", endpoint.label())))
        })
    }

    async fn connect_unbounded(
        &self,
        endpoint: &Endpoint,
        upgrade: bool,
    ) -> Result<Connected, Fault> {
        let refused = |error: std::io::Error| {
            let fault = match is_our_own(&error) {
                true => Fault::gateway(&reasons::OVERLOADED),
                false => Fault::upstream(&reasons::UPSTREAM_REFUSED),
            };
            let detail = format!("no connection to {}", endpoint.label());
            fault.resend(Resend::Safe).detail(detail).source(error)
        };
        let tcp = TcpStream::connect(endpoint.address()).await.map_err(refused)?;
        tcp.set_nodelay(true).map_err(refused)?;
        let multiplexes = self.multiplexes(upgrade);
        let Some(tls) = self.upstream.tls()? else {
            return match multiplexes {
                true => h2::connect(tcp, &self.h2).await.map(Connected::Http2),
                false => Ok(Connected::Http1(h1::ClientConnection::new(tcp))),
            };
        };
        let host = endpoint.host();
        if !multiplexes {
            let stream = tls.connect_http1(tcp, host).await?;
            return Ok(Connected::Http1(h1::ClientConnection::new(stream)));
        }
        let stream = tls.connect(tcp, host).await?;
        if ClientTls::chose_http2(&stream) {
            return h2::connect(stream, &self.h2).await.map(Connected::Http2);
        }
        Ok(Connected::Http1(h1::ClientConnection::new(stream)))
    }
}

/// Whether it is this machine that has run out: of file descriptors (EMFILE 24, ENFILE 23) or of
/// ports to connect from (EADDRNOTAVAIL). The endpoint has nothing to do with it.
pub(crate) fn is_our_own(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
        || error.kind() == std::io::ErrorKind::AddrNotAvailable
}
