//! What can be wrong with TLS settings, said with the file's name.

use std::io;
use std::path::{Path, PathBuf};

/// Why TLS settings cannot be used. Names files, never their content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a file holds cannot be used.
    #[error("{path}: {why}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A key and a certificate are not a pair.
    #[error("{key}: the key does not belong to the certificate in {cert}",
        key = key.display(), cert = cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(String),
    /// The system's certificate store has nothing to trust.
    #[error("no trusted certificates were found on this system ({0}); name a file with `tls.ca`")]
    NoSystemRoots(String),
}

impl TlsError {
    pub(super) fn file(path: &Path, why: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), why: why.into() }
    }
}
