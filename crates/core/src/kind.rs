//! The closed table of error kinds: one row for each way an answer can say "no".
//!
//! A [`Reason`](crate::Reason) names the cause; its kind decides the status, the gRPC code, the
//! public sentence and whether the connection survives. Plugins add reasons, never rows.

use http::StatusCode;

/// One row of the error table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request cannot be read or is ambiguous; the connection closes (RFC 9112 §6.3).
    BadRequest,
    /// The request is well framed, but what it says is not acceptable.
    InvalidRequest,
    /// No credentials (RFC 9110 §15.5.2).
    Unauthenticated,
    /// Not allowed: credentials that do not suffice, or none that could (RFC 9110 §15.5.4).
    Forbidden,
    /// Nothing answers here (RFC 9110 §15.5.5).
    NotFound,
    /// The path exists, the method does not (RFC 9110 §15.5.6).
    MethodNotAllowed,
    /// The client took too long to send its request (RFC 9110 §15.5.9).
    RequestTimeout,
    /// Another request is in the way (RFC 9110 §15.5.10).
    Conflict,
    /// The body is larger than allowed; the connection closes (RFC 9110 §15.5.14).
    TooLarge,
    /// The target is longer than allowed; the connection closes (RFC 9110 §15.5.15).
    UriTooLong,
    /// The content's type is not accepted (RFC 9110 §15.5.16).
    UnsupportedMedia,
    /// The expectation is not one that can be met (RFC 9110 §15.5.18).
    ExpectationFailed,
    /// The host is not served on this connection (RFC 9110 §15.5.20).
    Misdirected,
    /// Understood, but not valid (RFC 9110 §15.5.21).
    Unprocessable,
    /// Too many requests (RFC 6585 §4).
    TooManyRequests,
    /// The head is larger than allowed; the connection closes (RFC 6585 §5).
    HeadersTooLarge,
    /// The client went away before an answer; never sent, only logged.
    ClientClosed,
    /// A fault of the gateway itself.
    Internal,
    /// A method, coding or expectation that this gateway does not implement.
    NotImplemented,
    /// The upstream's answer cannot be used (RFC 9110 §15.6.3).
    BadGateway,
    /// Nothing can serve this now (RFC 9110 §15.6.4).
    Unavailable,
    /// The upstream did not answer in time (RFC 9110 §15.6.5).
    GatewayTimeout,
    /// The HTTP version is not spoken here (RFC 9110 §15.6.6).
    VersionNotSupported,
}

/// What a [`Kind`] means on the wire.
struct Row {
    status: u16,
    grpc: u8,
    sentence: &'static str,
    close: bool,
}

impl Kind {
    /// The HTTP status; 499 for a client that went away.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The gRPC status code (0 to 16), as gRPC's own table maps HTTP to gRPC.
    pub fn grpc(self) -> u8 {
        self.row().grpc
    }

    /// A sentence that may be shown to anybody: it names no host, no path and no configuration.
    pub fn sentence(self) -> &'static str {
        self.row().sentence
    }

    /// Whether an HTTP/1.1 connection is closed after this answer, as its framing is in doubt.
    pub fn closes(self) -> bool {
        self.row().close
    }

    #[rustfmt::skip]
    fn row(self) -> Row {
        let (status, grpc, close, sentence) = match self {
            Self::BadRequest => (400, 3, true, "The request could not be read."),
            Self::InvalidRequest => (400, 3, false, "The request is not valid."),
            Self::Unauthenticated => (401, 16, false, "This needs credentials."),
            Self::Forbidden => (403, 7, false, "This is not allowed."),
            Self::NotFound => (404, 5, false, "Nothing is served here."),
            Self::MethodNotAllowed => (405, 12, false, "This method is not served here."),
            Self::RequestTimeout => (408, 4, true, "The request took too long to arrive."),
            Self::Conflict => (409, 10, false, "Another request is in the way of this one."),
            Self::TooLarge => (413, 8, true, "The request's body is too large."),
            Self::UriTooLong => (414, 3, true, "The request's target is too long."),
            Self::UnsupportedMedia => (415, 3, false, "This type of content is not accepted."),
            Self::ExpectationFailed => (417, 3, true, "The expectation cannot be met."),
            Self::Misdirected => (421, 5, false, "This host is not served on this connection."),
            Self::Unprocessable => (422, 3, false, "The request is understood, but not valid."),
            Self::TooManyRequests => (429, 8, false, "Too many requests; try again later."),
            Self::HeadersTooLarge => (431, 8, true, "The request's headers are too large."),
            Self::ClientClosed => (499, 1, true, "The client went away."),
            Self::Internal => (500, 13, false, "The gateway failed to handle this request."),
            Self::NotImplemented => (501, 12, true, "The gateway does not implement this."),
            Self::BadGateway => (502, 14, false, "The service could not be reached, or its answer could not be used."),
            Self::Unavailable => (503, 14, false, "The service is not available now."),
            Self::GatewayTimeout => (504, 4, false, "The service did not answer in time."),
            Self::VersionNotSupported => (505, 12, true, "This HTTP version is not spoken here."),
        };
        Row { status, grpc, sentence, close }
    }
}
