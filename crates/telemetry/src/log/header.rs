//! The request headers that a configuration wants in the log, and how much of each may be shown.

use http::{HeaderMap, HeaderName};

use super::redact;

/// One header to log.
pub(super) struct HeaderChoice {
    pub(super) name: HeaderName,
    secret: bool,
}

impl HeaderChoice {
    /// `None` when it is no header's name.
    pub(super) fn new(name: &str) -> Option<Self> {
        let name: HeaderName = name.parse().ok()?;
        let secret = lockgate_core::is_secret_name(name.as_str().as_bytes());
        Some(Self { name, secret })
    }

    /// Appends all values, escaped; those of a secret header as `[redacted]`.
    pub(super) fn push_values(&self, out: &mut Vec<u8>, sent: &HeaderMap) {
        if self.secret {
            return out.extend_from_slice(redact::REDACTED);
        }
        for (place, value) in sent.get_all(&self.name).iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(b", ");
            }
            redact::push_url(out, value.as_bytes());
        }
    }
}
