//! A body in three forms: none, whole in memory, or a stream. Policies never know the codec.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{Fault, reasons};

/// A streamed body: data and trailer frames, ending in `None`, or in one error.
pub type BoxBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = Fault>>>;

/// What follows a head, in either direction.
#[derive(Default)]
pub enum Body {
    /// Nothing follows.
    #[default]
    Empty,
    /// All of it, at hand.
    Full(Bytes),
    /// It comes piece by piece; polling for the next piece is the backpressure.
    Stream(BoxBody),
}

/// Among the extensions of an answer: its body ends with its connection, so that a whole one
/// cannot be told from one that was cut (RFC 9112 §8).
#[derive(Debug, Clone, Copy)]
pub struct UntilClose;

impl Body {
    /// Boxes a stream of frames.
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = Fault> + 'static) -> Self {
        Self::Stream(Box::pin(body))
    }

    /// The length in bytes, when it is known beforehand.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::Stream(body) => body.size_hint().exact(),
        }
    }

    /// Whether it is known that nothing follows.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    /// Reads the whole into memory; trailers are dropped.
    ///
    /// # Errors
    /// `too_large` when it has more than `cap` bytes, or the stream's own fault.
    pub async fn collect(self, cap: usize) -> Result<Bytes, Fault> {
        self.collect_all(cap).await.map(|(bytes, _)| bytes)
    }

    /// Reads the whole into memory, and the trailers after it.
    ///
    /// # Errors
    /// `too_large` when it has more than `cap` bytes, or the stream's own fault.
    pub async fn collect_all(mut self, cap: usize) -> Result<(Bytes, Option<HeaderMap>), Fault> {
        if self.len().is_some_and(|len| len > cap as u64) {
            return Err(too_large(cap));
        }
        let (mut first, mut trailers): (Option<Bytes>, _) = (None, None);
        let mut all = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let data = match frame?.into_data() {
                Ok(data) => data,
                Err(other) => {
                    trailers = other.into_trailers().ok().or(trailers);
                    continue;
                }
            };
            if first.as_ref().map_or(0, Bytes::len) + all.len() + data.len() > cap {
                return Err(too_large(cap));
            }
            match first.take() {
                None if all.is_empty() => first = Some(data),
                None => all.extend_from_slice(&data),
                Some(begin) => {
                    all.extend_from_slice(&begin);
                    all.extend_from_slice(&data);
                }
            }
        }
        Ok((first.unwrap_or_else(|| all.freeze()), trailers))
    }

    /// The next frame, or `None` at the end.
    pub async fn frame(&mut self) -> Option<Result<Frame<Bytes>, Fault>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await
    }
}

fn too_large(cap: usize) -> Fault {
    Fault::client(&reasons::TOO_LARGE).detail(format!("the body has more than {cap} bytes"))
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}
