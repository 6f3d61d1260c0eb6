//! TLS towards upstreams: always verified, against the system's authorities or a named one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use lockgate_config::model::UpstreamTls;
use lockgate_core::{Fault, Resend, reasons};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{ALPN_H1, ALPN_H2, TlsError, VERSIONS, files, provider};

/// A connection to an upstream under TLS.
pub type ClientStream<IO> = tokio_rustls::client::TlsStream<IO>;

/// The TLS of one upstream, shared by all workers; sessions are resumed between them.
pub struct ClientTls {
    connector: TlsConnector,
    /// The same, offering HTTP/1.1 alone: for protocol switches.
    http1: TlsConnector,
    name: Option<ServerName<'static>>,
    /// Of the files that it was read from.
    content: u64,
}

impl ClientTls {
    /// Reads authorities, certificate and key. `http2` offers HTTP/2 first, HTTP/1.1 after it.
    ///
    /// # Errors
    /// What is wrong, and in which file.
    pub fn load(tls: &UpstreamTls, http2: bool) -> Result<Self, TlsError> {
        let http1 = vec![ALPN_H1.to_vec()];
        let first = if http2 { vec![ALPN_H2.to_vec(), ALPN_H1.to_vec()] } else { http1.clone() };
        Self::offering(tls, first, http1)
    }

    /// The same for what is not HTTP: no protocol is offered.
    ///
    /// # Errors
    /// What is wrong, and in which file.
    pub fn load_bare(tls: &UpstreamTls) -> Result<Self, TlsError> {
        Self::offering(tls, Vec::new(), Vec::new())
    }

    fn offering(
        tls: &UpstreamTls,
        first: Vec<Vec<u8>>,
        http1: Vec<Vec<u8>>,
    ) -> Result<Self, TlsError> {
        // Before the rest: what changes in between is then seen as changed.
        let content = content(tls)?;
        let roots = match &tls.ca {
            Some(path) => files::read_roots(path)?,
            None => files::system_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|error| TlsError::Settings(error.to_string()))?
            .with_root_certificates(roots);
        let mut config = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => {
                let chain = files::read_chain(cert)?;
                builder.with_client_auth_cert(chain, files::read_key(key)?).map_err(|error| {
                    match error {
                        rustls::Error::InconsistentKeys(_) => {
                            TlsError::Mismatch { cert: cert.clone(), key: key.clone() }
                        }
                        error => TlsError::file(cert, error.to_string()),
                    }
                })?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => {
                let why = "`tls.cert` and `tls.key` go together: one of them is missing";
                return Err(TlsError::Settings(why.to_owned()));
            }
        };
        config.alpn_protocols = http1;
        let http1 = TlsConnector::from(Arc::new(config.clone()));
        config.alpn_protocols = first;
        let connector = TlsConnector::from(Arc::new(config));
        let name = tls.sni.as_deref().map(server_name).transpose().map_err(TlsError::Settings)?;
        Ok(Self { connector, http1, name, content })
    }

    /// Whether its files are still what they were when it was read from them. Files that cannot be
    /// read are not.
    pub fn is_current(&self, tls: &UpstreamTls) -> bool {
        content(tls).is_ok_and(|content| content == self.content)
    }

    /// Stands for what was in its files: the same for the same.
    pub fn mark(&self) -> u64 {
        self.content
    }

    /// Trusts the authorities of this PEM text and no others. `http2` offers HTTP/2 first, HTTP/1.1
    /// after it.
    ///
    /// # Errors
    /// When the text holds no authority that can be used.
    pub fn trusting(ca: &[u8], http2: bool) -> Result<Self, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(|error| TlsError::Settings(error.to_string()))?
            .with_root_certificates(files::roots(ca).map_err(TlsError::Settings)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_H1.to_vec()];
        let http1 = TlsConnector::from(Arc::new(config.clone()));
        if http2 {
            config.alpn_protocols.insert(0, ALPN_H2.to_vec());
        }
        let connector = TlsConnector::from(Arc::new(config));
        // There are no files that could change.
        Ok(Self { http1, connector, name: None, content: 0 })
    }

    /// Does the handshake. `host` is the endpoint's host, a name or an address, without a port;
    /// the certificate must bear it, unless `tls.sni` names another. The caller bounds the time.
    ///
    /// # Errors
    /// `upstream_tls`, safe to resend: nothing of a request has been sent.
    pub async fn connect<IO>(&self, io: IO, host: &str) -> Result<ClientStream<IO>, Fault>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.shake(&self.connector, io, host).await
    }

    /// [`connect`](Self::connect) without offering HTTP/2.
    ///
    /// # Errors
    /// The same.
    pub async fn connect_http1<IO>(&self, io: IO, host: &str) -> Result<ClientStream<IO>, Fault>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.shake(&self.http1, io, host).await
    }

    async fn shake<IO>(
        &self,
        connector: &TlsConnector,
        io: IO,
        host: &str,
    ) -> Result<ClientStream<IO>, Fault>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let fault = || Fault::upstream(&reasons::UPSTREAM_TLS).resend(Resend::Safe);
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(|why| fault().detail(why))?,
        };
        let shown = name.to_str().into_owned();
        connector
            .connect(name, io)
            .await
            .map_err(|error| fault().detail(format!("no TLS session with `{shown}`")).source(error))
    }

    /// Whether the endpoint chose HTTP/2.
    pub fn chose_http2<IO>(stream: &ClientStream<IO>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(ALPN_H2)
    }
}

/// A hash of all that stands in the files.
fn content(tls: &UpstreamTls) -> Result<u64, TlsError> {
    let mut hasher = DefaultHasher::new();
    for path in [&tls.ca, &tls.cert, &tls.key] {
        path.as_deref().map(files::read).transpose()?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    ServerName::try_from(bare.to_owned())
        .map_err(|_| format!("`{host}` is neither a host name nor an address"))
}
