//! The parsers by themselves: any split of the bytes gives the same, what is written is read back,
//! and no bytes at all bring them down.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use lockgate_core::Lines;
use lockgate_core::span::{Parent, SAMPLED, SpanId, TRACEPARENT, TraceId};
use proptest::prelude::*;

use crate::h1::encode::{Announce, Persistence, persistence, request_head, response_head};
use crate::h1::head::Finder;
use crate::h1::{Beside, Framing, HeadLimits, decode_chunked, parse_request, parse_response};

const LIMITS: HeadLimits = HeadLimits { size: 8192, headers: 64, target: 2048 };

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,20}"
}

/// Header lines that the codec does not interpret.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = "([!-~]([ -~]{0,30}[!-~])?)?";
    prop::collection::vec((token().prop_map(|name| format!("x-{name}")), value), 0..10)
}

fn map(fields: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

/// Bytes that look enough like HTTP to get far.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"5\r\nabcde\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        Just(b";x=".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_request_is_read_back_as_it_was_written(
        method in token(), path in "/[a-zA-Z0-9/%?&=.~_-]{0,40}", fields in fields(),
        length in proptest::option::of(1_u64..),
    ) {
        prop_assume!(method != "CONNECT");
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = path.parse().unwrap();
        *request.headers_mut() = map(&fields);
        request.headers_mut().insert("host", HeaderValue::from_static("example.com:80"));
        let (head, ()) = request.into_parts();
        let announce = length.map_or(Announce::Chunked, Announce::Length);
        let mut out = BytesMut::new();
        request_head(&mut out, &head, announce, Beside { lines: &Lines::default(), trace: None });
        let (read, size) = parse_request(&out, &LIMITS).unwrap().unwrap();
        prop_assert_eq!(size, out.len());
        prop_assert_eq!(read.parts.method, head.method);
        prop_assert_eq!(read.parts.uri, head.uri);
        prop_assert_eq!(read.parts.headers, head.headers);
        prop_assert_eq!(read.framing, length.map_or(Framing::Chunked, Framing::Length));
    }

    #[test]
    fn what_goes_beside_a_head_is_read_with_it(fields in fields(), before in 0..3, traced: bool) {
        let mut request = Request::new(());
        *request.headers_mut() = map(&fields);
        request.headers_mut().insert("host", HeaderValue::from_static("example.com"));
        request.headers_mut().remove(&TRACEPARENT);
        for _ in 0..before {
            request.headers_mut().append(TRACEPARENT, HeaderValue::from_static("before"));
        }
        let (mut head, ()) = request.into_parts();
        let mut lines = Lines::default();
        lines.push_text("x-request-id: ", "7");
        let parent = Parent { trace: TraceId::random(), span: SpanId::random(), flags: SAMPLED };
        let trace = traced.then(|| parent.line());
        let mut out = BytesMut::new();
        request_head(&mut out, &head, Announce::Nothing, Beside { lines: &lines, trace });
        let (read, _) = parse_request(&out, &LIMITS).unwrap().unwrap();
        head.headers.append("x-request-id", HeaderValue::from_static("7"));
        if traced {
            let value = HeaderValue::from_bytes(&parent.written()).unwrap();
            head.headers.insert(TRACEPARENT, value);
        }
        prop_assert_eq!(read.parts.headers, head.headers);
    }

    #[test]
    fn an_answer_is_read_back_as_it_was_written(
        status in 200_u16..=599, fields in fields(), length in 1_u64..,
    ) {
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = map(&fields);
        response.headers_mut().insert("date", HeaderValue::from_static("now"));
        let (head, ()) = response.into_parts();
        let mut out = BytesMut::new();
        let announce = Announce::Length(length);
        prop_assert!(!response_head(&mut out, head.status, &head.headers, announce));
        persistence(&mut out, Persistence::Implied);
        let (read, size) = parse_response(&out, &Method::GET, &LIMITS).unwrap().unwrap();
        prop_assert_eq!(size, out.len());
        prop_assert_eq!(read.parts.status, head.status);
        let bare = status == 204 || status == 304;
        prop_assert_eq!(read.framing, if bare { Framing::None } else { Framing::Length(length) });
        if status != 304 {
            prop_assert_eq!(read.parts.headers, head.headers);
        }
        prop_assert!(read.keep_alive);
    }

    #[test]
    fn a_head_is_found_wherever_it_is_split(input in likely(), splits in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let whole = Finder::default().find(&input, &LIMITS);
        let mut ends: Vec<usize> = splits.iter().map(|at| at.index(input.len() + 1)).collect();
        ends.push(input.len());
        ends.sort_unstable();
        let mut finder = Finder::default();
        let mut found = Ok(None);
        for end in ends {
            found = finder.find(&input[..end], &LIMITS);
            if !matches!(found, Ok(None)) {
                break;
            }
        }
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn nothing_brings_the_parsers_down(input in prop_oneof![likely(), prop::collection::vec(any::<u8>(), 0..300)]) {
        if let Ok(Some((head, size))) = parse_request(&input, &LIMITS) {
            prop_assert!(size <= input.len());
            prop_assert!(!head.parts.headers.contains_key("transfer-encoding"));
            prop_assert!(!head.parts.headers.contains_key("content-length"));
        }
        let _ = parse_response(&input, &Method::GET, &LIMITS);
        let _ = parse_response(&input, &Method::HEAD, &LIMITS);
        let whole = decode_chunked(&input, 0);
        for split in 0..input.len() {
            prop_assert_eq!(&decode_chunked(&input, split), &whole, "split at {}", split);
        }
    }

    #[test]
    fn chunks_are_joined_wherever_they_are_split(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        split in any::<prop::sample::Index>(), trailers in any::<bool>(),
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(if trailers { b"0\r\nA: b\r\nC: d\r\n\r\n" } else { b"0\r\n\r\n" });
        let split = split.index(body.len() + 1);
        prop_assert_eq!(decode_chunked(&body, split).unwrap().unwrap(), chunks.concat());
        prop_assert_eq!(decode_chunked(&body[..body.len() - 1], split).unwrap(), None);
    }
}

/// Where the first lines end is remembered, of the others it is looked for: all are read alike.
#[test]
fn a_head_of_many_lines_is_read_to_its_last() {
    for count in [1, 14, 15, 16, 17, 40] {
        let lines: String = (0..count).map(|n| format!("X-{n}: value {n}\r\n")).collect();
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (head, size) = parse_request(input.as_bytes(), &LIMITS).unwrap().unwrap();
        assert_eq!((head.parts.headers.len(), size), (count + 1, input.len()));
        for n in 0..count {
            assert_eq!(head.parts.headers[format!("x-{n}")], format!("value {n}"));
        }
    }
}

#[test]
fn header_values_share_the_heads_memory() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: abcdefghijklmnopqrstuvwxyz\r\n\r\n";
    let head = Bytes::copy_from_slice(input);
    let range = head.as_ptr_range();
    let found = Finder::default().find(&head, &LIMITS).unwrap().unwrap();
    let read = crate::h1::head::read_request(&head, &found, &LIMITS).unwrap();
    assert!(range.contains(&read.parts.headers["x-long"].as_bytes().as_ptr()));
}

#[test]
fn an_answers_first_line_and_framing_are_read_strictly() {
    let framing = |text: &str| {
        let read = parse_response(text.as_bytes(), &Method::GET, &LIMITS);
        read.map(|found| found.unwrap().0.framing).map_err(|_| ())
    };
    assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Ok(Framing::Length(5)));
    assert_eq!(framing("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), Ok(Framing::None));
    assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), Ok(Framing::Close));
    assert_eq!(framing("HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n"), Ok(Framing::None));
    for wrong in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        assert_eq!(framing(wrong), Err(()), "{wrong:?}");
    }
}
