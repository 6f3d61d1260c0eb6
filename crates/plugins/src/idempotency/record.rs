//! What is kept of an answer, as bytes: a version, then its status, headers, trailers and body.
//! Numbers are big-endian, texts have their length before them. Reading refuses whatever writing
//! would not have made: a record may come from another version, or from whoever can write to the
//! store.

use bytes::{Buf, BufMut, Bytes};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use lockgate_core::Body;

use super::keep::given;

const VERSION: u8 = 1;
/// The whole answer follows.
const WHOLE: u8 = 0;
/// Nothing but the status was kept.
const STATUS: u8 = 1;
/// Most lines of headers, and of trailers.
const MOST_LINES: usize = 4096;

/// What is kept of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it.
    Whole(Box<Answer>),
    /// That it was given, with this status.
    Status(StatusCode),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    trailers: Option<HeaderMap>,
    body: Bytes,
}

impl Answer {
    /// An answer without what its framing said: whoever writes it again makes that anew.
    pub(super) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Self {
        let mut headers = headers.clone();
        headers.remove(CONTENT_LENGTH);
        Self { status, headers, trailers, body }
    }
}

impl From<Answer> for Response<Body> {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(given(answer.body, answer.trailers));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

impl Kept {
    /// As bytes.
    pub(super) fn encode(&self) -> Bytes {
        let answer = match self {
            Self::Whole(answer) => answer,
            Self::Status(status) => {
                let mut out = vec![VERSION, STATUS];
                out.put_u16(status.as_u16());
                return out.into();
            }
        };
        let all = std::iter::once(&answer.headers).chain(&answer.trailers).flatten();
        let size: usize = all.map(|(name, value)| name.as_str().len() + value.len() + 6).sum();
        let mut out = Vec::with_capacity(size + answer.body.len() + 16);
        out.extend_from_slice(&[VERSION, WHOLE]);
        out.put_u16(answer.status.as_u16());
        write_lines(&mut out, &answer.headers);
        out.put_u8(u8::from(answer.trailers.is_some()));
        if let Some(trailers) = &answer.trailers {
            write_lines(&mut out, trailers);
        }
        out.extend_from_slice(&answer.body);
        out.into()
    }

    /// Reads what [`Kept::encode`] has written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn decode(record: &Bytes) -> Result<Self, &'static str> {
        let mut left = record.clone();
        if take_u8(&mut left)? != VERSION {
            return Err("the record is of another version");
        }
        let kind = take_u8(&mut left)?;
        let status = StatusCode::from_u16(take_u16(&mut left)?).ok();
        let status = status.filter(|status| !status.is_informational()).ok_or(WRONG)?;
        match kind {
            STATUS if left.is_empty() => Ok(Self::Status(status)),
            WHOLE => {
                let headers = read_lines(&mut left)?;
                let trailers = match take_u8(&mut left)? {
                    0 => None,
                    1 => Some(read_lines(&mut left)?),
                    _ => return Err(WRONG),
                };
                let answer = Answer { status, headers, trailers, body: left };
                Ok(Self::Whole(Box::new(answer)))
            }
            _ => Err(WRONG),
        }
    }
}

const WRONG: &str = "the record is damaged";

fn write_lines(out: &mut Vec<u8>, lines: &HeaderMap) {
    // Both are far below by the limits on a head.
    let count = lines.len().min(MOST_LINES);
    out.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
    for (name, value) in lines.iter().take(count) {
        let name = name.as_str().as_bytes();
        out.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
        out.extend_from_slice(name);
        out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        out.extend_from_slice(value.as_bytes());
    }
}

fn read_lines(left: &mut Bytes) -> Result<HeaderMap, &'static str> {
    let count = usize::from(take_u16(left)?);
    if count > MOST_LINES {
        return Err(WRONG);
    }
    let mut lines = HeaderMap::new();
    for _ in 0..count {
        let length = take_u16(left)?;
        let name = take(left, usize::from(length))?;
        let name = HeaderName::from_lowercase(&name).map_err(|_| WRONG)?;
        let length = usize::try_from(take_u32(left)?).map_err(|_| WRONG)?;
        let value = HeaderValue::from_maybe_shared(take(left, length)?).map_err(|_| WRONG)?;
        lines.try_append(name, value).map_err(|_| WRONG)?;
    }
    Ok(lines)
}

fn take(left: &mut Bytes, length: usize) -> Result<Bytes, &'static str> {
    if left.len() < length { Err(WRONG) } else { Ok(left.split_to(length)) }
}

fn take_u8(left: &mut Bytes) -> Result<u8, &'static str> {
    left.try_get_u8().map_err(|_| WRONG)
}

fn take_u16(left: &mut Bytes) -> Result<u16, &'static str> {
    left.try_get_u16().map_err(|_| WRONG)
}

fn take_u32(left: &mut Bytes) -> Result<u32, &'static str> {
    left.try_get_u32().map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(lines: &[(&str, &str)], trailers: Option<&[(&str, &str)]>, body: &str) -> Kept {
        let map = |lines: &[(&str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in lines {
                let name: HeaderName = name.parse().unwrap();
                map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            map
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let answer = Answer::new(StatusCode::CREATED, &map(lines), body, trailers.map(map));
        Kept::Whole(Box::new(answer))
    }

    #[test]
    fn an_answer_reads_as_it_was_written() {
        let lines = [("set-cookie", "a=1"), ("x", ""), ("set-cookie", "b=\u{e9}")];
        for kept in [
            answer(&lines, None, "hello"),
            answer(&[], Some(&[("grpc-status", "0")]), ""),
            answer(&[], Some(&[]), "x"),
            Kept::Status(StatusCode::BAD_GATEWAY),
        ] {
            assert_eq!(Kept::decode(&kept.encode()), Ok(kept));
        }
        let Kept::Whole(framed) = answer(&[("content-length", "5")], None, "hello") else {
            panic!()
        };
        assert!(framed.headers.is_empty());
    }

    #[test]
    fn what_is_cut_short_or_of_another_version_is_refused() {
        let whole = answer(&[("a", "b")], Some(&[("c", "d")]), "").encode();
        for length in 0..whole.len() {
            assert!(Kept::decode(&whole.slice(..length)).is_err(), "{length}");
        }
        for (place, byte) in [(0, 2), (1, 2), (2, 0xff), (4, 0xff)] {
            let mut other = whole.to_vec();
            other[place] = byte;
            assert!(Kept::decode(&other.into()).is_err(), "{place}");
        }
        let mut longer = Kept::Status(StatusCode::OK).encode().to_vec();
        longer.push(0);
        assert!(Kept::decode(&longer.into()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_reads_is_written_as_one_that_reads_the_same(
            begin in prop_oneof![Just(vec![1, 0, 0, 200, 0, 1]), Just(vec![1, 1, 1, 144]), Just(vec![])],
            rest in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(b'a'), any::<u8>()], 0..60),
        ) {
            crate::idempotency::fuzz(&[begin, rest].concat());
        }
    }
}
