//! HTTP to an etcd: a question and its answer, or an answer that never ends, a line at a time. Both
//! are bounded, in time and in size.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lockgate_net::tls::ClientTls;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{timeout, timeout_at};

use crate::source::follow::{MOST_BYTES, PATIENCE};
use crate::source::status::{Failure, Reason};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);
/// Most bytes of an answer: all texts in base64, their keys, and what stands around them.
const MOST: usize = MOST_BYTES * 2;
/// Most bytes of a line of a stream: a transaction's events have the texts in them.
const MOST_LINE: usize = MOST;

/// The codes of gRPC that say who may not.
const DENIED: [u64; 3] = [3, 7, 16];

/// One server.
pub(super) struct Http {
    server: (String, u16),
    tls: Option<ClientTls>,
}

/// A connection's driver, ended with whoever reads from it.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer that never ends.
pub(super) struct Stream {
    body: Incoming,
    unread: BytesMut,
    _driver: Driver,
}

impl Http {
    pub(super) fn new(server: (String, u16), tls: Option<ClientTls>) -> Self {
        Self { server, tls }
    }

    /// Asks, and reads the answer whole.
    ///
    /// # Errors
    /// No answer, or one that is an error: as the server says it.
    pub(super) async fn ask(
        &self,
        path: &str,
        token: Option<&str>,
        question: &Value,
    ) -> Result<Value, Failure> {
        let asked = async {
            let (answer, _driver) = self.send(path, token, question).await?;
            let status = answer.status();
            let value = read(answer.into_body()).await?;
            if status == StatusCode::OK { Ok(value) } else { Err(refusal(status, &value)) }
        };
        match timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silent()),
        }
    }

    /// Asks for an answer that is a stream.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub(super) async fn stream(
        &self,
        path: &str,
        token: Option<&str>,
        question: &Value,
    ) -> Result<Stream, Failure> {
        let asked = async {
            let (answer, driver) = self.send(path, token, question).await?;
            let status = answer.status();
            if status != StatusCode::OK {
                return Err(refusal(status, &read(answer.into_body()).await?));
            }
            Ok(Stream { body: answer.into_body(), unread: BytesMut::new(), _driver: driver })
        };
        match timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Failure {
        Failure::away(format!("at {} does not answer in time", self.at()))
    }

    fn at(&self) -> String {
        let (host, port) = &self.server;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    async fn send(
        &self,
        path: &str,
        token: Option<&str>,
        question: &Value,
    ) -> Result<(Response<Incoming>, Driver), Failure> {
        let at = self.at();
        let lost = |error: hyper::Error| {
            Failure::away(format!("at {at} broke the connection off: {error}"))
        };
        let (host, port) = (self.server.0.as_str(), self.server.1);
        let deadline = tokio::time::Instant::now() + CONNECT;
        let stream = match timeout_at(deadline, TcpStream::connect((host, port))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(Failure::away(format!("at {at} cannot be reached: {error}")));
            }
            Err(_) => return Err(self.silent()),
        };
        let _ = stream.set_nodelay(true);
        let request = Request::post(path)
            .header(header::HOST, &at)
            .header(header::CONTENT_TYPE, "application/json");
        let request = match token {
            Some(token) => request.header(header::AUTHORIZATION, token),
            None => request,
        };
        let request = request.body(Full::new(Bytes::from(question.to_string())));
        let request =
            request.map_err(|_| Failure::away("gave a token that cannot be sent back"))?;
        let Some(tls) = &self.tls else {
            return exchange(stream, request).await.map_err(lost);
        };
        match timeout_at(deadline, tls.connect_http1(stream, host)).await {
            Ok(Ok(stream)) => exchange(stream, request).await.map_err(lost),
            Ok(Err(fault)) => {
                let what = format!("at {at} cannot be trusted, or speaks no TLS: {fault}");
                Err(Failure::new(Reason::Denied, what))
            }
            Err(_) => Err(self.silent()),
        }
    }
}

async fn exchange<IO>(
    stream: IO,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Driver), hyper::Error>
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let driver = Driver(driver.abort_handle());
    Ok((sender.send_request(request).await?, driver))
}

async fn read(body: Incoming) -> Result<Value, Failure> {
    #[expect(clippy::disallowed_methods, reason = "it is limited")]
    let body = Limited::new(body, MOST).collect().await;
    let body = body.map_err(|error| {
        Failure::away(format!("has an answer that breaks off, or is too long: {error}"))
    })?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|_| Failure::away("has an answer that is not JSON: is it an etcd?"))
}

/// An error as the server says it.
fn refusal(status: StatusCode, said: &Value) -> Failure {
    let code = said.get("code").and_then(Value::as_u64).unwrap_or_default();
    let what = said.get("message").or_else(|| said.get("error")).and_then(Value::as_str);
    let what = what.map_or_else(|| format!("status {}", status.as_u16()), str::to_owned);
    if DENIED.contains(&code) || status == StatusCode::UNAUTHORIZED {
        return Failure::new(Reason::Denied, format!("does not let the gateway in: {what}"));
    }
    Failure::away(format!("refuses: {what}"))
}

impl Stream {
    /// The next line. What was read of one is not lost when nobody waits any more.
    ///
    /// # Errors
    /// The end of the stream.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        let mut searched = 0;
        loop {
            let end = self.unread.iter().skip(searched).position(|byte| *byte == b'\n');
            if let Some(end) = end {
                return Ok(self.unread.split_to(searched + end + 1).freeze());
            }
            searched = self.unread.len();
            if searched > MOST_LINE {
                return Err(Failure::away("has a message that is too long"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.unread.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::away(format!("broke the stream off: {error}")));
                }
                None => return Err(Failure::away("ended the stream")),
            }
        }
    }
}
