//! A WebSocket client on top of a [`Wire`]: the handshake is read as strictly as any answer.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::wait::within;
use crate::{Answer, Head, Wire, request};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

const KEY: &str = "dGVzdC1rZXktMTZieXRlcw==";

/// An open WebSocket.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Stream>>,
    /// The head that opened it.
    pub head: Head,
}

impl Socket {
    /// Opens one at this path, with these further headers. What is not a 101 is an answer.
    ///
    /// # Errors
    /// The answer that refused it.
    pub async fn open(
        mut wire: Wire,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let mut all = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        all.extend(headers);
        wire.send(request("GET", path, &all, "")).await;
        let mut head = wire.head("GET").await.expect("an answer to the handshake");
        if head.status != 101 {
            let mut body = Vec::new();
            while let Some(piece) = wire.piece(&mut head).await.expect("a whole refusal") {
                body.extend_from_slice(&piece);
            }
            let (status, headers) = (head.status, head.headers);
            return Err(Answer { status, headers, body, trailers: Vec::new() });
        }
        assert!(head.header("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket")));
        let accept = derive_accept_key(KEY.as_bytes());
        assert_eq!(head.header("sec-websocket-accept"), Some(accept.as_str()));
        let stream: Box<dyn Stream> = Box::new(wire.into_stream());
        let stream = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        Ok(Self { stream, head })
    }

    /// Sends a text.
    pub async fn send(&mut self, text: &str) {
        let _ = self.stream.send(Message::text(text)).await;
    }

    /// The next text; `None` once the other side has ended it, well or badly.
    pub async fn next(&mut self) -> Option<String> {
        match within("a WebSocket message", self.stream.next()).await {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => None,
            Some(Ok(other)) => panic!("not a text: {other:?}"),
        }
    }

    /// Sends a text and expects it back.
    pub async fn echoes(&mut self, text: &str) {
        self.send(text).await;
        assert_eq!(self.next().await.as_deref(), Some(text));
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
    }
}
