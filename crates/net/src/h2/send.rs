//! A body that is sent on a stream, no faster than its peer takes it.
//!
//! The body is asked for its next piece only when the last one has gone, so that one piece at
//! most waits here; a peer that takes nothing for too long is given up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body as HttpBody;
use lockgate_core::{Body, Fault};

use super::queue::Turn;
use crate::pace::Pace;

/// Why a body was not sent to its end.
pub(super) enum Stop {
    /// The body itself failed.
    Body(Fault),
    /// The peer reset the stream, or the connection is gone.
    Peer,
    /// The peer took nothing for too long.
    Slow,
}

/// Sends one body.
pub(super) struct Pump {
    stream: SendStream<Bytes>,
    body: Body,
    piece: Bytes,
    pace: Option<Pace>,
    turn: Option<Turn>,
    /// Whether the body has been asked for anything yet.
    touched: bool,
    ended: bool,
    sent: u64,
}

impl Pump {
    /// `pace`: how patient to be with the peer; `None` leaves that to the caller.
    pub(super) fn new(stream: SendStream<Bytes>, body: Body, pace: Option<Pace>) -> Self {
        let piece = Bytes::new();
        Self { stream, body, piece, pace, turn: None, touched: false, ended: false, sent: 0 }
    }

    /// Sends only while the connection's queue has room.
    pub(super) fn queued(self, turn: Turn) -> Self {
        Self { turn: Some(turn), ..self }
    }

    /// Bytes handed to the connection so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The body back, when nothing was taken from it.
    pub(super) fn untouched(self) -> Option<Body> {
        (!self.touched).then_some(self.body)
    }

    /// Whether it is the body that is waited for.
    pub(super) fn is_starved(&self) -> bool {
        self.touched && self.piece.is_empty() && !self.ended
    }

    /// Leaves patience with the peer to the caller from now on.
    pub(super) fn be_patient(&mut self) {
        self.pace = None;
    }

    /// Resets the stream.
    pub(super) fn reset(&mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }

    /// Sends until the body has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        while !self.ended {
            if self.piece.is_empty() {
                ready!(self.poll_piece(cx))?;
            } else {
                ready!(self.poll_send(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Asks the body for its next piece, once there is room for any of it.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if !self.touched {
            ready!(self.poll_room(cx, 1))?;
            self.touched = true;
        } else {
            ready!(self.poll_turn(cx))?;
            self.waited();
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending if self.stream.poll_reset(cx).is_ready() => {
                return Poll::Ready(Err(Stop::Peer));
            }
            Poll::Pending => return Poll::Pending,
        };
        let Some(frame) = frame.transpose().map_err(Stop::Body)? else {
            return Poll::Ready(self.end(Bytes::new()));
        };
        match frame.into_data() {
            Ok(data) if data.is_empty() && self.body.is_end_stream() => {
                Poll::Ready(self.end(Bytes::new()))
            }
            Ok(data) => {
                self.piece = data;
                Poll::Ready(Ok(()))
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return Poll::Ready(Ok(())) };
                self.ended = true;
                Poll::Ready(self.stream.send_trailers(trailers).map_err(|_| Stop::Peer))
            }
        }
    }

    /// Sends as much of the piece at hand as there is room for.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let room = ready!(self.poll_room(cx, self.piece.len()))?;
        let part = self.piece.split_to(room.min(self.piece.len()));
        if let Some(turn) = &self.turn {
            turn.put(part.len());
        }
        self.sent += part.len() as u64;
        if let Some(pace) = &mut self.pace {
            pace.moved(part.len());
        }
        if self.piece.is_empty() && self.body.is_end_stream() {
            return Poll::Ready(self.end(part));
        }
        Poll::Ready(self.stream.send_data(part, false).map_err(|_| Stop::Peer))
    }

    fn end(&mut self, last: Bytes) -> Result<(), Stop> {
        self.ended = true;
        self.stream.send_data(last, true).map_err(|_| Stop::Peer)
    }

    /// Waits for room; never less than one byte.
    fn poll_room(&mut self, cx: &mut Context<'_>, wish: usize) -> Poll<Result<usize, Stop>> {
        ready!(self.poll_turn(cx))?;
        self.stream.reserve_capacity(wish);
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                self.waited();
                return Poll::Ready(Ok(room));
            }
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Err(Stop::Peer)),
                Poll::Pending => return self.poll_slow(cx),
            }
        }
    }

    /// Waits until the connection may have more to send.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let Some(turn) = &mut self.turn else { return Poll::Ready(Ok(())) };
        if turn.poll_room(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Stop::Peer));
        }
        self.poll_slow(cx)
    }

    /// A wait for the peer is over: what comes next may be a wait for the body.
    fn waited(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.moved(0);
        }
    }

    fn poll_slow<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Stop>> {
        let Some(pace) = &mut self.pace else { return Poll::Pending };
        pace.poll_spent(cx).map(|()| Err(Stop::Slow))
    }
}
