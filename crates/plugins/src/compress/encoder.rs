//! A body that is compressed while it passes. Whenever the inner one has nothing more for now, all
//! that has come is flushed, so that an event is never held back for the next one.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use lockgate_core::{Body, Fault, reasons};

use super::accept::Coding;

/// How hard is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) gzip: u32,
    pub(super) br: u32,
    pub(super) zstd: i32,
}

/// 2 to the power of this is how far back repetitions are looked for: 256 KiB. It bounds the
/// memory of a stream.
const WINDOW: u32 = 18;
/// Most bytes that are compressed in one go: others of the worker wait meanwhile.
const PIECE: usize = 32 * 1024;
/// As much is sent at once, if it is there.
const ENOUGH: usize = 16 * 1024;
/// After so many pieces without output others get their turn.
const TURN: usize = 8;

/// A compressor that writes into memory.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(super) fn new(coding: Coding, effort: Effort) -> io::Result<Self> {
        let out = Vec::new();
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(out, flate2::Compression::new(effort.gzip))),
            Coding::Br => {
                let writer = brotli::CompressorWriter::new(out, 4096, effort.br, WINDOW);
                Self::Br(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, effort.zstd)?;
                encoder.window_log(WINDOW)?;
                Self::Zstd(encoder)
            }
        })
    }

    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(data),
            Self::Br(encoder) => encoder.write_all(data),
            Self::Zstd(encoder) => encoder.write_all(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Br(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Br(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    /// Ends the stream, and gives what is left of it.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Br(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// A body on its way through a compressor.
pub(super) struct Compressed {
    inner: Body,
    coding: Coding,
    effort: Effort,
    /// Made with the first byte: a stream that is silent costs nothing.
    encoder: Option<Encoder>,
    /// Of a piece that is too large for one go.
    rest: Bytes,
    /// Something was written since the last flush.
    dirty: bool,
    trailers: Option<HeaderMap>,
    over: bool,
}

impl Compressed {
    pub(super) fn new(inner: Body, coding: Coding, effort: Effort) -> Self {
        Self {
            inner,
            coding,
            effort,
            encoder: None,
            rest: Bytes::new(),
            dirty: false,
            trailers: None,
            over: false,
        }
    }

    /// Compresses the next piece; what is ready of it, if it is enough.
    fn take_in(&mut self) -> io::Result<Option<Bytes>> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::new(self.coding, self.effort)?),
        };
        encoder.write(&piece)?;
        self.dirty = true;
        let out = encoder.out();
        Ok((out.len() >= ENOUGH).then(|| std::mem::take(out).into()))
    }

    /// All that has come so far, whole enough to be read.
    fn flush(&mut self) -> io::Result<Option<Bytes>> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(None);
        }
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        encoder.flush()?;
        let out = std::mem::take(encoder.out());
        Ok((!out.is_empty()).then(|| out.into()))
    }

    fn finish(&mut self) -> io::Result<Option<Bytes>> {
        self.over = true;
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(self.coding, self.effort)?,
        };
        let out = encoder.finish()?;
        Ok((!out.is_empty()).then(|| out.into()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let data = |data: Bytes| Poll::Ready(Some(Ok(Frame::data(data))));
        for _ in 0..TURN {
            if self.over {
                let trailers = self.trailers.take();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if !self.rest.is_empty() {
                if let Some(out) = self.take_in().map_err(broken)? {
                    return data(out);
                }
                continue;
            }
            let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(frame) => frame.transpose()?,
                Poll::Pending => {
                    return self.flush().map_err(broken)?.map_or(Poll::Pending, data);
                }
            };
            match frame.map(Frame::into_data) {
                Some(Ok(more)) => {
                    self.rest = more;
                    continue;
                }
                Some(Err(frame)) => self.trailers = frame.into_trailers().ok(),
                None => {}
            }
            if let Some(out) = self.finish().map_err(broken)? {
                return data(out);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn broken(error: io::Error) -> Fault {
    Fault::gateway(&reasons::INTERNAL).detail("the answer could not be compressed").source(error)
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.get_mut().poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.trailers.is_none()
    }
}
