//! One probe, whatever it speaks: connect, under TLS if the upstream has it, ask, judge. A probe
//! uses a connection of its own, so that it says what a new client would meet.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use lockgate_config::model::{self, HealthKind, Http2Use};
use lockgate_net::tls::ClientTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{ProbeFailure, Says, grpc, http};
use crate::call::is_our_own;
use crate::endpoint::Endpoint;
use crate::upstream::{Secured, Tls};

/// How one upstream's endpoints are probed.
pub(crate) struct Prober {
    settings: model::Health,
    tls: Option<Arc<Tls>>,
    http2: Http2Use,
}

impl Prober {
    pub(crate) fn new(settings: model::Health, tls: Option<Arc<Tls>>, http2: Http2Use) -> Self {
        Self { settings, tls, http2 }
    }

    pub(crate) fn settings(&self) -> &model::Health {
        &self.settings
    }

    /// Asks once, within the timeout.
    pub(super) async fn probe(&self, endpoint: &Endpoint) -> Result<(), ProbeFailure> {
        let limit = self.settings.timeout.0;
        let deadline = Instant::now() + limit;
        let mut address = endpoint.address();
        if let Some(port) = self.settings.port {
            address.set_port(port);
        }
        let late = |doing: &str| format!("{doing} took longer than {}", self.settings.timeout);
        let tcp = match timeout_at(deadline, connect(address)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => {
                let says = if is_our_own(&error) { Says::Nothing } else { Says::Unreachable };
                return Err(ProbeFailure { error: format!("connect: {error}"), says });
            }
            Err(_) => {
                return Err(ProbeFailure { error: late("connecting"), says: Says::Unreachable });
            }
        };
        let asked = timeout_at(deadline, self.ask(endpoint, tcp)).await;
        let result = asked.unwrap_or_else(|_| Err(late("the answer")));
        result.map_err(|error| ProbeFailure { error, says: Says::Unhealthy })
    }

    async fn ask(&self, endpoint: &Endpoint, tcp: TcpStream) -> Result<(), String> {
        let Some(tls) = &self.tls else {
            return self.speak(endpoint, tcp, self.http2 == Http2Use::On, "http").await;
        };
        let tls = Secured::clone(&tls.load())?;
        let stream = tls.connect(tcp, endpoint.host()).await.map_err(|fault| fault.story())?;
        let http2 = ClientTls::chose_http2(&stream);
        self.speak(endpoint, stream, http2, "https").await
    }

    async fn speak<IO>(
        &self,
        endpoint: &Endpoint,
        io: IO,
        http2: bool,
        scheme: &str,
    ) -> Result<(), String>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let host = self.settings.host.as_deref().unwrap_or(endpoint.name());
        match self.settings.kind {
            HealthKind::Tcp => Ok(()),
            HealthKind::Grpc => grpc::ask(TokioIo::new(io), &self.settings, host, scheme).await,
            HealthKind::Http if http2 => {
                http::ask2(TokioIo::new(io), &self.settings, host, scheme).await
            }
            HealthKind::Http => http::ask1(TokioIo::new(io), &self.settings, host).await,
        }
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    // One small request, one small answer: a delay here would only blur the response time.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}
