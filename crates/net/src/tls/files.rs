//! PEM files: certificates, keys and authorities, read with a size limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::RootCertStore;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// Enough for the largest bundle of authorities; more is not a PEM file.
const LARGEST: u64 = 4 * 1024 * 1024;

pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    chain(&read(path)?).map_err(|why| TlsError::file(path, why))
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = chain.map_err(|error| format!("not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("no certificate in it (PEM block `CERTIFICATE`)".to_owned());
    }
    Ok(chain)
}

pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        PemError::NoItemsFound if contains(&text, b"ENCRYPTED PRIVATE KEY") => {
            TlsError::file(path, "the key is encrypted with a passphrase; store it without")
        }
        PemError::NoItemsFound => {
            TlsError::file(path, "no private key in it (PEM block `PRIVATE KEY`)")
        }
        error => TlsError::file(path, format!("not PEM: {error}")),
    })
}

/// The authorities of a PEM file.
pub(super) fn read_roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    roots(&read(path)?).map_err(|why| TlsError::file(path, why))
}

/// The authorities of a PEM text.
pub(super) fn roots(text: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(text)? {
        roots.add(certificate).map_err(|error| format!("not a usable authority: {error}"))?;
    }
    Ok(Arc::new(roots))
}

/// What this system trusts; looked up once in a process.
pub(super) fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: LazyLock<Result<Arc<RootCertStore>, String>> = LazyLock::new(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Single odd certificates are common in such stores and harmless to leave out.
        roots.add_parsable_certificates(found.certs);
        if !roots.is_empty() {
            return Ok(Arc::new(roots));
        }
        let why: Vec<_> = found.errors.iter().take(3).map(ToString::to_string).collect();
        Err(if why.is_empty() { "the store is empty".to_owned() } else { why.join("; ") })
    });
    ROOTS.clone().map_err(TlsError::NoSystemRoots)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let wrong = |source: io::Error| TlsError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    File::open(path).map_err(wrong)?.take(LARGEST + 1).read_to_end(&mut content).map_err(wrong)?;
    if content.len() as u64 > LARGEST {
        return Err(TlsError::file(path, "larger than any PEM file should be"));
    }
    Ok(content)
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}
