//! The HTTP probe: one GET, judged by its status and, if asked for, by the text in its body.

use std::pin::{Pin, pin};

use bytes::Bytes;
use http::{Request, Response, Version, header};
use http_body::Body as _;
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioExecutor;
use lockgate_config::model::Health;

/// What is read of a body, at most.
const MOST_BODY: usize = 64 * 1024;
/// The largest head that a probe takes.
const MOST_HEAD: usize = 64 * 1024;

pub(super) const AGENT: &str = "lockgate-health/1";

/// Asks over HTTP/1.1.
pub(super) async fn ask1<IO>(io: IO, settings: &Health, host: &str) -> Result<(), String>
where
    IO: Read + Write + Unpin + Send + 'static,
{
    let request = Request::get(&settings.path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the health check's request cannot be made: {error}"))?;
    let mut builder = http1::Builder::new();
    let (mut sender, connection) =
        builder.max_buf_size(MOST_HEAD).handshake(io).await.map_err(story)?;
    along(connection, async { judge(settings, sender.send_request(request).await).await }).await
}

/// Asks over HTTP/2.
pub(super) async fn ask2<IO>(
    io: IO,
    settings: &Health,
    host: &str,
    scheme: &str,
) -> Result<(), String>
where
    IO: Read + Write + Unpin + Send + 'static,
{
    let request = Request::get(format!("{scheme}://{host}{}", settings.path))
        .version(Version::HTTP_2)
        .header(header::USER_AGENT, AGENT)
        .body(Full::<Bytes>::default())
        .map_err(|error| format!("the health check's request cannot be made: {error}"))?;
    exchange2(io, request, async |response| judge(settings, Ok(response)).await).await
}

/// Sends one request over a fresh HTTP/2 connection.
pub(super) async fn exchange2<IO>(
    io: IO,
    request: Request<Full<Bytes>>,
    judge: impl AsyncFnOnce(Response<Incoming>) -> Result<(), String>,
) -> Result<(), String>
where
    IO: Read + Write + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(MOST_HEAD as u32);
    let (mut sender, connection) = builder.handshake(io).await.map_err(story)?;
    along(connection, async {
        let response = sender.send_request(request).await.map_err(story)?;
        judge(response).await
    })
    .await
}

/// Drives the connection while the work goes on. The connection may end first, when the other
/// side closes after its answer; the work then still has what had been read.
async fn along<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        _ = connection => work.await,
    }
}

async fn judge(
    settings: &Health,
    response: hyper::Result<Response<Incoming>>,
) -> Result<(), String> {
    let response = response.map_err(story)?;
    let status = response.status().as_u16();
    let expected = match settings.status.as_slice() {
        [] => response.status().is_success(),
        ranges => ranges.iter().any(|&(from, to)| (from..=to).contains(&status)),
    };
    if !expected {
        return Err(format!("GET {} answered {status}", settings.path));
    }
    let Some(text) = settings.body.as_deref() else { return Ok(()) };
    let body = read(response.into_body(), MOST_BODY).await?;
    let found = text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes());
    if found { Ok(()) } else { Err(format!("the body does not contain {text:?}")) }
}

/// Reads a body up to a cap; what is beyond it is not looked at.
pub(super) async fn read(mut body: Incoming, cap: usize) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    while all.len() < cap {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(story)?.into_data() else { continue };
        all.extend(data.iter().take(cap - all.len()));
    }
    Ok(all)
}

/// An error and what is beneath it, in one line.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn story(error: hyper::Error) -> String {
    let mut story = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(error) = next {
        story = format!("{story}: {error}");
        next = error.source();
    }
    story
}
