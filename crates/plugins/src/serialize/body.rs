//! An answer's body that keeps its request's turn until it has ended, and is cut when the turn is
//! over before that.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Body, Fault, UntilOver};

use super::pass::{Counts, Held, fault};

/// What is done when the turn is over.
pub(super) struct Watch {
    /// Whether the body is cut.
    pub(super) fails: bool,
    pub(super) counts: Counts,
    pub(super) worker: usize,
}

/// The body, and the turn while it lasts.
pub(super) struct UntilEnd {
    body: Body,
    turn: Option<(UntilOver, Held)>,
    watch: Watch,
}

impl UntilEnd {
    pub(super) fn new(body: Body, held: Held, watch: Watch) -> Self {
        Self { body, turn: Some((held.lease.until_over(), held)), watch }
    }
}

impl HttpBody for UntilEnd {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if let Some((until_over, _)) = &mut this.turn
            && let Poll::Ready(over) = Pin::new(until_over).poll(cx)
        {
            this.watch.counts.lost(over, this.watch.worker);
            if this.watch.fails {
                // The endpoint first, and then the turn.
                this.body = Body::Empty;
                this.turn = None;
                return Poll::Ready(Some(Err(fault(over))));
            }
            this.turn = None;
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Err(_))) => {
                this.body = Body::Empty;
                this.turn = None;
            }
            Poll::Ready(None) => this.turn = None,
            // The codec above may not ask again once it has the last frame.
            Poll::Ready(_) if this.body.is_end_stream() => this.turn = None,
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
