//! A request's body while it may have to be sent again.
//!
//! What is in memory is simply kept. Of a stream the pieces that have passed are remembered, by
//! reference and only up to a cap; a stream that has run past it can no longer be sent again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Body, Fault};

/// Most bytes of a streamed body that are remembered for another try.
const REMEMBERED: usize = 16 * 1024;
/// Most pieces: each keeps the buffer alive that it was read into.
const PIECES: usize = 16;

/// A body that can be loaded for one try after another.
pub(crate) enum Cargo {
    /// In memory: empty, or whole.
    Kept(Bytes),
    /// Passes once; comes back when a try has not touched it.
    Once(Option<Body>),
    /// Remembered while it streams.
    Stream(Rc<RefCell<Tape>>),
}

/// The begin of a stream, and the rest that has not been read yet.
pub(crate) struct Tape {
    rest: Body,
    pieces: Vec<Bytes>,
    held: usize,
    /// More has passed than is remembered, or the end has: only what is left can be sent.
    lost: bool,
    length: SizeHint,
}

impl Cargo {
    /// `repeat`: whether the request may be sent again although parts of it have been seen.
    pub(crate) fn new(body: Body, repeat: bool) -> Self {
        match body {
            Body::Empty => Self::Kept(Bytes::new()),
            Body::Full(bytes) => Self::Kept(bytes),
            body if !repeat => Self::Once(Some(body)),
            body => {
                let length = body.size_hint();
                let tape = Tape { rest: body, pieces: Vec::new(), held: 0, lost: false, length };
                Self::Stream(Rc::new(RefCell::new(tape)))
            }
        }
    }

    /// The body, when it is in memory: sending it cannot wait for the client.
    pub(crate) fn at_hand(&self) -> Option<Body> {
        match self {
            Self::Kept(bytes) => Some(bytes.clone().into()),
            Self::Once(_) | Self::Stream(_) => None,
        }
    }

    /// The body for the next try; `None` when it cannot be sent again.
    pub(crate) fn load(&mut self) -> Option<Body> {
        match self {
            Self::Kept(bytes) => Some(bytes.clone().into()),
            Self::Once(body) => body.take(),
            Self::Stream(tape) => {
                if tape.borrow().lost {
                    return None;
                }
                let pieces = tape.borrow().pieces.iter().cloned().collect();
                Some(Body::stream(Replay { pieces, tape: Rc::clone(tape) }))
            }
        }
    }

    /// Takes back a body that a try has not touched.
    pub(crate) fn unload(&mut self, body: Option<Body>) {
        if let (Self::Once(place), Some(body)) = (self, body) {
            *place = Some(body);
        }
    }

    /// Whether [`load`](Self::load) would give it once more.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Kept(_) => true,
            Self::Once(body) => body.is_some(),
            Self::Stream(tape) => !tape.borrow().lost,
        }
    }
}

impl Tape {
    fn remember(&mut self, piece: &Bytes) {
        self.held += piece.len();
        if self.held > REMEMBERED || self.pieces.len() == PIECES {
            self.lost = true;
            self.pieces.clear();
        } else if !self.lost {
            self.pieces.push(piece.clone());
        }
    }
}

/// The body of one try: what is remembered, then the rest.
struct Replay {
    pieces: VecDeque<Bytes>,
    tape: Rc<RefCell<Tape>>,
}

impl HttpBody for Replay {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let mut tape = self.tape.borrow_mut();
        let polled = Pin::new(&mut tape.rest).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(piece) => tape.remember(piece),
                // Trailers pass once.
                None => tape.lost = true,
            },
            Poll::Ready(Some(Err(_))) => tape.lost = true,
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.tape.borrow().rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let tape = self.tape.borrow();
        if self.pieces.len() == tape.pieces.len() { tape.length } else { SizeHint::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pieces(VecDeque<&'static [u8]>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Fault;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
        }
    }

    fn stream(pieces: &[&'static [u8]]) -> Body {
        Body::stream(Pieces(pieces.iter().copied().collect()))
    }

    #[tokio::test]
    async fn a_stream_broken_off_in_the_middle_is_sent_again_from_its_begin() {
        let mut cargo = Cargo::new(stream(&[b"one", b"two", b"three"]), true);
        let mut first = cargo.load().unwrap();
        first.frame().await;
        first.frame().await;
        drop(first);
        let again = cargo.load().unwrap().collect(100).await.unwrap();
        assert_eq!(again, "onetwothree");
        // And a third time, as a whole try may fail after its last byte.
        assert_eq!(cargo.load().unwrap().collect(100).await.unwrap(), "onetwothree");
    }

    #[tokio::test]
    async fn a_stream_longer_than_is_remembered_passes_once() {
        static LONG: [u8; REMEMBERED] = [b'x'; REMEMBERED];
        let mut cargo = Cargo::new(stream(&[&LONG, b"more"]), true);
        let sent = cargo.load().unwrap().collect(1 << 20).await.unwrap();
        assert_eq!(sent.len(), REMEMBERED + 4);
        assert!(!cargo.is_whole());
        assert!(cargo.load().is_none());
    }

    #[tokio::test]
    async fn what_may_not_be_repeated_is_not_remembered_but_comes_back_untouched() {
        let mut cargo = Cargo::new(stream(&[b"one"]), false);
        let body = cargo.load();
        assert!(!cargo.is_whole());
        cargo.unload(body);
        assert_eq!(cargo.load().unwrap().collect(9).await.unwrap(), "one");
        assert!(cargo.load().is_none());
    }
}
