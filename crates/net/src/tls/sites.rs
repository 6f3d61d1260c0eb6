//! The certificates of one listener, and which of them answers for a name.
//!
//! An exact name goes before a wildcard, a wildcard stands for exactly one label, and the first
//! certificate answers whoever asks for none of them, or for nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lockgate_config::model::{ClientAuth, KeyPair, ListenerTls};
use rustls::server::{ClientHello, ProducesTickets, StoresServerSessions};
use rustls::server::{WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, ServerConfig, SignatureScheme};

use super::{ALPN_H1, ALPN_H2, TlsError, VERSIONS, certificate, files, provider};

/// A certificate with the configuration that serves it.
pub(super) struct Site {
    pub(super) config: Arc<ServerConfig>,
    pub(super) names: Arc<[Box<str>]>,
    pub(super) certificate: CertificateView,
    key: Arc<CertifiedKey>,
}

/// A served certificate, for operators.
#[derive(Debug, Clone)]
pub struct CertificateView {
    /// The file that it is read from.
    pub file: PathBuf,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// When it begins, in seconds since 1970.
    pub not_before: i64,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
}

/// All certificates of a listener.
pub(super) struct Sites {
    pub(super) sites: Vec<Site>,
    /// Exact name → places in `sites`: several when one name has keys of several kinds.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// What follows `*.` → places in `sites`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
    pub(super) warnings: Vec<String>,
}

/// What sessions are resumed from. One listener's never serve another's.
#[derive(Clone)]
pub(super) struct Resumption {
    pub(super) tickets: Arc<dyn ProducesTickets>,
    pub(super) sessions: Arc<dyn StoresServerSessions>,
}

impl Sites {
    /// Reads all files.
    pub(super) fn load(tls: &ListenerTls, resumption: &Resumption) -> Result<Self, TlsError> {
        let verifier = client_verifier(tls)?;
        let mut all = Self {
            sites: Vec::with_capacity(tls.certificates.len()),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            warnings: Vec::new(),
        };
        for pair in &tls.certificates {
            all.add(pair, &verifier, resumption)?;
        }
        if all.sites.is_empty() {
            return Err(TlsError::Settings("`tls.certificates` names no certificate".to_owned()));
        }
        Ok(all)
    }

    fn add(
        &mut self,
        pair: &KeyPair,
        verifier: &Arc<dyn ClientCertVerifier>,
        resumption: &Resumption,
    ) -> Result<(), TlsError> {
        let key = Arc::new(load_pair(pair)?);
        let bad = |why: String| TlsError::file(&pair.cert, why);
        let end = key.end_entity_cert().map_err(|error| bad(error.to_string()))?;
        let served = certificate::served(end).map_err(bad)?;
        self.warn(&pair.cert, &served);
        let place = self.sites.len();
        for name in &served.names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, &**name),
            };
            map.entry(name.into()).or_default().push(place);
        }
        let config = configure(key.clone(), verifier.clone(), resumption)?;
        let names = served.names.clone().into();
        let certificate = CertificateView {
            file: pair.cert.clone(),
            names: served.names.iter().map(ToString::to_string).collect(),
            not_before: served.not_before,
            not_after: served.not_after,
        };
        self.sites.push(Site { config: Arc::new(config), names, key, certificate });
        Ok(())
    }

    fn warn(&mut self, path: &Path, served: &certificate::Served) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let path = path.display();
        if served.not_after < now {
            let days = (now - served.not_after) / 86_400;
            self.warnings.push(format!("{path}: the certificate expired {days} days ago"));
        } else if served.not_before > now {
            self.warnings.push(format!("{path}: the certificate is not valid yet"));
        }
        if served.names.is_empty() {
            self.warnings.push(format!("{path}: the certificate bears no name"));
        }
    }

    /// The certificate for a handshake.
    pub(super) fn choose(&self, hello: &ClientHello<'_>) -> Option<&Site> {
        let schemes = hello.signature_schemes();
        hello
            .server_name()
            .and_then(|name| self.named(&name.to_ascii_lowercase(), schemes))
            .or_else(|| self.sites.first())
    }

    fn named(&self, name: &str, schemes: &[SignatureScheme]) -> Option<&Site> {
        let exact = self.exact.get(name);
        let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        let places = exact.or_else(parent)?;
        let mut sites = places.iter().filter_map(|&place| self.sites.get(place));
        let fits = sites.clone().find(|site| site.key.key.choose_scheme(schemes).is_some());
        fits.or_else(|| sites.next())
    }
}

fn load_pair(pair: &KeyPair) -> Result<CertifiedKey, TlsError> {
    let chain = files::read_chain(&pair.cert)?;
    let key = files::read_key(&pair.key)?;
    let signer = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| TlsError::file(&pair.key, format!("not a usable key: {error}")))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { cert: pair.cert.clone(), key: pair.key.clone() })
        }
        Err(error) => Err(TlsError::file(&pair.cert, format!("not a usable certificate: {error}"))),
    }
}

fn configure(
    key: Arc<CertifiedKey>,
    verifier: Arc<dyn ClientCertVerifier>,
    resumption: &Resumption,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| TlsError::Settings(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_H1.to_vec()];
    config.ticketer = resumption.tickets.clone();
    config.session_storage = resumption.sessions.clone();
    Ok(config)
}

fn client_verifier(tls: &ListenerTls) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if tls.client_auth == ClientAuth::Off {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let Some(path) = &tls.client_ca else {
        let why = "`tls.client_auth` needs `tls.client_ca`: the authorities to check against";
        return Err(TlsError::Settings(why.to_owned()));
    };
    let roots = files::read_roots(path)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    if tls.client_auth == ClientAuth::Request {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| TlsError::file(path, error.to_string()))
}
