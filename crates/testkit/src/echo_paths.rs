//! What the echoing upstream does at which path; anywhere else it tells what it was asked.
//!
//! `/status/N`, `/delay/MS`, `/bytes/N`, `/stream/N/MS` (pieces with pauses), `/gated/N` (pieces,
//! a gate before each but the first), `/sse` and `/events/*` (the same, as events), `/broken/N` (N
//! bytes, then the connection is cut), `/trailers`, `/early` (answers 413 and leaves the body
//! unread), `/hang`, `/wait` (answers when the gate opens), `/ws` and `/chat` (WebSocket echo),
//! `/upgrade` (byte echo), `/headers` (hop-by-hop ones in the answer), and gRPC methods `Unary`,
//! `Stream`, `Fail`, `Hang`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::echo::{Seen, Shared, read};
use crate::{Pieces, Sender};

pub(crate) async fn answer(
    mut request: Request<Incoming>,
    connection: usize,
    certified: bool,
    shared: &Arc<Shared>,
) -> Response<Pieces> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["ws" | "chat", ..] if request.headers().contains_key("upgrade") => {
            return websocket(&mut request);
        }
        ["upgrade"] if request.headers().contains_key("upgrade") => return bytes(&mut request),
        ["early"] => return with(413, "no more, please"),
        _ => {}
    }
    let Ok(seen) = read(request, connection, certified).await else {
        return with(400, "a broken body");
    };
    shared.seen.lock().unwrap().push(seen.clone());
    if seen.header("content-type").is_some_and(|kind| kind.starts_with("application/grpc")) {
        return grpc(&seen).await;
    }
    let forced = shared.status.load(std::sync::atomic::Ordering::SeqCst);
    if forced > 0 {
        return with(forced, echo(&seen, shared).to_string());
    }
    plain(&segments, &seen, shared).await
}

async fn plain(segments: &[&str], seen: &Seen, shared: &Arc<Shared>) -> Response<Pieces> {
    let number = |text: &str| text.parse::<u64>().expect("a number in the path");
    match segments {
        ["status", status] => with(number(status) as u16, echo(seen, shared).to_string()),
        ["delay", ms] => {
            tokio::time::sleep(Duration::from_millis(number(ms))).await;
            with(200, echo(seen, shared).to_string())
        }
        ["bytes", count] => with(200, vec![b'x'; number(count) as usize]),
        ["stream", count, ms] => {
            let (count, ms) = (number(count), number(ms));
            fed("text/plain", |sender| async move {
                for place in 0..count {
                    sender.data(format!("piece {place}\n")).await;
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
            })
        }
        ["gated", count] => gated("text/plain", "piece", "\n", number(count), shared),
        ["sse"] | ["events", ..] => gated("text/event-stream", "data:", "\n\n", 3, shared),
        ["broken", count] => {
            let count = number(count) as usize;
            fed("text/plain", |sender| async move {
                sender.data(vec![b'x'; count]).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
                sender.abort().await;
            })
        }
        ["trailers"] => {
            let response = fed("text/plain", |sender| async move {
                sender.data("with a trailer").await;
                let mut trailers = HeaderMap::new();
                trailers.insert("x-checksum", HeaderValue::from_static("abc"));
                sender.trailers(trailers).await;
            });
            header(response, "trailer", "x-checksum")
        }
        ["hang"] => std::future::pending().await,
        ["wait"] => {
            if let Ok(permit) = shared.gate.acquire().await {
                permit.forget();
            }
            with(200, echo(seen, shared).to_string())
        }
        ["headers"] => {
            let response = with(200, "headers");
            let response = header(response, "connection", "x-private");
            let response = header(response, "x-private", "of this hop");
            let response = header(response, "keep-alive", "timeout=5");
            let response = header(response, "proxy-authenticate", "Basic");
            header(response, "x-public", "of the end")
        }
        _ => {
            let response = with(200, echo(seen, shared).to_string());
            header(response, "content-type", "application/json")
        }
    }
}

/// What the endpoint was asked, as JSON.
fn echo(seen: &Seen, shared: &Shared) -> Value {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let list = |map: &HeaderMap| -> Vec<Value> {
        map.iter().map(|(name, value)| json!([name.as_str(), text(value)])).collect()
    };
    json!({
        "endpoint": shared.name,
        "method": seen.method.as_str(),
        "path": seen.uri.path_and_query().map_or("", |path| path.as_str()),
        "version": format!("{:?}", seen.version),
        "authority": seen.uri.authority().map(|authority| authority.as_str()),
        "headers": list(&seen.headers),
        "body": String::from_utf8_lossy(&seen.body),
        "trailers": list(&seen.trailers),
        "connection": seen.connection,
        "certified": seen.certified,
    })
}

fn with(status: u16, body: impl Into<Bytes>) -> Response<Pieces> {
    let body = if matches!(status, 204 | 304) { Bytes::new() } else { body.into() };
    Response::builder().status(status).body(Pieces::whole(body)).expect("a status")
}

fn header(mut response: Response<Pieces>, name: &'static str, value: &str) -> Response<Pieces> {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

fn fed<F>(kind: &str, feed: impl FnOnce(Sender) -> F) -> Response<Pieces>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, body) = Pieces::fed();
    tokio::spawn(feed(sender));
    Response::builder().header("content-type", kind).body(body).unwrap()
}

fn gated(
    kind: &str,
    word: &'static str,
    end: &'static str,
    count: u64,
    shared: &Arc<Shared>,
) -> Response<Pieces> {
    let (sender, body) = Pieces::fed();
    let shared = shared.clone();
    tokio::spawn(async move {
        for place in 0..count {
            if place > 0 {
                let gate = async { shared.gate.acquire().await.map(|permit| permit.forget()) };
                tokio::select! {
                    _ = gate => {}
                    () = sender.unread() => {
                        shared.cancelled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        return;
                    }
                }
            }
            sender.data(format!("{word} {place}{end}")).await;
        }
    });
    Response::builder().header("content-type", kind).body(body).unwrap()
}

fn websocket(request: &mut Request<Incoming>) -> Response<Pieces> {
    if request.uri().path() == "/ws/refuse" {
        return header(with(403, "not this socket"), "x-refused", "yes");
    }
    let key = request.headers().get("sec-websocket-key").map(|key| key.as_bytes().to_vec());
    let accept = derive_accept_key(&key.unwrap_or_default());
    let protocol = request.headers().get("sec-websocket-protocol").cloned();
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() || socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut response = switch("websocket");
    response.headers_mut().insert("sec-websocket-accept", accept.parse().unwrap());
    if let Some(protocol) = protocol {
        response.headers_mut().insert("sec-websocket-protocol", protocol);
    }
    response
}

fn bytes(request: &mut Request<Incoming>) -> Response<Pieces> {
    let protocol = request.headers()["upgrade"].to_str().unwrap_or("").to_owned();
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut io = TokioIo::new(upgraded);
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = io.read(&mut piece).await {
            if io.write_all(&piece[..count]).await.is_err() {
                break;
            }
        }
    });
    switch(&protocol)
}

fn switch(protocol: &str) -> Response<Pieces> {
    let mut response = with(101, "");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    header(header(response, "connection", "upgrade"), "upgrade", protocol)
}

/// The answer of gRPC's health service: SERVING (1) or NOT_SERVING (2).
pub(crate) fn health(healthy: bool) -> Response<Pieces> {
    let message = [0, 0, 0, 0, 2, 8, if healthy { 1 } else { 2 }];
    fed("application/grpc", |sender| async move {
        sender.data(message.to_vec()).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        sender.trailers(trailers).await;
    })
}

async fn grpc(seen: &Seen) -> Response<Pieces> {
    let method = seen.uri.path().rsplit('/').next().unwrap_or_default();
    let mut pause = Duration::ZERO;
    let count = match method {
        "Hang" => std::future::pending().await,
        "Fail" => {
            let response = header(with(200, ""), "content-type", "application/grpc");
            return header(header(response, "grpc-status", "5"), "grpc-message", "none such");
        }
        "Stream" => 3,
        "Slow" => {
            pause = Duration::from_millis(25);
            40
        }
        _ => 1,
    };
    let message = seen.body.clone();
    fed("application/grpc", |sender| async move {
        for _ in 0..count {
            sender.data(message.clone()).await;
            tokio::time::sleep(pause).await;
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        sender.trailers(trailers).await;
    })
}
