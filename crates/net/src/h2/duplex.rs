//! A stream as a byte stream both ways: what an extended CONNECT becomes (RFC 8441).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::FRAME;
use super::queue::Turn;

/// Both halves of a stream. Dropping it before its end resets the stream.
pub(super) struct StreamDuplex {
    send: SendStream<Bytes>,
    recv: RecvStream,
    turn: Turn,
    ahead: Bytes,
    ended: bool,
}

impl StreamDuplex {
    pub(super) fn new(send: SendStream<Bytes>, recv: RecvStream, turn: Turn) -> Self {
        Self { send, recv, turn, ahead: Bytes::new(), ended: false }
    }
}

impl AsyncRead for StreamDuplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        while me.ahead.is_empty() {
            match ready!(me.recv.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(data) => me.ahead = data.map_err(broken)?,
            }
        }
        let some = me.ahead.len().min(buf.remaining());
        buf.put_slice(me.ahead.get(..some).unwrap_or_default());
        me.ahead.advance(some);
        me.recv.flow_control().release_capacity(some).map_err(broken)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamDuplex {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.turn.poll_room(cx));
        self.send.reserve_capacity(buf.len().min(FRAME));
        let mut room = self.send.capacity();
        while room == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(more) => {
                    more.map_err(broken)?;
                    room = self.send.capacity();
                }
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let some = buf.get(..room.min(buf.len())).unwrap_or_default();
        self.send.send_data(Bytes::copy_from_slice(some), false).map_err(broken)?;
        self.turn.put(some.len());
        Poll::Ready(Ok(some.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            self.ended = true;
            self.send.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(error)
}
