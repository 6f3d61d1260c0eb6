//! Reasons: the stable codes by which every error that the gateway makes is known.
//!
//! A reason goes into the body, the `Lockgate-Reason` header, the access log and the metrics, all
//! with the same spelling. One reason never stands for two causes.

use crate::Kind;

/// A cause with a name. Declared as a `static`, by the room or the plugin that can meet it.
#[derive(Debug)]
pub struct Reason {
    /// The code, in snake case: `no_route`.
    pub code: &'static str,
    /// The row of the error table it belongs to.
    pub kind: Kind,
    /// For the operator: what happened, and what to look at. One or two sentences.
    pub help: &'static str,
}

impl PartialEq for Reason {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl Eq for Reason {}

/// The reasons that the request path itself can give; plugins declare their own beside these.
pub mod reasons {
    use super::Reason;
    use crate::Kind::*;

    macro_rules! reasons {
        ($($name:ident = $kind:ident, $code:literal, $help:literal;)*) => {
            $(#[doc = $help] pub static $name: Reason =
                Reason { code: $code, kind: $kind, help: $help };)*
            /// All of them, in the order of the reference page.
            pub static ALL: &[&Reason] = &[$(&$name),*];
        };
    }

    reasons! {
        BAD_REQUEST_FRAMING = BadRequest, "bad_request_framing",
            "The request's framing is broken or ambiguous (RFC 9112 §6.3, §11.2). The connection was closed.";
        BAD_HOST = BadRequest, "bad_host",
            "The Host header is missing, repeated or malformed (RFC 9112 §3.2).";
        BAD_TARGET = BadRequest, "bad_target",
            "The request target is malformed, or its path leaves the root when normalised.";
        TOO_LARGE = TooLarge, "too_large",
            "The body is larger than the limit that holds for this route.";
        URI_TOO_LONG = UriTooLong, "uri_too_long",
            "The request target is longer than `http.max_uri`, or than the route's `limits.uri`.";
        HEADERS_TOO_LARGE = HeadersTooLarge, "headers_too_large",
            "The head has more or larger headers than `http.max_headers` and `http.max_header_size` allow, or the route's `limits`.";
        REQUEST_TIMEOUT = RequestTimeout, "request_timeout",
            "The client sent its head or body too slowly (`http.header_timeout`, `http.min_rate`).";
        EXPECTATION_FAILED = ExpectationFailed, "expectation_failed",
            "The request has an Expect header other than 100-continue.";
        NOT_IMPLEMENTED = NotImplemented, "not_implemented",
            "The request uses a transfer coding or a method (CONNECT) that is not served.";
        VERSION_NOT_SUPPORTED = VersionNotSupported, "version_not_supported",
            "The request is of an HTTP version other than 1.0, 1.1 and 2.";
        MISDIRECTED = Misdirected, "misdirected",
            "The Host does not fit the certificate that this TLS connection was opened for.";
        NO_ROUTE = NotFound, "no_route",
            "No route matches the host and path. `lockgate explain` shows the nearest ones.";
        METHOD_NOT_ALLOWED = MethodNotAllowed, "method_not_allowed",
            "A route matches the host and path, but none takes this method.";
        ROUTE_CONDITION = NotFound, "route_condition",
            "A route matches, but none of its `when` conditions holds.";
        NO_HEALTHY_ENDPOINT = Unavailable, "no_healthy_endpoint",
            "Every endpoint of the upstream is down, ejected or drained.";
        ENDPOINTS_BUSY = Unavailable, "endpoints_busy",
            "Every usable endpoint is at its limit of requests or connections.";
        NO_ENDPOINTS = Unavailable, "no_endpoints",
            "The upstream has no endpoints: its discovery has found none.";
        UPSTREAM_REFUSED = BadGateway, "upstream_refused",
            "No connection to the endpoint could be made: it was refused, reset or not resolved.";
        UPSTREAM_TLS = BadGateway, "upstream_tls",
            "The TLS handshake with the endpoint failed: see the certificate and `tls.ca`.";
        UPSTREAM_TIMEOUT = GatewayTimeout, "upstream_timeout",
            "The upstream's answer was not there, or not whole, within `timeout.request`.";
        UPSTREAM_TIMEOUTS = Unavailable, "upstream_all_timed_out",
            "Each try ran into `timeout.connect` or `timeout.headers`, on every endpoint tried.";
        UPSTREAM_CLOSED = BadGateway, "upstream_closed",
            "The endpoint closed the connection before it had answered.";
        UPSTREAM_BAD_ANSWER = BadGateway, "upstream_bad_answer",
            "The endpoint's answer is not valid HTTP, or too large in its head.";
        UPSTREAM_BROKE_OFF = BadGateway, "upstream_broke_off",
            "The endpoint ended its answer before the body was whole; the client's copy was cut too.";
        BREAKER_OPEN = Unavailable, "breaker_open",
            "The upstream's circuit breaker is open after too many failures.";
        OVERLOADED = Unavailable, "overloaded",
            "The gateway or the route is at its limit of concurrent work.";
        STORE_UNAVAILABLE = Unavailable, "store_unavailable",
            "The store that a policy keeps its state in does not answer, and the policy says `on_store_error: deny`.";
        DRAINING = Unavailable, "draining",
            "The gateway is shutting down and takes no new requests.";
        CLIENT_CLOSED = ClientClosed, "client_closed",
            "The client closed its connection before the answer was complete.";
        PANIC = Internal, "panic",
            "A bug in the gateway: the request's handler panicked. The log has the place.";
        INTERNAL = Internal, "internal",
            "The gateway failed in a way that is not the request's fault. The log has the detail.";
    }
}
