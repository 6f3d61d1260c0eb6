//! The end of the time that a request has, while its answer's body is still coming.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Body, Fault, reasons};
use tokio::time::{Instant, Sleep, sleep_until};

/// An answer's body that must be whole by then. What has come is passed on, however late: it is cut
/// while the endpoint is waited for, and not because the client takes its time.
pub(crate) fn until(body: Body, end: Instant) -> Body {
    match body {
        Body::Stream(_) => Body::stream(Bounded { body, end, alarm: None }),
        whole => whole,
    }
}

struct Bounded {
    body: Body,
    end: Instant,
    /// Set when the endpoint is first waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(this.end)));
        if alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        // Lets go of the connection, by which the endpoint hears of it.
        this.body = Body::Empty;
        let fault = Fault::upstream(&reasons::UPSTREAM_TIMEOUT);
        Poll::Ready(Some(Err(fault.detail("the answer's body was not whole in time"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
