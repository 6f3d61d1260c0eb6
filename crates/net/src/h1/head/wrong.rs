//! What can be wrong with a message, before it is known whose message it is.

use lockgate_core::{Fault, Resend, reasons};

/// Why a message is refused. The texts are for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Its framing or syntax is broken or ambiguous.
    Framing(&'static str),
    /// The Host is missing, repeated or malformed.
    Host(&'static str),
    /// The request target is malformed.
    Target(&'static str),
    /// The request target is too long.
    LongTarget,
    /// The head has too many bytes.
    LargeHead,
    /// The head has too many lines.
    ManyHeaders,
    /// A transfer coding or method that is not served.
    Unserved(&'static str),
    /// An HTTP version that is not spoken.
    Version,
    /// An expectation that cannot be met.
    Expectation,
}

impl Wrong {
    /// As the fault of a client that sent it.
    pub fn by_client(self) -> Fault {
        let (reason, detail) = match self {
            Self::Framing(what) => (&reasons::BAD_REQUEST_FRAMING, what),
            Self::Host(what) => (&reasons::BAD_HOST, what),
            Self::Target(what) => (&reasons::BAD_TARGET, what),
            Self::LongTarget => (&reasons::URI_TOO_LONG, "the target is too long"),
            Self::LargeHead => (&reasons::HEADERS_TOO_LARGE, "the head is too large"),
            Self::ManyHeaders => (&reasons::HEADERS_TOO_LARGE, "too many headers"),
            Self::Unserved(what) => (&reasons::NOT_IMPLEMENTED, what),
            Self::Version => (&reasons::VERSION_NOT_SUPPORTED, "neither HTTP/1.0 nor 1.1"),
            Self::Expectation => (&reasons::EXPECTATION_FAILED, "not 100-continue"),
        };
        Fault::client(reason).detail(detail)
    }

    /// As the fault of an upstream that answered so.
    pub fn by_upstream(self) -> Fault {
        let detail = match self {
            Self::Framing(what) | Self::Host(what) | Self::Target(what) | Self::Unserved(what) => {
                what
            }
            Self::LongTarget | Self::LargeHead => "the head is too large",
            Self::ManyHeaders => "too many headers",
            Self::Version => "neither HTTP/1.0 nor 1.1",
            Self::Expectation => "an expectation",
        };
        Fault::upstream(&reasons::UPSTREAM_BAD_ANSWER).detail(detail).resend(Resend::IfIdempotent)
    }
}
