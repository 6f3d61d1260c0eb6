//! `traceparent` (W3C Trace Context, Level 2, §3.2): read strictly, written in version 00.

use std::fmt;
use std::num::NonZeroU64;

use crate::hex;

/// The flag of a trace whose spans are recorded.
pub const SAMPLED: u8 = 1;
/// The flag of a trace whose id is random in its last seven bytes.
pub const RANDOM: u8 = 2;

/// The length of version 00, which longer versions begin with.
const LENGTH: usize = 55;

/// A `traceparent` in version 00 before its ids and flags are written into it.
const BLANK: &[u8; LENGTH] = b"00-00000000000000000000000000000000-0000000000000000-00";

/// Before the value, where it stands in a head.
const NAME: usize = b"traceparent: ".len();

/// A line of a head in HTTP/1.1: `traceparent: …`, with its CRLF.
pub type TraceLine = [u8; NAME + LENGTH + 2];

const BLANK_LINE: &TraceLine =
    b"traceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\n";

/// A trace's id: never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u64, u64);

/// A span's id: never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

/// What a `traceparent` says: the trace, the span that sent the request, and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The sender's span.
    pub span: SpanId,
    /// [`SAMPLED`], [`RANDOM`], and what later versions may add.
    pub flags: u8,
}

impl TraceId {
    /// Of its two halves; `None` when both are zero.
    pub fn new(high: u64, low: u64) -> Option<Self> {
        (high | low != 0).then_some(Self(high, low))
    }

    /// A fresh one. Unique enough to find a trace by; not a secret.
    pub fn random() -> Self {
        let bits = fastrand::u128(..);
        // The high half is never zero, so neither is the whole.
        Self(((bits >> 64) as u64).max(1), bits as u64)
    }

    /// Its sixteen bytes.
    pub fn bytes(self) -> [u8; 16] {
        (u128::from(self.0) << 64 | u128::from(self.1)).to_be_bytes()
    }

    /// Its 32 digits.
    pub fn hex(self) -> [u8; 32] {
        hex::digits(self.bytes())
    }

    /// The part by which all samplers decide alike: its last 56 bits.
    pub fn randomness(self) -> u64 {
        self.1 & ((1 << 56) - 1)
    }

    /// Its halves.
    pub fn halves(self) -> (u64, u64) {
        (self.0, self.1)
    }
}

/// Ids of spans, one after the other, from a seed that is random: as good as random ones, and
/// cheaper (SplitMix64: Steele, Lea and Flood, 2014).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SpanIds(u64);

impl SpanIds {
    pub(super) fn random() -> Self {
        Self(fastrand::u64(..))
    }

    /// Those of a trace whose id is random.
    pub(super) fn of(trace: TraceId) -> Self {
        Self(trace.0 ^ trace.1)
    }

    pub(super) fn next(&mut self) -> SpanId {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        SpanId(NonZeroU64::new(mixed ^ mixed >> 31).unwrap_or(NonZeroU64::MIN))
    }
}

impl SpanId {
    /// Of its number; `None` when that is zero.
    pub fn new(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }

    /// A fresh one.
    pub fn random() -> Self {
        Self(NonZeroU64::new(fastrand::u64(1..)).unwrap_or(NonZeroU64::MIN))
    }

    /// Its eight bytes.
    pub fn bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0.get()
    }

    /// Its 16 digits.
    pub fn hex(self) -> [u8; 16] {
        hex::encode(self.0.get())
    }
}

impl Parent {
    /// Reads a header's value. Of a version after 00 what 00 has is read, as the standard says;
    /// `None` for anything that is not exactly as it should be.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (version, rest) = text.split_first_chunk::<2>()?;
        let (trace, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<32>()?;
        let (span, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<16>()?;
        let (flags, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<2>()?;
        let ends = match byte(*version)? {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        if !ends {
            return None;
        }
        let mut digits = [0; 48];
        digits.first_chunk_mut().map(|place| *place = *trace)?;
        digits.last_chunk_mut().map(|place| *place = *span)?;
        let ids: [u8; 24] = hex::bytes(&digits)?;
        let ([high, low, span], _) = ids.as_chunks() else { return None };
        let trace = TraceId::new(u64::from_be_bytes(*high), u64::from_be_bytes(*low))?;
        let span = SpanId::new(u64::from_be_bytes(*span))?;
        Some(Self { trace, span, flags: byte(*flags)? })
    }

    /// As a header's value, in version 00: with the flags that this version has.
    pub fn written(&self) -> [u8; LENGTH] {
        let mut text = *BLANK;
        self.write(&mut text);
        text
    }

    /// As [`written`](Self::written), as a line of a head.
    pub fn line(&self) -> TraceLine {
        let mut line = *BLANK_LINE;
        if let Some((_, rest)) = line.split_first_chunk_mut::<NAME>()
            && let Some(value) = rest.first_chunk_mut()
        {
            self.write(value);
        }
        line
    }

    /// Writes ids and flags into a blank.
    #[inline]
    fn write(&self, blank: &mut [u8; LENGTH]) {
        let mut put = |from: usize, digits: &[u8]| {
            if let Some(place) = blank.get_mut(from..from + digits.len()) {
                place.copy_from_slice(digits);
            }
        };
        let mut ids = [0; 24];
        let halves = [self.trace.0, self.trace.1, self.span.number()];
        for (place, half) in ids.as_chunks_mut().0.iter_mut().zip(halves) {
            *place = half.to_be_bytes();
        }
        let digits: [u8; 48] = hex::digits(ids);
        let (trace, span) = digits.split_at(32);
        put(3, trace);
        put(36, span);
        put(54, &[b'0' + (self.flags & (SAMPLED | RANDOM))]);
    }
}

/// Two lower-case digits.
fn byte(digits: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let [high, low] = digits;
    Some(digit(high)? << 4 | digit(low)?)
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-12345678901234567890123456789012-1234567890123456-01";

    #[test]
    fn a_good_one_is_read() {
        let parent = Parent::read(GOOD.as_bytes()).unwrap();
        assert_eq!(format!("{:?}", parent.trace), "12345678901234567890123456789012");
        assert_eq!(format!("{:?}", parent.span), "1234567890123456");
        assert_eq!(parent.flags, SAMPLED);
        assert_eq!(parent.written(), GOOD.as_bytes());
        assert_eq!(parent.trace.randomness(), 0x0090_1234_5678_9012);
    }

    /// The cases of the standard's own test suite, in words of this one.
    #[test]
    fn whatever_is_malformed_is_not_read() {
        let ids = "12345678901234567890123456789012-1234567890123456";
        for bad in [
            String::new(),
            "00".into(),
            "00-".into(),
            format!("00-{ids}"),
            format!("00-{ids}-"),
            format!("00-{ids}-1"),
            format!("00-{ids}-01-"),
            format!("00-{ids}-01.what"),
            format!("00-{ids}-01-what-the-future-will-be-like"),
            format!("00-{ids}-0 "),
            format!("00-{ids}-0G"),
            format!("00-{ids}-.0"),
            format!("00-{ids}-0A"),
            format!("0-{ids}-01"),
            format!("000-{ids}-01"),
            format!(".0-{ids}-01"),
            format!("0.-{ids}-01"),
            format!("0A-{ids}-01"),
            format!("ff-{ids}-01"),
            format!("FF-{ids}-01"),
            format!("cc-{ids}-01.what-the-future-will-be-like"),
            format!(" 00-{ids}-01"),
            format!("00-{ids}-01 "),
            format!("00_{ids}_01"),
            "00-00000000000000000000000000000000-1234567890123456-01".into(),
            "00-12345678901234567890123456789012-0000000000000000-01".into(),
            "00-.2345678901234567890123456789012-1234567890123456-01".into(),
            "00-1234567890123456789012345678901.-1234567890123456-01".into(),
            "00-12345678901234567890123456789012-.234567890123456-01".into(),
            "00-12345678901234567890123456789012-123456789012345.-01".into(),
            "00-ABCDEF78901234567890123456789012-1234567890123456-01".into(),
            "00-12345678901234567890123456789012-ABCDEF7890123456-01".into(),
            "00-1234567890123456789012345678901-1234567890123456-01".into(),
            "00-123456789012345678901234567890123-1234567890123456-01".into(),
            "00-12345678901234567890123456789012-123456789012345-01".into(),
            "00-12345678901234567890123456789012-12345678901234567-01".into(),
        ] {
            assert_eq!(Parent::read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let ids = "12345678901234567890123456789012-1234567890123456";
        for text in ["cc-{}-01", "cc-{}-01-what-the-future-will-be-like", "01-{}-09"] {
            let text = text.replace("{}", ids);
            let parent = Parent::read(text.as_bytes()).unwrap();
            assert_eq!(parent.written(), GOOD.as_bytes(), "{text}");
        }
    }

    #[test]
    fn ids_of_spans_do_not_come_twice() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut ids = [SpanIds::random(), SpanIds::of(TraceId::random())];
            for _ in 0..100 {
                assert!(ids.iter_mut().all(|ids| seen.insert(ids.next())));
            }
        }
        // The first numbers of the generator's reference for the seed 0.
        let mut ids = SpanIds(0);
        let first = [ids.next().number(), ids.next().number()];
        assert_eq!(first, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(high: u64, low in 1_u64.., span in 1_u64.., flags in 0_u8..4) {
            let trace = TraceId::new(high, low).unwrap();
            let parent = Parent { trace, span: SpanId::new(span).unwrap(), flags };
            let written = parent.written();
            prop_assert_eq!(Parent::read(&written), Some(parent));
            let line = format!("traceparent: {}\r\n", str::from_utf8(&written).unwrap());
            prop_assert_eq!(&parent.line()[..], line.as_bytes());
        }

        #[test]
        fn no_bytes_are_read_but_such_that_are_written_so(text: Vec<u8>, at in 0_usize..55, byte: u8) {
            prop_assert_eq!(Parent::read(&text), None);
            let mut text = *GOOD.as_bytes().first_chunk::<55>().unwrap();
            text[at] = byte;
            if let Some(parent) = Parent::read(&text) {
                let mut again = parent.written();
                // The version and the flags that 00 does not have are not repeated.
                again[..2].copy_from_slice(&text[..2]);
                again[53..].copy_from_slice(&text[53..]);
                prop_assert_eq!(again, text);
            }
        }
    }
}
