//! Packed bytes: what one process writes for another to read, number by number, each text with its
//! length before it. Reading takes nothing on trust: whatever does not fit is `None`.

use std::time::Duration;

/// Writes into a buffer.
pub struct Pack<'a>(pub &'a mut Vec<u8>);

impl Pack<'_> {
    /// One byte.
    pub fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// A number of things. More than `u32::MAX` of anything is never written.
    pub fn count(&mut self, count: usize) -> &mut Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&count.to_be_bytes());
        self
    }

    /// A time, in microseconds.
    pub fn time(&mut self, time: Duration) -> &mut Self {
        self.number(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    /// Bytes, and how many.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Reads from a buffer.
pub struct Unpack<'a>(&'a [u8]);

impl<'a> Unpack<'a> {
    /// From its begin.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    /// A number of things, when there are no more than that.
    pub fn count(&mut self, most: usize) -> Option<usize> {
        let (count, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        usize::try_from(u32::from_be_bytes(*count)).ok().filter(|count| *count <= most)
    }

    /// A time, when it is no longer than that.
    pub fn time(&mut self, most: Duration) -> Option<Duration> {
        Some(Duration::from_micros(self.number()?)).filter(|time| *time <= most)
    }

    /// Bytes, when there are no more than that.
    pub fn bytes(&mut self, most: usize) -> Option<&'a [u8]> {
        let count = self.count(most)?;
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// That there is no more.
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_and_nothing_short_of_it(
            byte: u8,
            number: u64,
            micros in 0_u64..1 << 50,
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut buffer = Vec::new();
            let time = Duration::from_micros(micros);
            Pack(&mut buffer).byte(byte).number(number).time(time).bytes(&bytes);
            let read = |buffer: &[u8]| {
                let mut packed = Unpack::new(buffer);
                let all = (packed.byte()?, packed.number()?, packed.time(Duration::MAX)?);
                let bytes = packed.bytes(40)?.to_vec();
                packed.end().map(|()| (all, bytes))
            };
            prop_assert_eq!(read(&buffer), Some(((byte, number, time), bytes)));
            for cut in 0..buffer.len() {
                prop_assert_eq!(read(&buffer[..cut]), None);
            }
            buffer.push(0);
            prop_assert_eq!(read(&buffer), None);
        }
    }

    #[test]
    fn what_is_longer_than_may_be_is_not_read() {
        let mut buffer = Vec::new();
        Pack(&mut buffer).bytes(b"abc");
        assert_eq!(Unpack::new(&buffer).bytes(2), None);
        assert_eq!(Unpack::new(&buffer).bytes(3), Some(&b"abc"[..]));
        assert_eq!(Unpack::new(&[0xff; 12]).bytes(usize::MAX), None, "not so much is there");
        assert_eq!(Unpack::new(&[0xff; 8]).time(Duration::from_secs(1)), None);
    }
}
