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
pub(super) struct Input {
    buffer: Option<BytesMut>,
    /// How much of the buffer's front has been used. Counted here, so that a buffer whose
    /// contents are used up is as good as new without being moved back.
    used: usize,
}

impl Input {
    /// Beginning with what somebody else has read ahead.
    pub(super) fn new(read_ahead: &Bytes) -> Self {
        let mut input = Self::default();
        if !read_ahead.is_empty() {
            let mut buffer = pool::take();
            buffer.extend_from_slice(read_ahead);
            input.buffer = Some(buffer);
        }
        input
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.as_deref().and_then(|buffer| buffer.get(self.used..)).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Forgets the first `count` bytes.
    pub(super) fn skip(&mut self, count: usize) {
        self.used = self.used.saturating_add(count);
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
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.bytes().len());
        let Some(buffer) = self.buffer.as_mut().filter(|_| count > COPIED) else {
            return self.take_copy(count);
        };
        let mut piece = buffer.split_to(self.used + count);
        piece.advance(std::mem::take(&mut self.used));
        piece.freeze()
    }

    /// Gives the buffer back if nothing is in it.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            self.used = 0;
            if let Some(buffer) = self.buffer.take() {
                pool::give(buffer);
            }
        }
    }

    /// Reads more: how many bytes came, 0 at the end. No buffer is held while it waits.
    pub(super) fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = self.buffer.take().unwrap_or_else(pool::take);
        if self.used > 0 && buffer.capacity() - buffer.len() < ROOM {
            buffer.advance(std::mem::take(&mut self.used));
        }
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
            self.buffer = Some(buffer);
        }
        Poll::Ready(ready!(read))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            pool::give(buffer);
        }
    }
}
