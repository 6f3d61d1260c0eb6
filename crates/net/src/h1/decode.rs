//! Bodies, from bytes to frames: by length, chunked, or until the end.
//!
//! Refuses in the chunked coding (RFC 9112 §7.1) what readers disagree on: sizes with signs,
//! spaces or more than 16 digits, bare LF, control characters in extensions, missing CRLF; and
//! extensions or trailers without measure.

use bytes::Bytes;
use http::HeaderMap;
use memchr::memchr;

use super::head::{Framing, Wrong, trailers};
use super::input::Input;

/// Most bytes in a chunk's size line, extensions included.
const SIZE_LINE: usize = 256;

/// Most bytes of chunk extensions in a whole body: who pads each byte with hundreds is refused.
const EXTENSIONS: usize = 16 * 1024;

/// Most bytes of trailers.
const TRAILERS: usize = 8 * 1024;

/// A body being read.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    extensions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes are still to come, more than none.
    Length(u64),
    /// A chunk's size line comes next.
    Size,
    /// In a chunk's data: so many bytes are still to come, more than none.
    Data(u64),
    /// The CRLF after a chunk's data.
    DataEnd,
    /// Trailers, or the empty line; so much has been looked at.
    Trailers { seen: usize },
    /// Everything until the end.
    Close,
    /// All has been read.
    Done,
}

/// What came next.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// More must be read first.
    More,
    End,
}

impl Decoder {
    pub(super) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::Close => State::Close,
        };
        Self { state, extensions: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes are still to come, when that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(length) => Some(length),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece from what has been read.
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Piece, Wrong> {
        loop {
            match self.state {
                State::Done => return Ok(Piece::End),
                _ if input.is_empty() => return Ok(Piece::More),
                State::Close => return Ok(Piece::Data(input.take(u64::MAX))),
                State::Length(length) => {
                    let data = input.take(length);
                    let left = length - data.len() as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Piece::Data(data));
                }
                State::Data(length) => {
                    let data = input.take(length);
                    let left = length - data.len() as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    // The end of the body may be at hand: then the reader need not ask again.
                    if left == 0 {
                        self.settle(input)?;
                    }
                    return Ok(Piece::Data(data));
                }
                State::Size => {
                    let Some(size) = self.size(input)? else { return Ok(Piece::More) };
                    self.state =
                        if size == 0 { State::Trailers { seen: 0 } } else { State::Data(size) };
                }
                State::DataEnd => {
                    if !self.data_end(input)? {
                        return Ok(Piece::More);
                    }
                }
                State::Trailers { seen } => return self.trailers(input, seen),
            }
        }
    }

    /// The input has ended. Whether that was the body's proper end.
    pub(super) fn end(&mut self) -> bool {
        let proper = matches!(self.state, State::Close | State::Done);
        if proper {
            self.state = State::Done;
        }
        proper
    }

    /// After a chunk's data: goes on to the end if it is the bare last chunk that follows.
    fn settle(&mut self, input: &mut Input) -> Result<(), Wrong> {
        if self.data_end(input)? && input.bytes().starts_with(b"0\r\n\r\n") {
            input.skip(5);
            self.state = State::Done;
        }
        Ok(())
    }

    fn data_end(&mut self, input: &mut Input) -> Result<bool, Wrong> {
        match input.bytes() {
            [] | [b'\r'] => Ok(false),
            [b'\r', b'\n', ..] => {
                input.skip(2);
                self.state = State::Size;
                Ok(true)
            }
            _ => Err(Wrong::Framing("no CRLF after a chunk's data")),
        }
    }

    fn size(&mut self, input: &mut Input) -> Result<Option<u64>, Wrong> {
        let bytes = input.bytes();
        let bytes = bytes.get(..SIZE_LINE).unwrap_or(bytes);
        let Some(lf) = memchr(b'\n', bytes) else {
            if bytes.len() == SIZE_LINE {
                return Err(Wrong::Framing("a chunk's size line is too long"));
            }
            return Ok(None);
        };
        let line = bytes.get(..lf).unwrap_or_default();
        let line =
            line.strip_suffix(b"\r").ok_or(Wrong::Framing("a bare LF after a chunk's size"))?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extension) = line.split_at(digits);
        if !(1..=16).contains(&digits.len()) {
            return Err(Wrong::Framing("a chunk's size is not 1 to 16 hex digits"));
        }
        if !matches!(extension, [] | [b';', ..]) {
            return Err(Wrong::Framing("a chunk's size is followed by something else"));
        }
        let clean = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
        if !extension.iter().all(clean) {
            return Err(Wrong::Framing("a control character in a chunk's extension"));
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS {
            return Err(Wrong::Framing("too many chunk extensions"));
        }
        let hex = |byte: &u8| u64::from((*byte as char).to_digit(16).unwrap_or(0));
        let size = digits.iter().fold(0, |size, byte| size << 4 | hex(byte));
        input.skip(lf + 1);
        Ok(Some(size))
    }

    fn trailers(&mut self, input: &mut Input, mut seen: usize) -> Result<Piece, Wrong> {
        let bytes = input.bytes();
        if bytes.starts_with(b"\r\n") {
            input.skip(2);
            self.state = State::Done;
            return Ok(Piece::End);
        }
        while let Some(at) = memchr(b'\n', bytes.get(seen..).unwrap_or_default()) {
            let lf = seen + at;
            if lf == 0 || bytes.get(lf - 1) != Some(&b'\r') {
                return Err(Wrong::Framing("a bare LF in the trailers"));
            }
            seen = lf + 1;
            if seen > TRAILERS {
                break;
            }
            if bytes.get(seen..).is_some_and(|rest| rest.starts_with(b"\r\n")) {
                let fields = trailers(&input.take_copy(seen + 2))?;
                self.state = State::Done;
                return Ok(if fields.is_empty() { Piece::End } else { Piece::Trailers(fields) });
            }
            if bytes.len() - seen < 2 {
                // The empty line may be here in part: this line's end is looked at again.
                seen = lf;
                break;
            }
        }
        if bytes.len() > TRAILERS {
            return Err(Wrong::Framing("the trailers are too large"));
        }
        self.state = State::Trailers { seen };
        Ok(Piece::More)
    }
}

/// Decodes `body`, chunked, fed in two parts: what the fuzzer and the tests call.
pub fn decode_chunked(body: &[u8], split: usize) -> Result<Option<Vec<u8>>, Wrong> {
    let (first, second) = body.split_at(split.min(body.len()));
    let mut decoder = Decoder::new(Framing::Chunked);
    let mut data = Vec::new();
    let mut whole = Vec::new();
    for part in [first, second] {
        whole.extend_from_slice(part);
        let mut input = Input::new(&Bytes::copy_from_slice(&whole));
        loop {
            match decoder.next(&mut input)? {
                Piece::Data(piece) => data.extend_from_slice(&piece),
                Piece::Trailers(_) => {}
                Piece::More => break,
                Piece::End => return Ok(Some(data)),
            }
        }
        whole = input.bytes().to_vec();
    }
    Ok(None)
}
