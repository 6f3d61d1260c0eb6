//! An answer after its head: whole if it has come with it, else a stream that owns the connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Blame, Body, Duplex, Fault, UntilClose, reasons};

use super::Reuse;
use super::call::{Call, Sending};
use crate::ClientAnswer;
use crate::h1::decode::{Decoder, Piece};
use crate::h1::head::{Framing, ResponseHead, Wrong};
use crate::h1::input::Input;
use crate::rewind::Rewind;

/// How a body in the chunked coding usually ends.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Makes the answer whose head has been read.
pub(super) fn answer(
    mut call: Box<Call>,
    head: ResponseHead,
    reuse: Rc<dyn Reuse>,
) -> Result<ClientAnswer, Fault> {
    let ResponseHead { mut parts, framing, keep_alive } = head;
    if framing == Framing::Close {
        parts.extensions.insert(UntilClose);
    }
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        if !call.upgrade {
            return Err(Wrong::Framing("a 101 that was not asked for").by_upstream());
        }
        let ahead = call.input.take_copy(usize::MAX);
        let upgraded: Box<dyn Duplex> = Box::new(Rewind::new(ahead, call.io));
        let response = Box::new(Response::from_parts(parts, Body::Empty));
        return Ok(ClientAnswer { response, upgraded: Some(upgraded) });
    }
    let mut decoder = Decoder::new(framing);
    let begun = at_once(&mut decoder, &mut call.input, framing).map_err(Wrong::by_upstream)?;
    let body = match begun {
        (whole, None) if decoder.is_done() => {
            release(call, keep_alive, &*reuse);
            Body::from(whole)
        }
        (first, trailers) => {
            let call = Some(call);
            Body::stream(Reading { first, trailers, decoder, call, keep_alive, reuse })
        }
    };
    Ok(ClientAnswer { response: Box::new(Response::from_parts(parts, body)), upgraded: None })
}

/// Reads the body from what came with the head, if it may be there in full.
fn at_once(
    decoder: &mut Decoder,
    input: &mut Input,
    framing: Framing,
) -> Result<(Bytes, Option<HeaderMap>), Wrong> {
    let (mut first, mut trailers) = (Bytes::new(), None);
    let whole = match framing {
        Framing::None => true,
        Framing::Length(length) => input.bytes().len() as u64 >= length,
        Framing::Chunked => input.bytes().ends_with(LAST_CHUNK),
        Framing::Close => false,
    };
    if !whole {
        return Ok((first, trailers));
    }
    let mut gathered = BytesMut::new();
    loop {
        match decoder.next(input)? {
            Piece::Data(data) if first.is_empty() => first = data,
            Piece::Data(data) => {
                if gathered.is_empty() {
                    gathered.extend_from_slice(&first);
                }
                gathered.extend_from_slice(&data);
            }
            Piece::Trailers(fields) => trailers = Some(fields),
            Piece::More | Piece::End => break,
        }
    }
    if !gathered.is_empty() {
        first = gathered.freeze();
    }
    Ok((first, trailers))
}

/// The answer has ended: the connection goes back if it can be used again.
fn release(call: Box<Call>, keep_alive: bool, reuse: &dyn Reuse) {
    reuse.ended();
    if keep_alive && call.is_clean() {
        reuse.put_back(call.into_connection());
    }
}

/// The rest of an answer, and the connection it comes on.
struct Reading {
    /// What had come with the head, when it seemed to be all.
    first: Bytes,
    trailers: Option<HeaderMap>,
    decoder: Decoder,
    /// Gone once the answer has ended.
    call: Option<Box<Call>>,
    keep_alive: bool,
    reuse: Rc<dyn Reuse>,
}

impl Reading {
    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.call = None;
        if fault.blame() == Blame::Upstream {
            self.reuse.broke_off();
        }
        Poll::Ready(Some(Err(fault)))
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let first = std::mem::take(&mut this.first);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let sending = match this.call.as_mut().map(|call| call.poll_send(cx)) {
            None => Sending::Over,
            Some(Ok(sending)) => sending,
            Some(Err(fault)) => return this.fail(fault),
        };
        loop {
            let Some(call) = &mut this.call else {
                return Poll::Ready(this.trailers.take().map(|last| Ok(Frame::trailers(last))));
            };
            let piece = match this.decoder.next(&mut call.input) {
                Ok(Piece::More) => match ready!(call.poll_more(sending, cx)) {
                    Ok(1..) => continue,
                    Ok(_) if this.decoder.end() => Piece::End,
                    Ok(_) => return this.fail(broke_off().detail("it ended inside the body")),
                    Err(error) => return this.fail(broke_off().source(error)),
                },
                Ok(piece) => piece,
                Err(wrong) => return this.fail(wrong.by_upstream()),
            };
            if this.decoder.is_done()
                && let Some(call) = this.call.take()
            {
                release(call, this.keep_alive, &*this.reuse);
            }
            match piece {
                Piece::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Piece::Trailers(trailers) => this.trailers = Some(trailers),
                Piece::End | Piece::More => {}
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.trailers.is_none() && self.call.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder.remaining() {
            Some(left) if self.trailers.is_none() => {
                SizeHint::with_exact(left + self.first.len() as u64)
            }
            _ => SizeHint::new(),
        }
    }
}

fn broke_off() -> Fault {
    Fault::upstream(&reasons::UPSTREAM_BROKE_OFF)
}
