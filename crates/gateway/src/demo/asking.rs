//! What the demo asks its own processes: JSON, on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::asking::{self, Bounds};

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(15), most: 64 << 10 };

/// An answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The body, null when it is no JSON.
    pub(super) body: Value,
}

impl Answered {
    /// A header's text; empty when there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Asks on 127.0.0.1.
///
/// # Errors
/// When there is no whole answer in time.
pub(super) async fn ask(
    port: u16,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
    body: Option<Value>,
) -> anyhow::Result<Answered> {
    let what = format!("{method} {path} on port {port}");
    asked(port, method, path, headers, body).await.context(what)
}

async fn asked(
    port: u16,
    method: Method,
    path: &str,
    headers: &[(&'static str, String)],
    body: Option<Value>,
) -> anyhow::Result<Answered> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let mut request = Request::builder().method(method).uri(path);
    request = request.header(HOST, format!("127.0.0.1:{port}"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let text = body.map(|body| body.to_string()).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(text)))?;
    let (head, body) = asking::ask(stream, request, BOUNDS).await?.into_parts();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Answered { status: head.status, headers: head.headers, body })
}
