//! Keeping a body while it streams to the client: each piece passes at once and is copied aside.
//! Only a body that has come to its end, as long as it said it would be, is kept.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Body, Fault};

/// Bodies of a known length have their room from the begin, up to so much.
const MOST_AHEAD: usize = 1 << 20;

/// Memory for bodies that are not whole yet, shared by all.
pub(super) struct Room {
    used: AtomicUsize,
    most: usize,
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self { used: AtomicUsize::new(0), most }
    }

    fn take(&self, bytes: usize) -> bool {
        let free = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.most);
        self.used.fetch_update(Relaxed, Relaxed, free).is_ok()
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// How the copying of a body ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// With all of it.
    Whole(Bytes),
    /// It is too large to be kept, or bears what cannot be.
    Unfit,
    /// It broke off, or nobody wanted the rest.
    Broken,
}

/// What is done with a body once it is decided.
pub(super) type Done = Box<dyn FnOnce(Copied)>;

/// A body on its way, and its copy.
pub(super) struct Record {
    inner: Body,
    kept: Vec<u8>,
    /// Bytes of `room` that are in use.
    taken: usize,
    room: Arc<Room>,
    most: usize,
    length: Option<u64>,
    /// Gone once it is decided.
    done: Option<Done>,
}

impl Record {
    /// Keeps a body of at most so many bytes, while it is read.
    pub(super) fn new(inner: Body, most: usize, room: &Arc<Room>, done: Done) -> Self {
        let length = inner.len();
        let ahead = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut record = Self {
            inner,
            kept: Vec::new(),
            taken: 0,
            room: Arc::clone(room),
            most,
            length,
            done: Some(done),
        };
        if record.grow(ahead.min(MOST_AHEAD)) {
            record.kept.reserve_exact(ahead.min(MOST_AHEAD));
        }
        record
    }

    fn grow(&mut self, to: usize) -> bool {
        let more = to.saturating_sub(self.taken);
        let fits = self.room.take(more);
        self.taken += if fits { more } else { 0 };
        fits
    }

    fn see(&mut self, data: &[u8]) {
        if self.done.is_none() {
            return;
        }
        let length = self.kept.len() + data.len();
        if length > self.most || !self.grow(length) {
            return self.decide(Copied::Unfit);
        }
        self.kept.extend_from_slice(data);
    }

    fn decide(&mut self, copied: Copied) {
        if let Some(done) = self.done.take() {
            self.kept = Vec::new();
            self.release();
            done(copied);
        }
    }

    /// It has come to its end.
    fn end(&mut self) {
        if self.length.is_some_and(|length| length != self.kept.len() as u64) {
            return self.decide(Copied::Broken);
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.shrink_to_fit();
        self.decide(Copied::Whole(kept.into()));
    }

    fn release(&mut self) {
        self.room.used.fetch_sub(std::mem::take(&mut self.taken), Relaxed);
    }
}

impl HttpBody for Record {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => this.end(),
            Poll::Ready(Some(Err(_))) => this.decide(Copied::Broken),
            Poll::Ready(Some(Ok(frame))) => {
                match frame.data_ref() {
                    Some(data) => this.see(data),
                    // What has trailers is not kept: they would be lost.
                    None => this.decide(Copied::Unfit),
                }
                // Who writes it may not ask again once nothing follows.
                if this.inner.is_end_stream() {
                    this.end();
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Record {
    /// The client has gone before the end; or the writer has counted the bytes and asks no more.
    fn drop(&mut self) {
        if self.length.is_some_and(|length| length == self.kept.len() as u64) {
            self.end();
        }
        self.decide(Copied::Broken);
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    use lockgate_core::reasons;

    use super::*;

    /// Pieces, and how many bytes they say that they are.
    struct Pieces(VecDeque<Result<Frame<Bytes>, Fault>>, Option<u64>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Fault;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
            Poll::Ready(self.0.pop_front())
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or(SizeHint::new(), SizeHint::with_exact)
        }
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, Fault> {
        Ok(Frame::data(text.into()))
    }

    /// Reads so many frames of a body under a cap of eight bytes, and says what was kept.
    async fn copied(
        pieces: Vec<Result<Frame<Bytes>, Fault>>,
        length: Option<u64>,
        frames: usize,
    ) -> Copied {
        let room = Arc::new(Room::new(100));
        let kept = Rc::new(RefCell::new(Vec::new()));
        let tell = Rc::clone(&kept);
        let done: Done = Box::new(move |copied| tell.borrow_mut().push(copied));
        let inner = Body::stream(Pieces(pieces.into(), length));
        let mut body = Body::stream(Record::new(inner, 8, &room, done));
        for _ in 0..frames {
            let _ = body.frame().await;
        }
        drop(body);
        assert_eq!(room.used(), 0);
        let mut all = kept.take();
        assert_eq!(all.len(), 1, "decided once: {all:?}");
        all.remove(0)
    }

    #[tokio::test]
    async fn a_body_is_kept_when_it_came_to_its_end() {
        let whole = |text: &'static str| Copied::Whole(text.into());
        assert_eq!(copied(vec![data("ab"), data("cd")], None, 3).await, whole("abcd"));
        assert_eq!(copied(vec![data("ab"), data("cd")], Some(4), 3).await, whole("abcd"));
        assert_eq!(copied(vec![data("ab"), data("cd")], Some(4), 2).await, whole("abcd"));
    }

    #[tokio::test]
    async fn a_body_that_did_not_is_not() {
        let broken = || Err(Fault::upstream(&reasons::UPSTREAM_BROKE_OFF));
        assert_eq!(copied(vec![data("ab"), broken()], None, 2).await, Copied::Broken);
        assert_eq!(copied(vec![data("ab"), broken()], Some(4), 2).await, Copied::Broken);
        assert_eq!(copied(vec![data("ab")], Some(4), 2).await, Copied::Broken);
        assert_eq!(copied(vec![data("ab"), data("cd")], Some(3), 3).await, Copied::Broken);
        assert_eq!(copied(vec![data("ab"), data("cd")], None, 1).await, Copied::Broken);
        assert_eq!(copied(vec![data("ab"), data("cd")], None, 2).await, Copied::Broken);
    }

    #[tokio::test]
    async fn what_is_too_large_or_has_trailers_is_not() {
        let trailers = Ok(Frame::trailers(http::HeaderMap::new()));
        assert_eq!(copied(vec![data("ab"), trailers], None, 3).await, Copied::Unfit);
        assert_eq!(copied(vec![data("abcde"), data("fghi")], None, 3).await, Copied::Unfit);
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let room = Room::new(10);
        assert!(room.take(6) && !room.take(5) && room.take(4) && !room.take(1));
        assert!(!room.take(usize::MAX));
    }
}
