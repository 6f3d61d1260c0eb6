//! A listener's TLS: handshakes, with certificates that can be changed while connections live.
//!
//! Each certificate has its own rustls configuration and all share the listener's session tickets.
//! Where clients are asked for certificates, a change of files also ends resumption, as a resumed
//! session is not verified again.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lockgate_config::model::{ClientAuth, ListenerTls};
use lockgate_core::Tls;
use rustls::server::{Acceptor, ServerSessionMemoryCache};
use rustls::{CipherSuite, ProtocolVersion, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;

use super::sites::{CertificateView, Resumption, Sites};
use super::{ALPN_H2, TlsError, certificate};

/// A client's connection under TLS.
pub type ServerStream<IO> = tokio_rustls::server::TlsStream<IO>;

/// Sessions kept for clients that resume by id and not by ticket.
const SESSIONS: usize = 1024;

/// The TLS of one listener, shared by all workers.
pub struct ServerTls {
    settings: ListenerTls,
    sites: ArcSwap<Sites>,
    resumption: ArcSwap<Resumption>,
}

/// What the files of a [`ServerTls`] hold now, read and checked.
pub struct Renewal {
    sites: Arc<Sites>,
    resumption: Arc<Resumption>,
}

impl ServerTls {
    /// Reads certificates, keys and authorities.
    ///
    /// # Errors
    /// What is wrong, and in which file.
    pub fn load(settings: &ListenerTls) -> Result<Self, TlsError> {
        let resumption = fresh_resumption()?;
        let sites = Sites::load(settings, &resumption)?;
        Ok(Self {
            settings: settings.clone(),
            sites: ArcSwap::from_pointee(sites),
            resumption: ArcSwap::from_pointee(resumption),
        })
    }

    /// Reads the files again, for [`ServerTls::renew`].
    ///
    /// # Errors
    /// What is wrong.
    pub fn read_again(&self) -> Result<Renewal, TlsError> {
        let resumption = match self.settings.client_auth {
            ClientAuth::Off => self.resumption.load_full(),
            ClientAuth::Request | ClientAuth::Require => Arc::new(fresh_resumption()?),
        };
        let sites = Sites::load(&self.settings, &resumption)?;
        Ok(Renewal { sites: Arc::new(sites), resumption })
    }

    /// Handshakes from now on see what was read. Open connections stay.
    pub fn renew(&self, renewal: Renewal) {
        self.resumption.store(renewal.resumption);
        self.sites.store(renewal.sites);
    }

    /// What it was loaded from.
    pub fn settings(&self) -> &ListenerTls {
        &self.settings
    }

    /// What is usable but should be looked at, such as an expired certificate.
    pub fn warnings(&self) -> Vec<String> {
        self.sites.load().warnings.clone()
    }

    /// The certificates that are served.
    pub fn certificates(&self) -> Vec<CertificateView> {
        self.sites.load().sites.iter().map(|site| site.certificate.clone()).collect()
    }

    /// Does the handshake. The caller bounds its time.
    ///
    /// # Errors
    /// Why there is no session; the client has been told by an alert where that is possible.
    pub async fn accept<IO>(&self, io: IO) -> io::Result<(ServerStream<IO>, Tls)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let (config, names) = {
            let sites = self.sites.load();
            let hello = start.client_hello();
            let site = sites.choose(&hello).ok_or(io::ErrorKind::NotFound)?;
            (site.config.clone(), site.names.clone())
        };
        let stream = start.into_stream(config).await?;
        let tls = describe(stream.get_ref().1, names);
        Ok((stream, tls))
    }
}

/// Whether the client chose HTTP/2.
pub(crate) fn chose_h2<IO>(stream: &ServerStream<IO>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ALPN_H2)
}

fn fresh_resumption() -> Result<Resumption, TlsError> {
    let tickets = rustls::crypto::aws_lc_rs::Ticketer::new()
        .map_err(|error| TlsError::Settings(format!("no keys for session tickets: {error}")))?;
    Ok(Resumption { tickets, sessions: ServerSessionMemoryCache::new(SESSIONS) })
}

fn describe(session: &ServerConnection, names: Arc<[Box<str>]>) -> Tls {
    let peer = session.peer_certificates().and_then(|chain| chain.first());
    Tls {
        sni: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        },
        cipher: session.negotiated_cipher_suite().map_or("unknown", |s| iana_name(s.suite())),
        names,
        client: peer.and_then(certificate::client).map(Arc::new),
    }
}

/// rustls names the suites of TLS 1.3 in its own way.
fn iana_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}
