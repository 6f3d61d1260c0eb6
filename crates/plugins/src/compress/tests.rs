//! What cases cannot say: that the bytes come out again, however they came in, that a pause
//! flushes, and what a stream costs.

use std::collections::VecDeque;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use lockgate_core::{Body, Fault, reasons};
use proptest::prelude::*;

use super::accept::Coding;
use super::encoder::{Compressed, Effort};

const EFFORT: Effort = Effort { gzip: 5, br: 4, zstd: 3 };
const ALL: [Coding; 3] = [Coding::Gzip, Coding::Br, Coding::Zstd];

enum Part {
    Data(Bytes),
    Pause,
    Trailers(HeaderMap),
    Breaks,
}

struct Parts(VecDeque<Part>);

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(Part::Pause) => Poll::Pending,
            Some(Part::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Part::Trailers(map)) => Poll::Ready(Some(Ok(Frame::trailers(map)))),
            Some(Part::Breaks) => {
                Poll::Ready(Some(Err(Fault::upstream(&reasons::UPSTREAM_BROKE_OFF))))
            }
        }
    }
}

fn compressed(parts: impl IntoIterator<Item = Part>, coding: Coding) -> Compressed {
    let parts = Parts(parts.into_iter().collect());
    Compressed::new(Body::stream(parts), coding, EFFORT)
}

/// The next poll's result.
fn next(body: &mut Compressed) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// All data up to the end, past every pause.
fn all(body: &mut Compressed) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..100_000 {
        match next(body) {
            Poll::Pending => {}
            Poll::Ready(None) => return out,
            Poll::Ready(Some(frame)) => out.extend(frame.unwrap().into_data().unwrap()),
        }
    }
    panic!("it has no end");
}

fn plain(coded: &[u8], coding: Coding) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut out).unwrap(),
        Coding::Br => brotli::Decompressor::new(coded, 4096).read_to_end(&mut out).unwrap(),
        Coding::Zstd => zstd::Decoder::new(coded).unwrap().read_to_end(&mut out).unwrap(),
    };
    out
}

/// What can be read of a stream that has not ended.
fn begun(coded: &[u8], coding: Coding) -> Vec<u8> {
    let mut out = vec![0; 1024];
    let read = match coding {
        Coding::Gzip => flate2::read::GzDecoder::new(coded).read(&mut out),
        Coding::Br => brotli::Decompressor::new(coded, 4096).read(&mut out),
        Coding::Zstd => zstd::Decoder::new(coded).unwrap().read(&mut out),
    };
    out.truncate(read.unwrap());
    out
}

#[test]
fn a_pause_flushes_what_has_come() {
    for coding in ALL {
        let event = |text: &str| Part::Data(Bytes::from(text.to_owned()));
        let mut body = compressed(
            [event("data: one\n\n"), Part::Pause, Part::Pause, event("data: two\n\n"), Part::Pause],
            coding,
        );
        let mut seen = Vec::new();
        let mut flushed = |body: &mut Compressed, text: &str| {
            let Poll::Ready(Some(Ok(frame))) = next(body) else { panic!("{text} is held back") };
            seen.extend(frame.into_data().unwrap());
            assert_eq!(begun(&seen, coding), text.as_bytes(), "{coding:?}");
        };
        flushed(&mut body, "data: one\n\n");
        assert!(next(&mut body).is_pending(), "nothing new, nothing sent");
        flushed(&mut body, "data: one\n\ndata: two\n\n");
    }
}

#[test]
fn trailers_come_last_and_a_break_is_a_break() {
    for coding in ALL {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let data = || Part::Data(Bytes::from_static(b"abc"));
        let mut body = compressed([data(), Part::Trailers(trailers)], coding);
        let Poll::Ready(Some(Ok(frame))) = next(&mut body) else { panic!("no data") };
        assert_eq!(plain(&frame.into_data().unwrap(), coding), b"abc");
        assert!(!body.is_end_stream());
        let Poll::Ready(Some(Ok(frame))) = next(&mut body) else { panic!("no trailers") };
        assert_eq!(frame.into_trailers().unwrap()["x-sum"], "1");
        assert!(matches!(next(&mut body), Poll::Ready(None)));

        let mut body = compressed([data(), Part::Breaks], coding);
        assert!(matches!(next(&mut body), Poll::Ready(Some(Err(_)))), "no end is made up");
    }
}

#[test]
fn a_body_without_a_byte_is_an_empty_stream() {
    for coding in ALL {
        assert_eq!(plain(&all(&mut compressed([], coding)), coding), b"");
    }
}

#[test]
fn much_that_shrinks_to_nothing_lets_others_have_their_turn() {
    for coding in ALL {
        let zeros = Bytes::from(vec![0; 4 << 20]);
        let mut body = compressed([Part::Data(zeros.clone())], coding);
        assert!(next(&mut body).is_pending(), "{coding:?}");
        let out = all(&mut body);
        assert!(out.len() < 16 * 1024, "{coding:?}: {}", out.len());
        assert_eq!(plain(&out, coding), zeros);
    }
}

#[test]
#[ignore = "a measurement: cargo test --release -p lockgate-plugins measure -- --ignored --nocapture"]
fn measure_a_stream() {
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
    };
    let text: Bytes = (0..40_000_u64)
        .map(|n| format!("{{\"id\":{n},\"hash\":\"{:x}\"}}\n", n.wrapping_mul(0x9e37_79b9_7f4a)))
        .collect::<String>()
        .into();
    let small = Effort { gzip: 8, br: 6, zstd: 8 };
    for (coding, effort) in ALL.map(|coding| [(coding, EFFORT), (coding, small)]).as_flattened() {
        let before = resident();
        let begun = std::time::SystemTime::now();
        let mut streams = Vec::new();
        let mut size = 0;
        for _ in 0..50 {
            let parts = std::iter::once(Part::Data(text.clone()));
            let parts = parts.chain((0..300).map(|_| Part::Pause));
            let parts = Body::stream(Parts(parts.collect()));
            let mut body = Compressed::new(parts, *coding, *effort);
            // More turns than the data has pieces: then it pauses.
            for _ in 0..200 {
                match next(&mut body) {
                    Poll::Ready(Some(Ok(frame))) => size += frame.into_data().unwrap().len(),
                    Poll::Ready(_) => break,
                    Poll::Pending => {}
                }
            }
            streams.push(body);
        }
        let took = begun.elapsed().unwrap().as_secs_f64() / 50.0;
        println!(
            "{coding:?} {effort:?}: {} KiB a stream, {:.0} MB/s, {:.1} %",
            (resident() - before) / 50,
            text.len() as f64 / took / 1e6,
            size as f64 / 50.0 / text.len() as f64 * 100.0,
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_goes_in_comes_out(
        pieces in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..600), 1usize..300, any::<bool>()), 0..8),
    ) {
        for coding in ALL {
            let mut parts = Vec::new();
            let mut whole = Vec::new();
            for (piece, times, pause) in &pieces {
                let data = piece.repeat(*times);
                whole.extend_from_slice(&data);
                parts.push(Part::Data(data.into()));
                if *pause {
                    parts.push(Part::Pause);
                }
            }
            let out = all(&mut compressed(parts, coding));
            prop_assert_eq!(&plain(&out, coding), &whole);
        }
    }
}
