//! Keeping a body while it streams to the client: each piece passes at once and is copied aside.
//! Only a body that has come to its end, as long as it said it would be, is kept. After a moment
//! the copy no longer waits for the client: it is read ahead, as far as it may become large.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Body, Fault};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Bodies of a known length have their room from the begin, up to so much.
const MOST_AHEAD: usize = 1 << 20;
/// So long a body is read by its client alone, as most are whole by then.
const CLIENTS_OWN: Duration = Duration::from_millis(100);
/// In pieces of so much the client is given what is ahead of it.
const PIECE: usize = 64 << 10;

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

/// A body on its way to a client, and its copy.
pub(super) struct Record {
    copying: Rc<RefCell<Copying>>,
    filling: AbortHandle,
}

impl Record {
    /// Keeps a body of at most so many bytes, while it is read; and whether it is read or not, once
    /// it has taken a while: a client that does not read keeps nobody waiting for the copy.
    pub(super) fn new(inner: Body, most: usize, room: &Arc<Room>, done: Done) -> Self {
        let copying = Rc::new(RefCell::new(Copying::new(inner, most, room, done)));
        let filling = tokio::task::spawn_local(fill(Rc::clone(&copying))).abort_handle();
        Self { copying, filling }
    }
}

/// Reads on in place of the client, who is given what is there when it asks.
async fn fill(copying: Rc<RefCell<Copying>>) {
    sleep(CLIENTS_OWN).await;
    copying.borrow_mut().fills = true;
    poll_fn(|cx| copying.borrow_mut().fill(cx)).await;
}

struct Copying {
    inner: Body,
    length: Option<u64>,
    kept: Vec<u8>,
    /// Bytes of `room` that are in use.
    taken: usize,
    room: Arc<Room>,
    most: usize,
    /// Gone once it is decided.
    done: Option<Done>,
    /// How much the client has been given.
    given: usize,
    /// Whether the copy is read ahead of the client.
    fills: bool,
    /// What was ahead of the client when it was decided, and what comes after that.
    left: Bytes,
    then: Option<Result<Frame<Bytes>, Fault>>,
    /// There is nothing else to come.
    ended: bool,
    client: Option<Waker>,
}

impl Copying {
    fn new(inner: Body, most: usize, room: &Arc<Room>, done: Done) -> Self {
        let length = inner.len();
        let ahead = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut copying = Self {
            inner,
            length,
            kept: Vec::new(),
            taken: 0,
            room: Arc::clone(room),
            most,
            done: Some(done),
            given: 0,
            fills: false,
            left: Bytes::new(),
            then: None,
            ended: false,
            client: None,
        };
        if copying.grow(ahead.min(MOST_AHEAD)) {
            copying.kept.reserve_exact(ahead.min(MOST_AHEAD));
        }
        copying
    }

    fn grow(&mut self, to: usize) -> bool {
        let more = to.saturating_sub(self.taken);
        let fits = self.room.take(more);
        self.taken += if fits { more } else { 0 };
        fits
    }

    /// Copies a piece. Whether that goes on.
    fn see(&mut self, data: &[u8]) -> bool {
        if self.done.is_none() {
            return false;
        }
        let length = self.kept.len() + data.len();
        if length > self.most || !self.grow(length) {
            self.decide(Copied::Unfit);
            return false;
        }
        self.kept.extend_from_slice(data);
        true
    }

    /// It will not be kept.
    fn decide(&mut self, copied: Copied) {
        let Some(done) = self.done.take() else { return };
        let kept = std::mem::take(&mut self.kept);
        if self.given < kept.len() {
            self.left = Bytes::from(kept).split_off(self.given);
        } else {
            self.release();
        }
        done(copied);
    }

    /// It has come to its end.
    fn end(&mut self) {
        if self.length.is_some_and(|length| length != self.kept.len() as u64) {
            return self.decide(Copied::Broken);
        }
        let Some(done) = self.done.take() else { return };
        let mut kept = std::mem::take(&mut self.kept);
        kept.shrink_to_fit();
        let whole = Bytes::from(kept);
        self.left = whole.slice(self.given.min(whole.len())..);
        self.release();
        done(Copied::Whole(whole));
    }

    fn release(&mut self) {
        self.room.used.fetch_sub(std::mem::take(&mut self.taken), Relaxed);
    }

    /// Reads for the copy, until that is decided.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.done.is_some() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => self.is_over(),
                Some(Err(fault)) => {
                    self.decide(Copied::Broken);
                    self.then = Some(Err(fault));
                    self.is_over();
                }
                Some(Ok(frame)) if self.take(&frame) => {
                    if self.inner.is_end_stream() {
                        self.is_over();
                    }
                }
                Some(Ok(frame)) => self.then = Some(Ok(frame)),
            }
            self.client.take().into_iter().for_each(Waker::wake);
        }
        // The client reads what is left of it.
        self.fills = false;
        Poll::Ready(())
    }

    /// Nothing more comes of what it is read from, which is let go before the client has it all.
    fn is_over(&mut self) {
        self.end();
        self.ended = true;
        self.inner = Body::Empty;
    }

    /// Copies a frame. Whether it has been copied.
    fn take(&mut self, frame: &Frame<Bytes>) -> bool {
        match frame.data_ref() {
            Some(data) => self.see(data),
            // What has trailers is not kept: they would be lost.
            None => {
                self.decide(Copied::Unfit);
                false
            }
        }
    }

    /// What the client is given next.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(piece) = self.ahead() {
            self.given += piece.len();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(then) = self.then.take() {
            return Poll::Ready(Some(then));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if self.fills {
            self.client = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            // Who fills it next wakes the client.
            Poll::Pending => self.client = Some(cx.waker().clone()),
            Poll::Ready(None) => {
                self.end();
                self.ended = true;
            }
            Poll::Ready(Some(Err(_))) => self.decide(Copied::Broken),
            Poll::Ready(Some(Ok(frame))) => {
                self.given += frame.data_ref().map_or(0, Bytes::len);
                self.take(frame);
                // Who writes it may not ask again once nothing follows.
                if self.inner.is_end_stream() {
                    self.end();
                }
            }
        }
        polled
    }

    /// What has been read ahead of the client.
    fn ahead(&mut self) -> Option<Bytes> {
        if !self.left.is_empty() {
            self.release();
            return Some(std::mem::take(&mut self.left));
        }
        let ahead = self.kept.get(self.given..)?;
        let piece = ahead.get(..PIECE).unwrap_or(ahead);
        (!piece.is_empty()).then(|| Bytes::copy_from_slice(piece))
    }
}

impl HttpBody for Record {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.copying.borrow_mut().next(cx)
    }

    fn is_end_stream(&self) -> bool {
        let copying = self.copying.borrow();
        let ahead = !copying.left.is_empty() || copying.given < copying.kept.len();
        !ahead && copying.then.is_none() && (copying.ended || copying.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let copying = self.copying.borrow();
        match copying.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(copying.given as u64)),
            None => SizeHint::new(),
        }
    }
}

impl Drop for Record {
    /// The client has gone before the end; or the writer has counted the bytes and asks no more.
    fn drop(&mut self) {
        self.filling.abort();
        let mut copying = self.copying.borrow_mut();
        if copying.length.is_some_and(|length| length == copying.kept.len() as u64) {
            copying.end();
        }
        copying.decide(Copied::Broken);
        copying.release();
        // The task is gone a little later.
        copying.inner = Body::Empty;
        copying.left = Bytes::new();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use lockgate_core::reasons;
    use tokio::sync::mpsc;
    use tokio::task::LocalSet;

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
        let read = async {
            let mut body = Body::stream(Record::new(inner, 8, &room, done));
            for _ in 0..frames {
                let _ = body.frame().await;
            }
        };
        LocalSet::new().run_until(read).await;
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

    /// A body whose pieces come from a test, which says when.
    struct Told(mpsc::Receiver<Result<Frame<Bytes>, Fault>>, Option<u64>);

    impl HttpBody for Told {
        type Data = Bytes;
        type Error = Fault;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
            self.0.poll_recv(cx)
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or(SizeHint::new(), SizeHint::with_exact)
        }
    }

    /// What becomes of a body that its client reads only once it has stood for a while: what was
    /// kept before the client read on, and what it is given, to the end or the fault.
    async fn late(
        pieces: Vec<Result<Frame<Bytes>, Fault>>,
        length: Option<u64>,
    ) -> (Option<Copied>, Vec<Result<Frame<Bytes>, Fault>>) {
        let room = Arc::new(Room::new(100));
        let kept = Rc::new(RefCell::new(None));
        let tell = Rc::clone(&kept);
        let done: Done = Box::new(move |copied| assert!(tell.replace(Some(copied)).is_none()));
        let (send, receive) = mpsc::channel(16);
        let read = async {
            let inner = Body::stream(Told(receive, length));
            let mut body = Body::stream(Record::new(inner, 8, &room, done));
            let mut pieces = pieces.into_iter();
            send.send(pieces.next().unwrap()).await.unwrap();
            let mut given = vec![body.frame().await.unwrap()];
            for piece in pieces {
                send.send(piece).await.unwrap();
            }
            drop(send);
            sleep(2 * CLIENTS_OWN).await;
            let before = kept.take();
            while let Some(frame) = body.frame().await {
                given.push(frame);
            }
            assert!(length.is_none_or(|_| body.len() == Some(0) || given.last().unwrap().is_err()));
            (before, given)
        };
        let ended = LocalSet::new().run_until(read).await;
        assert_eq!(room.used(), 0);
        ended
    }

    fn text(given: &[Result<Frame<Bytes>, Fault>]) -> String {
        let data = given.iter().filter_map(|frame| frame.as_ref().ok()?.data_ref());
        data.map(|data| str::from_utf8(data).unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_keeps_nobody_waiting() {
        for length in [None, Some(6)] {
            let (kept, given) = late(vec![data("ab"), data("cd"), data("ef")], length).await;
            assert_eq!(kept, Some(Copied::Whole("abcdef".into())));
            assert_eq!(text(&given), "abcdef");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn but_it_is_given_all_that_there_is_and_what_comes_after() {
        let (kept, given) =
            late(vec![data("abcde"), data("fg"), data("hi"), data("j")], None).await;
        assert_eq!((kept, text(&given)), (Some(Copied::Unfit), "abcdefghij".into()));
        let trailers = || Ok(Frame::trailers(http::HeaderMap::new()));
        let (kept, given) = late(vec![data("ab"), data("cd"), trailers()], None).await;
        assert_eq!((kept, text(&given)), (Some(Copied::Unfit), "abcd".into()));
        assert!(given.last().unwrap().as_ref().unwrap().is_trailers());
        let broken = Err(Fault::upstream(&reasons::UPSTREAM_BROKE_OFF));
        let (kept, given) = late(vec![data("ab"), data("cd"), broken], Some(9)).await;
        assert_eq!((kept, text(&given)), (Some(Copied::Broken), "abcd".into()));
        assert!(given.last().unwrap().is_err());
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let room = Room::new(10);
        assert!(room.take(6) && !room.take(5) && room.take(4) && !room.take(1));
        assert!(!room.take(usize::MAX));
    }
}
