//! `http`: the limits and timeouts of every HTTP listener.

use std::time::Duration;

use lockgate_core::{Size, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits and timeouts towards clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Http {
    /// Most header lines in a request (100).
    pub max_headers: usize,
    /// Most bytes in a request's head, its first line included (32KiB).
    pub max_header_size: Size,
    /// Most bytes in a request target (8KiB).
    pub max_uri: Size,
    /// Most bytes of a body where one is buffered (1MiB).
    pub max_buffered_body: Size,
    /// From a connection's first byte, or a request's, to the end of its head (10s).
    pub header_timeout: Time,
    /// A keep-alive connection without a request (60s).
    pub idle_timeout: Time,
    /// The longest wait for the next piece of a request's body (30s).
    pub body_timeout: Time,
    /// The longest wait for a client to take the next piece of an answer (30s).
    pub write_timeout: Time,
    /// Bytes a second that a body must keep up, either way, after `min_rate_grace` (240B; 0B: off).
    pub min_rate: Size,
    /// How long a slow client is borne (10s).
    pub min_rate_grace: Time,
    /// Most connections in all, over all listeners (20,000).
    pub max_connections: usize,
    /// Most connections from one address (IPv6: one /64); 0 is no limit (0).
    pub max_connections_per_ip: usize,
    /// Requests on one connection before it is closed politely; 0 is no limit (0).
    pub max_requests_per_connection: u64,
    /// How long the gateway serves on, not ready any more, before it stops (0s): what a load
    /// balancer needs to notice.
    pub drain_delay: Time,
    /// How long connections may take to end when the gateway stops (30s).
    pub drain_timeout: Time,
    /// HTTP/2.
    pub http2: Http2,
}

/// Limits of an HTTP/2 connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Http2 {
    /// Streams open at once (128).
    pub max_concurrent_streams: u32,
    /// Streams that a client resets before they are answered, pending at once (20).
    pub max_pending_resets: usize,
    /// New streams a second, over which the connection is told to go away (50,000: more than a
    /// client sends, less than a flood; 0 is no limit).
    pub max_streams_per_second: u32,
    /// Bytes in flight on one stream (256KiB).
    pub stream_window: Size,
    /// Bytes in flight on one connection (1MiB).
    pub connection_window: Size,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_headers: 100,
            max_header_size: Size(32 * 1024),
            max_uri: Size(8 * 1024),
            max_buffered_body: Size(1024 * 1024),
            header_timeout: secs(10),
            idle_timeout: secs(60),
            body_timeout: secs(30),
            write_timeout: secs(30),
            min_rate: Size(240),
            min_rate_grace: secs(10),
            max_connections: 20_000,
            max_connections_per_ip: 0,
            max_requests_per_connection: 0,
            drain_delay: secs(0),
            drain_timeout: secs(30),
            http2: Http2::default(),
        }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 128,
            max_pending_resets: 20,
            max_streams_per_second: 50_000,
            stream_window: Size(256 * 1024),
            connection_window: Size(1024 * 1024),
        }
    }
}

fn secs(count: u64) -> Time {
    Time(Duration::from_secs(count))
}
