//! TLS on both sides: rustls with the aws-lc-rs provider, always named, never process-wide.
//!
//! Serves TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only. Never skips a
//! verification; there is no switch for it.

mod certificate;
mod client;
mod error;
mod files;
mod server;
mod sites;
#[cfg(test)]
pub(crate) mod tests;

pub use client::{ClientStream, ClientTls};
pub use error::TlsError;
pub(crate) use server::chose_h2;
pub use server::{Renewal, ServerStream, ServerTls};
pub use sites::CertificateView;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SupportedProtocolVersion, version};

/// ALPN's names (RFC 7301).
const ALPN_H2: &[u8] = b"h2";
const ALPN_H1: &[u8] = b"http/1.1";

static VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// The one provider. Its default suites are already the intermediate grade: AES-GCM and ChaCha20,
/// and for TLS 1.2 with ECDHE alone; a test holds it to that.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}
