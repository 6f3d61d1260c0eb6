//! An HTTP/2 client that writes its frames by hand, so that it can send what no library would.

use std::net::SocketAddr;

use crate::Wire;

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was answered. The status, when it is one of those that take a single byte.
    Answered(Option<u16>),
    /// It was reset, with this code.
    Reset(u32),
    /// The whole connection was ended, with this code if one was told.
    Ended(Option<u32>),
}

/// A connection.
pub struct Frames {
    /// The bytes' way.
    pub wire: Wire,
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Frames {
    /// Connects and says what every client says first.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut frames = Self { wire: Wire::connect(address).await };
        frames.wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.frame(4, 0, 0, &[]).await;
        frames
    }

    /// Sends one frame.
    pub async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.wire.send(frame(kind, flags, stream, payload)).await;
    }

    /// Opens a stream with these fields, pseudo-fields among them, exactly as given.
    pub async fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.frame(1, flags, stream, &block(fields)).await;
    }

    /// Sends a piece of a body.
    pub async fn data(&mut self, stream: u32, bytes: &[u8], end: bool) {
        self.frame(0, if end { END_STREAM } else { 0 }, stream, bytes).await;
    }

    /// Waits for what becomes of a stream. Settings and pings are answered meanwhile.
    pub async fn verdict(&mut self, stream: u32) -> Verdict {
        loop {
            while self.wire.buffer.len() < 9 || self.wire.buffer.len() < 9 + self.length() {
                match self.wire.fill().await {
                    Ok(true) => {}
                    Ok(false) => return Verdict::Ended(None),
                    Err(fail) => panic!("nothing becomes of the stream: {fail}"),
                }
            }
            let length = self.length();
            let frame: Vec<u8> = self.wire.buffer.drain(..9 + length).collect();
            let (head, payload) = frame.split_at(9);
            let of = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let code = |at: usize| {
                payload.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
            };
            match head[3] {
                1 if of == stream => return Verdict::Answered(status(payload)),
                3 if of == stream => return Verdict::Reset(code(0).unwrap_or(0)),
                4 if head[4] & 1 == 0 => self.frame(4, 1, 0, &[]).await,
                // A GOAWAY without an error lets this stream be answered all the same.
                7 if code(4) != Some(0) => return Verdict::Ended(code(4)),
                _ => {}
            }
        }
    }

    fn length(&self) -> usize {
        let b = &self.wire.buffer;
        usize::from(b[0]) << 16 | usize::from(b[1]) << 8 | usize::from(b[2])
    }
}

/// One frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block (RFC 7541 §6.2.2): every field literal, none of them indexed.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            length(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// A length with a prefix of seven bits (RFC 7541 §5.1).
fn length(bytes: &mut Vec<u8>, mut left: usize) {
    if left < 127 {
        bytes.push(left as u8);
        return;
    }
    bytes.push(127);
    left -= 127;
    while left >= 128 {
        bytes.push(left as u8 | 128);
        left >>= 7;
    }
    bytes.push(left as u8);
}

/// The status, when the block begins with one of the static table's (RFC 7541 appendix A).
fn status(block: &[u8]) -> Option<u16> {
    let known = [200, 204, 206, 304, 400, 404, 500];
    let index = usize::from(*block.first()?).checked_sub(0x88)?;
    known.get(index).copied()
}
