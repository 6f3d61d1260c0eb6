//! How much of a connection's answers may wait for its socket, over all streams: a client that
//! opens many streams and reads none of them holds no more memory than this, and one piece of each
//! body.
//!
//! Bytes count from when a stream hands them over until the socket takes as many. Frame headers
//! and dropped data make that inexact; it is exact again whenever the socket has taken all.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Bytes that may wait for the socket before no stream adds to them.
pub(super) const MOST: usize = 256 * 1024;

/// What waits on one connection.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Cell<usize>,
    /// The socket took no more when it was last asked.
    blocked: Cell<bool>,
    freed: Arc<Notify>,
}

impl Queue {
    pub(super) fn has_room(&self) -> bool {
        self.waiting.get() < MOST
    }

    /// So many bytes have been handed over.
    pub(super) fn put(&self, bytes: usize) {
        self.waiting.set(self.waiting.get().saturating_add(bytes));
    }

    /// The connection has written what it could: unless the socket is full, nothing waits any more
    /// but what the peer's windows hold back, which each stream bounds.
    pub(super) fn settle(&self) {
        if !self.blocked.get() {
            self.left(usize::MAX);
        }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.blocked.set(written.is_pending());
        if let Poll::Ready(Ok(bytes)) = written {
            self.left(bytes);
        }
        written
    }

    fn left(&self, bytes: usize) {
        let full = !self.has_room();
        self.waiting.set(self.waiting.get().saturating_sub(bytes));
        if full && self.has_room() {
            self.freed.notify_waiters();
        }
    }
}

/// One stream's place in the queue.
pub(super) struct Turn {
    queue: Rc<Queue>,
    /// Made only when there is no room. Dropped with the stream, it leaves nothing behind.
    wait: Option<Pin<Box<OwnedNotified>>>,
}

impl Turn {
    pub(super) fn new(queue: &Rc<Queue>) -> Self {
        Self { queue: Rc::clone(queue), wait: None }
    }

    /// Ready when something may be put into the queue.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.queue.has_room() {
            let freed = || Box::pin(Arc::clone(&self.queue.freed).notified_owned());
            ready!(self.wait.get_or_insert_with(freed).as_mut().poll(cx));
            self.wait = None;
        }
        self.wait = None;
        Poll::Ready(())
    }

    pub(super) fn put(&self, bytes: usize) {
        self.queue.put(bytes);
    }
}

/// A connection's byte stream, which tells the queue what has gone out.
pub(super) struct Counted<IO> {
    pub(super) io: IO,
    pub(super) queue: Rc<Queue>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.queue.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.queue.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.queue.blocked.set(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
