//! What has been read from a peer and not yet been used.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::pool;

/// Pieces up to this size are copied out, so that the buffer is free at once; larger ones take
/// their part of the buffer with them.
const COPIED: usize = 4096;

/// The least room worth a read.
const ROOM: usize = 2048;

/// A read buffer that is there only while it has something in it.
#[derive(Default)]
pub(super) struct Input(Option<BytesMut>);

impl Input {
    /// Beginning with what somebody else has read ahead.
    pub(super) fn new(read_ahead: &Bytes) -> Self {
        let mut input = Self::default();
        if !read_ahead.is_empty() {
            let mut buffer = pool::take();
            buffer.extend_from_slice(read_ahead);
            input.0 = Some(buffer);
        }
        input
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Forgets the first `count` bytes.
    pub(super) fn skip(&mut self, count: usize) {
        if let Some(buffer) = &mut self.0 {
            buffer.advance(count.min(buffer.len()));
        }
        self.release();
    }

    /// The first `count` bytes, in a block of their own: for heads, which live as long as their
    /// values do.
    pub(super) fn take_copy(&mut self, count: usize) -> Bytes {
        let count = count.min(self.bytes().len());
        let copy = Bytes::copy_from_slice(self.bytes().get(..count).unwrap_or_default());
        self.skip(count);
        copy
    }

    /// At most the first `count` bytes, for something that will be used up soon.
    pub(super) fn take(&mut self, count: u64) -> Bytes {
        let Some(buffer) = &mut self.0 else { return Bytes::new() };
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
        if count <= COPIED {
            return self.take_copy(count);
        }
        buffer.split_to(count).freeze()
    }

    /// Gives the buffer back if nothing is in it.
    pub(super) fn release(&mut self) {
        if self.is_empty()
            && let Some(buffer) = self.0.take()
        {
            pool::give(buffer);
        }
    }

    /// Reads more: how many bytes came, 0 at the end. No buffer is held while it waits.
    pub(super) fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = self.0.take().unwrap_or_else(pool::take);
        let room = buffer.capacity() - buffer.len();
        if buffer.is_empty() && room < pool::SIZE / 2 {
            // A piece cut off its front may still be on its way out; then another buffer it is.
            if !buffer.try_reclaim(pool::SIZE) {
                buffer = pool::take();
            }
        } else if room < ROOM {
            buffer.reserve(pool::SIZE / 2);
        }
        // One poll of a future that keeps nothing between polls.
        let read = pin!(io.read_buf(&mut buffer)).poll(cx);
        if buffer.is_empty() {
            pool::give(buffer);
        } else {
            self.0 = Some(buffer);
        }
        Poll::Ready(ready!(read))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(buffer) = self.0.take() {
            pool::give(buffer);
        }
    }
}
