//! The commands' and the demo's own client: one HTTP/1.1 request on a connection of its own, with a
//! bound on its time and on what it reads.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What an answer may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From the request to the answer's last byte.
    pub(crate) time: Duration,
    /// Bytes of its body.
    pub(crate) most: usize,
}

/// Asks, and reads the answer whole.
///
/// # Errors
/// When there is no whole answer within the bounds.
pub(crate) async fn ask(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
    bounds: Bounds,
) -> anyhow::Result<Response<Bytes>> {
    match timeout(bounds.time, exchange(stream, request, bounds.most)).await {
        Ok(answer) => answer,
        Err(_) => bail!("no answer within {} s", bounds.time.as_secs()),
    }
}

async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
    most: usize,
) -> anyhow::Result<Response<Bytes>> {
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let talking = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        #[expect(clippy::disallowed_methods, reason = "it is limited")]
        let body = Limited::new(body, most).collect().await;
        let body =
            body.map_err(|error| anyhow!("the answer broke off, or is too long: {error}"))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    tokio::pin!(talking, connection);
    tokio::select! {
        biased;
        answer = &mut talking => answer,
        ended = &mut connection => {
            ended.context("the connection broke off")?;
            // What has been answered is still to be read.
            talking.await
        }
    }
}
