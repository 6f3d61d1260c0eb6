//! What waits to be written to a peer: small things gathered, one large piece as it is, and all
//! of it in one write.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::pool;

/// Pieces up to this size are copied beside the others; larger ones are written from where they
/// are.
const COPIED: usize = 8 * 1024;

/// With this much gathered, it is time to write.
const ENOUGH: usize = 16 * 1024;

/// Bytes on their way out, in order: what was gathered, a large piece, a short end.
#[derive(Default)]
pub(super) struct Outbox {
    front: Option<BytesMut>,
    large: Bytes,
    back: &'static [u8],
    unflushed: bool,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_none() && self.large.is_empty() && self.back.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.front.as_ref().map_or(0, BytesMut::len) + self.large.len() + self.back.len()
    }

    /// Whether more may be put in before the next write.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty()
            && self.back.is_empty()
            && self.front.as_ref().is_none_or(|front| front.len() < ENOUGH)
    }

    /// Where small things are gathered; to be used only while there is room.
    pub(super) fn front(&mut self) -> &mut BytesMut {
        self.unflushed = true;
        self.front.get_or_insert_with(pool::take)
    }

    /// Puts in a piece and what follows it; to be used only while there is room.
    pub(super) fn piece(&mut self, piece: Bytes, back: &'static [u8]) {
        self.unflushed = true;
        if piece.len() <= COPIED {
            let front = self.front();
            front.extend_from_slice(&piece);
            front.extend_from_slice(back);
            return;
        }
        self.large = piece;
        self.back = back;
    }

    /// Writes until all is written; `moved` counts the bytes that the peer took.
    pub(super) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        moved: &mut usize,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = ready!(self.poll_some(Pin::new(&mut *io), cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *moved += written;
            self.written(written);
        }
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_some<IO: AsyncWrite>(
        &self,
        io: Pin<&mut IO>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let front = self.front.as_deref().unwrap_or_default();
        if self.large.is_empty() && self.back.is_empty() {
            return io.poll_write(cx, front);
        }
        if !io.is_write_vectored() {
            let first = [front, &self.large[..], self.back].into_iter().find(|p| !p.is_empty());
            return io.poll_write(cx, first.unwrap_or_default());
        }
        let all = [IoSlice::new(front), IoSlice::new(&self.large), IoSlice::new(self.back)];
        // An empty first slice would read as "nothing to write" in some streams.
        let some = if front.is_empty() { all.get(1..).unwrap_or_default() } else { &all[..] };
        io.poll_write_vectored(cx, some)
    }

    fn written(&mut self, mut count: usize) {
        if let Some(mut front) = self.front.take() {
            let size = front.len();
            if count < size {
                front.advance(count);
                self.front = Some(front);
                return;
            }
            pool::give(front);
            count -= size;
        }
        let part = count.min(self.large.len());
        self.large.advance(part);
        if self.large.is_empty() {
            self.large = Bytes::new();
        }
        self.back = self.back.get(count - part..).unwrap_or_default();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if let Some(front) = self.front.take() {
            pool::give(front);
        }
    }
}
