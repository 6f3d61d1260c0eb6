//! A request's body, read through the connection it comes on.
//!
//! The request path holds a handle ([`Reading`]) and may drop it at any time; how far the body has
//! been read is the connection's knowledge, which must find the next request behind it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_config::model::Http;
use lockgate_core::{Fault, reasons};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant};

use super::link::{Link, REST};
use crate::h1::decode::{Decoder, Piece};
use crate::h1::head::Framing;
use crate::h1::input::Input;
use crate::pace::Patience;

pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How far the current request's body has been read.
pub(super) struct Upload {
    decoder: Decoder,
    patience: Patience,
    /// Bytes of body received.
    pub(super) received: u64,
    /// Which request of the connection it belongs to.
    number: u64,
    /// A 100 is owed before the body is read.
    pub(super) owes_continue: bool,
    /// What is left of a 100 that the client took only a part of.
    pub(super) continuing: &'static [u8],
    /// Whether the handle still lives: then somebody may yet read the body.
    held: bool,
    broken: Option<Broken>,
    /// Bytes of body read away after the answer.
    discarded: u64,
    waker: Option<Waker>,
}

#[derive(Clone, Copy)]
enum Broken {
    Gone,
    Late,
    Wrong,
}

impl Upload {
    /// No body.
    pub(super) fn none() -> Self {
        Self {
            decoder: Decoder::new(Framing::None),
            patience: Patience::new(Duration::ZERO, 0, Duration::ZERO),
            received: 0,
            number: 0,
            owes_continue: false,
            continuing: b"",
            held: false,
            broken: None,
            discarded: 0,
            waker: None,
        }
    }

    /// Goes on to the next request's body.
    pub(super) fn begin(&mut self, framing: Framing, expect: bool, limits: &Http) {
        let number = self.number + 1;
        *self = Self { number, owes_continue: expect, ..Self::none() };
        if framing != Framing::None {
            self.decoder = Decoder::new(framing);
            let Http { body_timeout, min_rate, min_rate_grace, .. } = limits;
            self.patience = Patience::new(body_timeout.0, min_rate.0, min_rate_grace.0);
        }
    }

    /// The whole body, if it has been read already and is worth no stream.
    pub(super) fn at_once(&mut self, input: &mut Input) -> Option<Bytes> {
        let length = self.decoder.remaining()?;
        if input.bytes().len() as u64 >= length
            && let Ok(Piece::Data(data)) = self.decoder.next(input)
        {
            self.received = length;
            self.owes_continue = false;
            return Some(data);
        }
        None
    }

    /// Whether all of the body has been read.
    pub(super) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether the rest of the body can be read away, or may still be read by its holder.
    pub(super) fn is_worth_keeping(&self) -> bool {
        let small = self.decoder.remaining().is_none_or(|left| left <= REST);
        self.broken.is_none() && !self.owes_continue && (small || self.held)
    }

    /// The final answer is about to be written: no 100 may come after it. What is left of one that
    /// was begun must come before it.
    pub(super) fn answering(&mut self) -> &'static [u8] {
        self.owes_continue = false;
        std::mem::take(&mut self.continuing)
    }

    /// When the client has been too slow, while it is waited for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.broken.is_some() { None } else { self.patience.deadline() }
    }

    /// The deadline has passed.
    pub(super) fn late(&mut self) {
        self.broken = Some(Broken::Late);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Drops what has come of the body; `Ok(true)` when that was the rest of it.
    pub(super) fn discard(&mut self, input: &mut Input) -> Result<bool, ()> {
        if !self.is_worth_keeping() {
            return Err(());
        }
        loop {
            match self.decoder.next(input) {
                Ok(Piece::Data(data)) => self.discarded += data.len() as u64,
                Ok(Piece::Trailers(_)) => {}
                Ok(Piece::End) => return Ok(true),
                Ok(Piece::More) => return Ok(false),
                Err(_) => return Err(()),
            }
            if self.discarded > REST {
                return Err(());
            }
        }
    }

    fn fault(&self) -> Option<Fault> {
        Some(match self.broken? {
            Broken::Gone => {
                Fault::client(&reasons::CLIENT_CLOSED).detail("the client left inside its body")
            }
            Broken::Late => {
                Fault::client(&reasons::REQUEST_TIMEOUT).detail("the body came too slowly")
            }
            Broken::Wrong => {
                Fault::client(&reasons::BAD_REQUEST_FRAMING).detail("the body is broken")
            }
        })
    }
}

/// The request path's handle to a body that streams.
pub(super) struct Reading<IO> {
    link: Rc<RefCell<Link<IO>>>,
    number: u64,
}

impl<IO> Reading<IO> {
    pub(super) fn new(link: &Rc<RefCell<Link<IO>>>) -> Self {
        let upload = &mut link.borrow_mut().upload;
        upload.held = true;
        Self { link: Rc::clone(link), number: upload.number }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> HttpBody for Reading<IO> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let mut link = self.link.borrow_mut();
        if link.upload.number != self.number {
            return Poll::Ready(Some(Err(Fault::client(&reasons::CLIENT_CLOSED)
                .detail("the body was asked for after its request was over"))));
        }
        link.poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        let link = self.link.borrow();
        link.upload.number == self.number && link.upload.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        let link = self.link.borrow();
        let left = link.upload.decoder.remaining().filter(|_| link.upload.number == self.number);
        left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl<IO> Drop for Reading<IO> {
    fn drop(&mut self) {
        let upload = &mut self.link.borrow_mut().upload;
        if upload.number == self.number {
            upload.held = false;
            upload.waker = None;
            upload.patience.moved(0);
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Link<IO> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            if let Some(fault) = self.upload.fault() {
                return Poll::Ready(Some(Err(fault)));
            }
            match self.upload.decoder.next(&mut self.input) {
                Ok(Piece::Data(data)) => {
                    self.upload.received += data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Piece::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(wrong) => {
                    self.upload.broken = Some(Broken::Wrong);
                    return Poll::Ready(Some(Err(wrong.by_client())));
                }
            }
            self.pay_continue(cx);
            match self.poll_fill(cx) {
                Poll::Ready(Ok(read @ 1..)) => self.upload.patience.moved(read),
                Poll::Ready(_) => self.upload.broken = Some(Broken::Gone),
                Poll::Pending => {
                    self.upload.patience.wait();
                    let known = self.upload.waker.as_ref();
                    if !known.is_some_and(|waker| waker.will_wake(cx.waker())) {
                        self.upload.waker = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Sends the 100 that the client waits for, now that the body is wanted.
    fn pay_continue(&mut self, cx: &mut Context<'_>) {
        if self.upload.owes_continue {
            self.upload.owes_continue = false;
            self.upload.continuing = CONTINUE;
        }
        while !self.upload.continuing.is_empty() {
            match self.poll_some(self.upload.continuing, cx) {
                Poll::Ready(written @ 1..) => {
                    let rest = self.upload.continuing.get(written..);
                    self.upload.continuing = rest.unwrap_or_default();
                }
                // An error shows again when the answer is written.
                Poll::Ready(0) | Poll::Pending => return,
            }
        }
    }
}
