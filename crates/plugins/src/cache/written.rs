//! The form in which what is kept goes to other processes and comes back from them: versioned, and
//! read as if anybody might have written it. What an answer says of its body or its connection is
//! never in it, as the codecs alone make that.

use std::time::Duration;

use http::StatusCode;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use lockgate_core::{BlobHead, Pack, Unpack};
use tokio::time::Instant;

use super::freshness::{LONGEST, Life};
use super::stored::{Answer, Stored, make_room};

/// What is written now, and all that is read.
const VERSION: u8 = 1;
const ANSWER: u8 = 0;
const VARYING: u8 = 1;
const NOT_KEPT: u8 = 2;
/// Most lines of a head.
const MOST_LINES: usize = 1024;
/// Longest name of a header.
const LONGEST_NAME: usize = 1 << 10;
/// Longest value of one.
const LONGEST_VALUE: usize = 1 << 20;
/// No age is longer: what an upstream says of it, and the time that it was kept.
const OLDEST: Duration = Duration::from_secs(3 * 365 * 86_400);
/// Never written, and nothing that has them is read.
const OF_THE_CODECS: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

impl Stored {
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let mut pack = Pack(out);
        pack.byte(VERSION);
        match self {
            Self::Answer(answer) => write_answer(answer, pack.byte(ANSWER)),
            Self::Varying(names) => {
                pack.byte(VARYING).count(names.len());
                for name in names {
                    pack.bytes(name.as_str().as_bytes());
                }
            }
            Self::NotKept => {
                pack.byte(NOT_KEPT);
            }
        }
    }

    /// Reads what was written so long ago.
    pub(super) fn read(bytes: &[u8], ago: Duration) -> Option<Self> {
        let mut packed = Unpack::new(bytes);
        if packed.byte()? != VERSION {
            return None;
        }
        let stored = match packed.byte()? {
            ANSWER => Self::Answer(read_answer(&mut packed, ago)?),
            VARYING => {
                let count = packed.count(MOST_LINES)?;
                let names = (0..count).map(|_| name(&mut packed));
                Self::Varying(names.collect::<Option<_>>()?)
            }
            NOT_KEPT => Self::NotKept,
            _ => return None,
        };
        packed.end()?;
        Some(stored)
    }
}

/// See [`lockgate_core::ReadHead`].
pub(super) fn read(bytes: &[u8], ago: Duration) -> Option<Box<dyn BlobHead>> {
    Some(Box::new(Stored::read(bytes, ago)?))
}

fn write_answer(answer: &Answer, pack: &mut Pack<'_>) {
    let Life {
        initial_age,
        lifetime,
        stale_while_revalidate,
        stale_if_error,
        validate,
        strict,
        shared_time,
        validators,
    } = answer.life;
    pack.number(u64::from(answer.status.as_u16())).time(answer.received.elapsed());
    pack.time(initial_age).time(lifetime).time(stale_while_revalidate).time(stale_if_error);
    let flags = [validate, strict, shared_time, validators];
    pack.byte(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
    let lines = || answer.headers.iter().filter(|(name, _)| !OF_THE_CODECS.contains(name));
    pack.count(lines().count());
    for (name, value) in lines() {
        pack.bytes(name.as_str().as_bytes()).bytes(value.as_bytes());
    }
}

fn read_answer(packed: &mut Unpack<'_>, ago: Duration) -> Option<Answer> {
    let status = u16::try_from(packed.number()?).ok().filter(|code| (200..600).contains(code))?;
    let since = packed.time(OLDEST)? + ago.min(OLDEST);
    let mut life = Life {
        initial_age: packed.time(OLDEST)?,
        lifetime: packed.time(LONGEST)?,
        stale_while_revalidate: packed.time(LONGEST)?,
        stale_if_error: packed.time(LONGEST)?,
        ..Life::default()
    };
    let flags = packed.byte().filter(|flags| *flags < 16)?;
    life.validate = flags & 1 != 0;
    life.strict = flags & 2 != 0;
    life.shared_time = flags & 4 != 0;
    life.validators = flags & 8 != 0;
    let mut headers = HeaderMap::new();
    for _ in 0..packed.count(MOST_LINES)? {
        let name = name(packed)?;
        if OF_THE_CODECS.contains(&name) {
            return None;
        }
        let value = HeaderValue::from_bytes(packed.bytes(LONGEST_VALUE)?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    make_room(&mut headers);
    let now = Instant::now();
    let received = now.checked_sub(since).unwrap_or_else(|| {
        // The clock does not reach back so far: its age is what counts.
        life.initial_age += since;
        now
    });
    let status = StatusCode::from_u16(status).ok()?;
    Some(Answer { status, headers, life, received, held_until: None })
}

fn name(packed: &mut Unpack<'_>) -> Option<HeaderName> {
    HeaderName::from_bytes(packed.bytes(LONGEST_NAME)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(stored: &Stored) -> Vec<u8> {
        let mut out = Vec::new();
        stored.write_to(&mut out);
        out
    }

    fn answer() -> Answer {
        let mut headers = HeaderMap::new();
        headers.append("etag", HeaderValue::from_static("\"1\""));
        headers.append("x-a", HeaderValue::from_static("one"));
        headers.append("x-a", HeaderValue::from_bytes(b"tw\xf6").unwrap());
        make_room(&mut headers);
        let life = Life {
            initial_age: Duration::from_secs(3),
            lifetime: Duration::from_secs(60),
            stale_while_revalidate: Duration::from_millis(1500),
            strict: true,
            validators: true,
            ..Life::default()
        };
        let received = Instant::now();
        Answer { status: StatusCode::NOT_FOUND, headers, life, received, held_until: None }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_comes_back_as_it_was_and_as_old_as_it_is() {
        let sent = answer();
        tokio::time::advance(Duration::from_secs(10)).await;
        let bytes = written(&Stored::Answer(sent.clone()));
        tokio::time::advance(Duration::from_secs(7)).await;
        let Some(Stored::Answer(read)) = Stored::read(&bytes, Duration::from_secs(7)) else {
            panic!("an answer")
        };
        assert_eq!(
            (read.status, &read.headers, read.life),
            (sent.status, &sent.headers, sent.life)
        );
        let now = Instant::now();
        assert_eq!((read.age(now), sent.age(now)), (Duration::from_secs(20), read.age(now)));
        let names: Box<[HeaderName]> = [CONTENT_LENGTH, http::header::ACCEPT].into();
        let bytes = written(&Stored::Varying(names.clone()));
        let read = Stored::read(&bytes, Duration::ZERO);
        assert!(matches!(read, Some(Stored::Varying(read)) if read == names));
        let bytes = written(&Stored::NotKept);
        assert!(matches!(Stored::read(&bytes, Duration::ZERO), Some(Stored::NotKept)));
    }

    #[tokio::test]
    async fn another_version_and_what_belongs_to_the_codecs_are_not_read() {
        let mut bytes = written(&Stored::Answer(answer()));
        bytes[0] = VERSION + 1;
        assert!(Stored::read(&bytes, Duration::ZERO).is_none());
        let mut sent = answer();
        sent.headers.insert("x-transfer-encodin", HeaderValue::from_static("chunked"));
        sent.headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        let mut bytes = written(&Stored::Answer(sent));
        assert!(!bytes.windows(17).any(|bytes| bytes == b"transfer-encoding"));
        assert!(Stored::read(&bytes, Duration::ZERO).is_some());
        let place = bytes.windows(5).position(|bytes| bytes == b"x-tra").unwrap();
        bytes.splice(place..place + 18, *b"transfer-encoding\0");
        bytes.remove(place + 17);
        bytes[place - 1] -= 1;
        assert!(Stored::read(&bytes, Duration::ZERO).is_none());
    }

    proptest! {
        /// Cut, lengthened or with other bytes in it: read without a panic, and only what means
        /// something.
        #[test]
        fn anything_is_read_without_a_panic(
            place in 0_usize..200, byte: u8, cut in 0_usize..200, more: bool,
        ) {
            let mut bytes = written(&Stored::Answer(answer()));
            let whole = bytes.len();
            prop_assert!(Stored::read(&bytes[..cut.min(whole - 1)], Duration::ZERO).is_none());
            if more {
                bytes.push(byte);
                prop_assert!(Stored::read(&bytes, Duration::ZERO).is_none());
                bytes.pop();
            }
            bytes[place % whole] = byte;
            if let Some(Stored::Answer(read)) = Stored::read(&bytes, Duration::MAX / 4) {
                prop_assert!(read.life.lifetime <= LONGEST);
            }
        }
    }
}
