//! What is known of a client's connection, shared by all of its requests.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Version};

use crate::Lines;

/// A client's connection as the listener saw it.
#[derive(Debug)]
pub struct Connection {
    /// The listener's name in the configuration.
    pub listener: Arc<str>,
    /// The peer's address: of the socket, or from a trusted PROXY protocol header.
    pub peer: SocketAddr,
    /// The address that the peer connected to.
    pub local: SocketAddr,
    /// The TLS session; `None` in plain text.
    pub tls: Option<Tls>,
    /// The worker thread that owns the connection, from 0.
    pub worker: usize,
    /// Its addresses as text, made when first asked for.
    pub texts: Texts,
}

/// What every request of a connection says of it, written out once.
#[derive(Debug, Default)]
pub struct Texts {
    addresses: OnceCell<[HeaderValue; 2]>,
    origin: RefCell<Option<OriginLines>>,
}

/// What upstreams were last told about the way requests come, and of which requests it is true.
#[derive(Debug)]
struct OriginLines {
    host: Option<HeaderValue>,
    version: Version,
    lines: Lines,
}

impl Connection {
    /// The peer's IP address, an IPv4 one in its own form.
    pub fn peer_text(&self) -> &HeaderValue {
        &self.texts()[0]
    }

    /// The port that the peer connected to.
    pub fn port_text(&self) -> &HeaderValue {
        &self.texts()[1]
    }

    /// The lines that tell upstreams how a request with this host and version came, and room for
    /// `more` bytes: those of the last such request, or else what `write` makes. It may depend on
    /// nothing else that differs between requests.
    pub fn origin_lines(
        &self,
        host: Option<&HeaderValue>,
        version: Version,
        more: usize,
        write: impl FnOnce(&mut Lines),
    ) -> Lines {
        let mut last = self.texts.origin.borrow_mut();
        if let Some(last) = &*last
            && last.version == version
            && last.host.as_ref() == host
        {
            return last.lines.with_room(more);
        }
        let mut lines = Lines::default();
        write(&mut lines);
        let fresh = last.insert(OriginLines { host: host.cloned(), version, lines });
        fresh.lines.with_room(more)
    }

    fn texts(&self) -> &[HeaderValue; 2] {
        self.texts.addresses.get_or_init(|| {
            let peer = HeaderValue::try_from(self.peer.ip().to_canonical().to_string());
            [
                // An address is made of visible characters.
                peer.unwrap_or(HeaderValue::from_static("unknown")),
                HeaderValue::from(self.local.port()),
            ]
        })
    }
}

/// What was agreed in a TLS handshake.
#[derive(Debug)]
pub struct Tls {
    /// The server name that the client asked for, in lower case.
    pub sni: Option<Box<str>>,
    /// The protocol version: `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: &'static str,
    /// The DNS names of the certificate that was served, in lower case, wildcards as `*.x`.
    pub names: Arc<[Box<str>]>,
    /// The client's certificate, verified against the listener's `client_ca`.
    pub client: Option<Arc<ClientCertificate>>,
}

impl Tls {
    /// Whether the served certificate speaks for this host (RFC 6125 §6.4.3: a wildcard stands
    /// for exactly one leftmost label). `host` has no port; its case does not matter.
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            None => name.eq_ignore_ascii_case(host),
            Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
                !label.is_empty() && rest.eq_ignore_ascii_case(parent)
            }),
        })
    }
}

/// A client certificate that has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name (RFC 4514 form): to be shown or compared, never to be
    /// taken apart.
    pub subject: Box<str>,
    /// The subject's common name as it is, with nothing escaped, where it has exactly one.
    pub common_name: Option<Box<str>>,
    /// The issuer's distinguished name.
    pub issuer: Box<str>,
    /// The subject alternative names of the kinds that are known, in the certificate's order.
    pub names: Vec<AlternativeName>,
    /// The serial number in hex.
    pub serial: Box<str>,
    /// SHA-256 of the DER form, in hex.
    pub fingerprint: Box<str>,
}

/// A subject alternative name (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlternativeName {
    /// Of a host.
    Dns(Box<str>),
    /// Of a mailbox.
    Email(Box<str>),
    /// A SPIFFE id and the like.
    Uri(Box<str>),
}

impl AlternativeName {
    /// The name itself. Those of two kinds may be the same text, and mean different things.
    pub fn text(&self) -> &str {
        match self {
            Self::Dns(text) | Self::Email(text) | Self::Uri(text) => text,
        }
    }
}
