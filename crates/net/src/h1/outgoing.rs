//! A body on its way out: frames in, framed bytes into an outbox.
//!
//! Never lets a body that broke off look complete: the last chunk is written only after the last
//! frame, and a body of announced length is neither filled up nor cut.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use lockgate_core::{Body, Fault, reasons};

use super::encode::{chunk_size, last_chunk};
use super::head::Framing;
use super::outbox::Outbox;

/// A body being sent.
pub(super) struct Outgoing {
    body: Body,
    framing: Framing,
    left: u64,
    ended: bool,
    /// Bytes of body put into the outbox.
    pub(super) sent: u64,
    /// Whether a frame has been taken: then the body cannot be sent from the beginning again.
    pub(super) begun: bool,
}

impl Outgoing {
    /// With [`Framing::None`] the body is dropped unread.
    pub(super) fn new(body: Body, framing: Framing) -> Self {
        let (body, left) = match framing {
            Framing::None => (Body::Empty, 0),
            Framing::Length(length) => (body, length),
            Framing::Chunked | Framing::Close => (body, 0),
        };
        let ended = framing == Framing::None;
        Self { body, framing, left, ended, sent: 0, begun: false }
    }

    /// Whether all of it is in the outbox, or beyond.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// The body, to be sent anew elsewhere, if nothing has been taken from it.
    pub(super) fn unsent(self) -> Option<Body> {
        (!self.begun).then_some(self.body)
    }

    /// Ready with the next frame; `None` at the end. To be put into the outbox with
    /// [`Outgoing::put`]: apart, so that the outbox need not be borrowed while the body is polled.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, Fault>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        self.begun |= frame.is_some();
        Poll::Ready(Ok(frame))
    }

    /// Frames what [`Outgoing::poll_next`] gave.
    pub(super) fn put(
        &mut self,
        frame: Option<Frame<Bytes>>,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        match frame.map(Frame::into_data) {
            None => self.end(&HeaderMap::new(), out),
            Some(Ok(data)) if data.is_empty() => Ok(()),
            Some(Ok(data)) => self.data(data, out),
            Some(Err(frame)) => match frame.into_trailers() {
                Ok(trailers) => self.end(&trailers, out),
                Err(_) => Ok(()),
            },
        }
    }

    fn data(&mut self, data: Bytes, out: &mut Outbox) -> Result<(), Fault> {
        let size = data.len() as u64;
        match self.framing {
            Framing::None => return Ok(()),
            Framing::Close => out.piece(data, b""),
            Framing::Length(_) => {
                self.left = self.left.checked_sub(size).ok_or_else(|| uneven("longer"))?;
                self.ended = self.left == 0;
                out.piece(data, b"");
            }
            Framing::Chunked => {
                chunk_size(out.front(), data.len());
                self.ended = self.body.is_empty();
                out.piece(data, if self.ended { b"\r\n0\r\n\r\n" } else { b"\r\n" });
            }
        }
        self.sent += size;
        if self.ended {
            self.body = Body::Empty;
        }
        Ok(())
    }

    fn end(&mut self, trailers: &HeaderMap, out: &mut Outbox) -> Result<(), Fault> {
        if self.framing == Framing::Chunked {
            last_chunk(out.front(), trailers);
        }
        if self.left > 0 {
            return Err(uneven("shorter"));
        }
        self.ended = true;
        self.body = Body::Empty;
        Ok(())
    }
}

fn uneven(how: &str) -> Fault {
    Fault::gateway(&reasons::INTERNAL).detail(format!("a body is {how} than it was said to be"))
}
