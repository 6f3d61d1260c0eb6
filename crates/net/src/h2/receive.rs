//! A body that arrives on a stream: data, then trailers, with flow control given back as it goes
//! up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, HeaderName, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::Fault;

use crate::h1::is_forbidden_trailer;

/// The receiving half of a stream, and how much is still to come if that was said.
pub(super) struct Receiving {
    recv: RecvStream,
    left: Option<u64>,
    trailers: bool,
}

impl Receiving {
    /// `length` is the content's length, when the head tells it.
    pub(super) fn new(recv: RecvStream, length: Option<u64>) -> Self {
        Self { recv, left: length, trailers: false }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        while !self.trailers {
            match ready!(self.recv.poll_data(cx)) {
                // Empty frames are padding to us; h2 bounds how many may come in a row.
                Some(Ok(data)) if data.is_empty() && !self.recv.is_end_stream() => {}
                Some(Ok(data)) => {
                    self.recv.flow_control().release_capacity(data.len())?;
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.trailers = true,
            }
        }
        let trailers = ready!(self.recv.poll_trailers(cx))?;
        let trailers = trailers.map(allowed).filter(|trailers| !trailers.is_empty());
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None if self.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

/// Trailers without those that must not come after a body: the other side may speak HTTP/1.1, whose
/// codec filters only what it reads.
fn allowed(mut trailers: HeaderMap) -> HeaderMap {
    let forbidden = |name: &&HeaderName| is_forbidden_trailer(name.as_str());
    let gone: Vec<HeaderName> = trailers.keys().filter(forbidden).cloned().collect();
    for name in gone {
        trailers.remove(name);
    }
    trailers
}

/// Takes the content's length out of a head. `h2` has held it against the data frames, and it is
/// the sending codec that writes one anew.
pub(super) fn take_length(headers: &mut HeaderMap) -> Option<u64> {
    let value = headers.remove(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// A received body with what is to happen as it comes.
pub(super) struct Watched<W> {
    pub(super) receiving: Receiving,
    pub(super) watch: W,
}

/// What watches a body come in.
pub(super) trait Watch: Unpin {
    /// Called before each frame is asked for.
    fn wanted(&self) {}
    /// So many bytes came.
    fn came(&mut self, _bytes: usize) {}
    /// The body is waited for; a ready fault ends it.
    fn poll_late(&mut self, _cx: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
    /// The stream broke.
    fn broke(&self, error: h2::Error) -> Fault;
}

impl<W: Watch> HttpBody for Watched<W> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let me = &mut *self;
        me.watch.wanted();
        match me.receiving.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                me.watch.came(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(me.watch.broke(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => me.watch.poll_late(cx).map(|fault| Some(Err(fault))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.receiving.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.receiving.size_hint()
    }
}
