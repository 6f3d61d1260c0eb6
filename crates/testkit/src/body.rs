//! A body fed from outside: whole, or piece by piece through a bounded channel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// A body in one piece, or one that is fed through a [`Sender`].
pub enum Pieces {
    /// At hand.
    Whole(Option<Bytes>),
    /// Fed; its length is not known beforehand.
    Fed(mpsc::Receiver<io::Result<Frame<Bytes>>>),
}

impl Pieces {
    /// A body in one piece; empty bytes are no body.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    /// A body to be fed, and what feeds it. Dropping the sender ends it well.
    pub fn fed() -> (Sender, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (Sender(sender), Self::Fed(receiver))
    }
}

/// Feeds a body.
pub struct Sender(mpsc::Sender<io::Result<Frame<Bytes>>>);

impl Sender {
    /// Sends a piece; false when nobody reads any more.
    pub async fn data(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(bytes.into()))).await.is_ok()
    }

    /// Sends the trailers.
    pub async fn trailers(&self, trailers: HeaderMap) -> bool {
        self.0.send(Ok(Frame::trailers(trailers))).await.is_ok()
    }

    /// Breaks the body off.
    pub async fn abort(&self) {
        let _ = self.0.send(Err(io::Error::other("broken off by the test"))).await;
    }

    /// Waits until nobody reads any more.
    pub async fn unread(&self) {
        self.0.closed().await;
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Fed(receiver) => receiver.poll_recv(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Fed(_) => SizeHint::default(),
        }
    }
}
