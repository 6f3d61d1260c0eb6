//! An HTTP/2 client: with prior knowledge in plain text, or by ALPN over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::answer::pairs;
use crate::wait::within;
use crate::{Answer, Pieces};

/// A connection; dropping it ends it, and with it every stream.
pub struct H2 {
    sender: SendRequest<Pieces>,
    scheme: &'static str,
    task: AbortHandle,
}

impl H2 {
    /// Connects with prior knowledge, in plain text.
    pub async fn plain(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        Self::over(stream, "http").await
    }

    /// Connects with TLS and asks for HTTP/2 by ALPN.
    ///
    /// # Panics
    /// When the server does not agree to it.
    pub async fn tls(address: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        let stream = TlsConnector::from(config).connect(name, stream).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "the ALPN protocol");
        Self::over(stream, "https").await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &'static str,
    ) -> Self {
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("an h2 handshake");
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Self { sender, scheme, task }
    }

    /// A request's beginning: the URI made of this host and path.
    pub fn request(&self, method: &str, host: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("{}://{host}{path}", self.scheme))
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// When the stream or the connection was ended instead.
    pub async fn send(&mut self, request: Request<Pieces>) -> hyper::Result<Response<Incoming>> {
        within("an HTTP/2 answer", async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        })
        .await
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    /// When the stream or the connection was ended instead.
    pub async fn ask(&mut self, request: Request<Pieces>) -> hyper::Result<Answer> {
        read(self.send(request).await?).await
    }

    /// Sends a GET and reads its whole answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn get(&mut self, host: &str, path: &str) -> Answer {
        let request = self.request("GET", host, path).body(Pieces::whole("")).unwrap();
        self.ask(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// Another handle on the same connection.
    pub fn sender(&self) -> SendRequest<Pieces> {
        self.sender.clone()
    }

    /// Whether the connection has ended, or takes no new requests.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Reads an answer to its end.
///
/// # Errors
/// When its body is broken off.
pub(crate) async fn read(response: Response<Incoming>) -> hyper::Result<Answer> {
    let (head, mut incoming) = response.into_parts();
    let mut answer = Answer {
        status: head.status.as_u16(),
        headers: pairs(&head.headers),
        body: Vec::new(),
        trailers: Vec::new(),
    };
    while let Some(frame) = within("a body's frame", incoming.frame()).await {
        match frame?.into_data() {
            Ok(data) => answer.body.extend_from_slice(&data),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                answer.trailers.extend(pairs(&trailers));
            }
        }
    }
    Ok(answer)
}

impl Drop for H2 {
    fn drop(&mut self) {
        self.task.abort();
    }
}
