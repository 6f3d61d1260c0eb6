//! A request's body that keeps a copy of itself while it streams to the target. The copy goes out
//! when the body has ended whole; one that grows too large or breaks off does not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Body, Call, Fault};

use super::queue::{Counts, Queue};

/// A body and the copy of what has passed.
pub(super) struct Tee {
    body: Body,
    copy: Option<Copy>,
    max: usize,
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    worker: usize,
}

struct Copy {
    call: Call,
    bytes: BytesMut,
}

impl Tee {
    pub(super) fn new(
        body: Body,
        max: usize,
        call: Call,
        queue: Arc<Queue>,
        counts: Arc<Counts>,
        worker: usize,
    ) -> Self {
        let copy = Some(Copy { call, bytes: BytesMut::new() });
        Self { body, copy, max, queue, counts, worker }
    }

    fn passed(&mut self, data: &Bytes) {
        let Some(copy) = &mut self.copy else { return };
        if copy.bytes.len() + data.len() > self.max {
            self.copy = None;
            self.counts.too_large.add(self.worker, 1);
            return;
        }
        copy.bytes.extend_from_slice(data);
    }

    fn ended(&mut self) {
        let Some(Copy { mut call, bytes }) = self.copy.take() else { return };
        *call.request.body_mut() = bytes.freeze();
        self.queue.put(call, self.worker);
    }
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.passed(data);
        }
        // Whoever knows the length asks for no more when it is there.
        if frame.is_none() || (matches!(frame, Some(Ok(_))) && self.body.is_end_stream()) {
            self.ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        if self.copy.is_some() {
            self.counts.broke_off.add(self.worker, 1);
        }
    }
}
