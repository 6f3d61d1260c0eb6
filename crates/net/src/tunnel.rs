//! A tunnel: bytes copied both ways between two streams, after a protocol switch.
//!
//! An end of one direction is passed on as a half-close and the other direction goes on. Silence
//! in both directions ends it; nothing is read that could not yet be written.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lockgate_core::{Duplex, Kind, Outcome, Reason, reasons};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

/// A tunnel was silent for too long.
pub static TUNNEL_IDLE: Reason = Reason {
    code: "tunnel_idle",
    kind: Kind::RequestTimeout,
    help: "Nothing went through the tunnel, either way, for the upstream's `timeout.idle`.",
};

/// Bytes under way in one direction, at most.
const BUFFER: usize = 8 * 1024;
/// Pieces moved in one direction before the other tasks of the worker get their turn.
const TURNS: usize = 16;

/// Copies both ways until both sides have ended, one breaks, or neither has moved for `idle`
/// (zero: never). `client` is the side whose bytes count as received.
pub async fn copy_both(
    mut client: Box<dyn Duplex>,
    mut upstream: Box<dyn Duplex>,
    idle: Duration,
) -> Outcome {
    let started = Instant::now();
    let mut up = Way::new();
    let mut down = Way::new();
    let mut silence = Silence::new(idle);
    let broken = poll_fn(|cx| {
        let before = up.moved + down.moved;
        let first = up.poll(cx, &mut *client, &mut *upstream);
        let second = down.poll(cx, &mut *upstream, &mut *client);
        match (&first, &second) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(None),
            (Poll::Ready(Err(Side::From)), _) | (_, Poll::Ready(Err(Side::To))) => {
                return Poll::Ready(Some(&reasons::CLIENT_CLOSED));
            }
            (Poll::Ready(Err(Side::To)), _) | (_, Poll::Ready(Err(Side::From))) => {
                return Poll::Ready(Some(&reasons::UPSTREAM_BROKE_OFF));
            }
            _ => {}
        }
        silence.poll(cx, up.moved + down.moved != before).map(|()| Some(&TUNNEL_IDLE))
    })
    .await;
    let took = started.elapsed();
    Outcome { received: up.written, sent: down.written, broken, took, ended: None }
}

/// Which end of a direction broke.
enum Side {
    From,
    To,
}

/// One direction.
struct Way {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    ended: bool,
    closed: bool,
    unflushed: bool,
    /// Counts steps, so that silence can be told from movement.
    moved: u64,
    written: u64,
}

impl Way {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            from: 0,
            to: 0,
            ended: false,
            closed: false,
            unflushed: false,
            moved: 0,
            written: 0,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut dyn Duplex,
        to: &mut dyn Duplex,
    ) -> Poll<Result<(), Side>> {
        if self.closed {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..TURNS {
            if self.from < self.to {
                ready!(self.poll_write(cx, to)).map_err(|_| Side::To)?;
                continue;
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Side::To)?;
                self.closed = true;
                self.moved += 1;
                return Poll::Ready(Ok(()));
            }
            match self.poll_read(cx, from) {
                Poll::Ready(read) => read.map_err(|_| Side::From)?,
                Poll::Pending if self.unflushed => {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| Side::To)?;
                    self.unflushed = false;
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, from: &mut dyn Duplex) -> Poll<io::Result<()>> {
        let mut buf = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(from).poll_read(cx, &mut buf))?;
        self.from = 0;
        self.to = buf.filled().len();
        self.ended = self.to == 0;
        self.moved += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut dyn Duplex) -> Poll<io::Result<()>> {
        let rest = self.buffer.get(self.from..self.to).unwrap_or_default();
        let written = ready!(Pin::new(to).poll_write(cx, rest))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.from += written;
        self.written += written as u64;
        self.moved += 1;
        self.unflushed = true;
        Poll::Ready(Ok(()))
    }
}

/// Notices that nothing moves, with one timer that is set again only when it fires.
struct Silence {
    idle: Duration,
    last: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn new(idle: Duration) -> Self {
        let sleep = (!idle.is_zero()).then(|| Box::pin(sleep(idle)));
        Self { idle, last: Instant::now(), sleep }
    }

    fn poll(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        if moved {
            self.last = Instant::now();
        }
        let deadline = self.last + self.idle;
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn both_ways_with_half_close() {
        let (mut client, a) = duplex(64);
        let (mut upstream, b) = duplex(64);
        let tunnel = copy_both(Box::new(a), Box::new(b), Duration::from_secs(60));
        let ends = async move {
            let big = vec![7_u8; 50_000];
            let (sent, got) = tokio::join!(
                async {
                    client.write_all(&big).await.unwrap();
                    client.shutdown().await.unwrap();
                    let mut answer = String::new();
                    client.read_to_string(&mut answer).await.unwrap();
                    answer
                },
                async {
                    let mut all = Vec::new();
                    upstream.read_to_end(&mut all).await.unwrap();
                    upstream.write_all(b"after your end").await.unwrap();
                    upstream.shutdown().await.unwrap();
                    all
                }
            );
            assert_eq!(sent, "after your end");
            assert_eq!(got, big);
        };
        let (outcome, ()) = tokio::join!(tunnel, ends);
        assert_eq!((outcome.received, outcome.sent), (50_000, 14));
        assert!(outcome.broken.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_movement_does_not() {
        let (mut client, a) = duplex(64);
        let (mut upstream, b) = duplex(64);
        let tunnel = copy_both(Box::new(a), Box::new(b), Duration::from_secs(60));
        let talk = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(50)).await;
                client.write_all(b"x").await.unwrap();
                upstream.read_u8().await.unwrap();
            }
        };
        let (outcome, ()) = tokio::join!(tunnel, talk);
        assert_eq!(outcome.broken.unwrap().code, "tunnel_idle");
        assert_eq!(outcome.took.as_secs(), 560);
        assert_eq!(outcome.received, 10);
    }
}
