//! The wire format of protocol buffers: the few kinds of fields that OTLP has, appended to bytes.
//! Read is only what a collector answers.

/// A number of any size, seven bits a byte.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, u64::from(field << 3 | wire));
}

/// `uint32`, `uint64`, `int64`, `bool`, or an enumeration.
pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

/// `fixed64`, and `sfixed64` of what is not negative.
pub(crate) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// `fixed32`.
pub(crate) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    tag(out, field, 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// `double`.
pub(crate) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    fixed64(out, field, value.to_bits());
}

/// `bytes`, or a message that is written already.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// `string`.
pub(crate) fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    bytes(out, field, value.as_bytes());
}

/// A message, whose length is known once it is written.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, 2);
    let place = out.len();
    // Most are so short that their length takes this one byte.
    out.push(0);
    write(out);
    let length = out.len() - place - 1;
    match (u8::try_from(length), out.get_mut(place)) {
        (Ok(short @ ..0x80), Some(place)) => *place = short,
        _ => {
            let mut digits = Vec::new();
            varint(&mut digits, length as u64);
            out.splice(place..=place, digits);
        }
    }
}

/// Packed `fixed64` of doubles, or of whole numbers by their bits.
pub(crate) fn packed64(out: &mut Vec<u8>, field: u32, values: impl ExactSizeIterator<Item = u64>) {
    tag(out, field, 2);
    varint(out, values.len() as u64 * 8);
    values.for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

/// A field of a message that came.
#[derive(Debug, PartialEq)]
pub(crate) enum Field<'m> {
    Number(u64),
    Bytes(&'m [u8]),
    /// Of a fixed size; OTLP's answers have none that matters.
    Fixed,
}

/// The first field of this number, if the message is sound up to there.
pub(crate) fn find(mut message: &[u8], wanted: u32) -> Option<Field<'_>> {
    while !message.is_empty() {
        let key = read_varint(&mut message)?;
        let field = match key & 7 {
            0 => Field::Number(read_varint(&mut message)?),
            1 => take(&mut message, 8).map(|_| Field::Fixed)?,
            2 => {
                let length = usize::try_from(read_varint(&mut message)?).ok()?;
                Field::Bytes(take(&mut message, length)?)
            }
            5 => take(&mut message, 4).map(|_| Field::Fixed)?,
            _ => return None,
        };
        if key >> 3 == u64::from(wanted) {
            return Some(field);
        }
    }
    None
}

fn take<'m>(message: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_as_the_format_says() {
        let mut out = Vec::new();
        // The examples of the format's own description.
        uint(&mut out, 1, 150);
        text(&mut out, 2, "testing");
        message(&mut out, 3, |out| uint(out, 1, 150));
        assert_eq!(out, b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01");
    }

    #[test]
    fn a_long_message_has_a_long_length() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
            let inner = vec![7; length];
            let mut out = vec![9];
            message(&mut out, 1, |out| out.extend_from_slice(&inner));
            assert_eq!(find(&out[1..], 1), Some(Field::Bytes(&inner)), "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_found(number: u64, fixed: u64, inner: Vec<u8>) {
            let mut out = Vec::new();
            fixed64(&mut out, 1, fixed);
            fixed32(&mut out, 2, 7);
            bytes(&mut out, 3, &inner);
            uint(&mut out, 4, number);
            prop_assert_eq!(find(&out, 3), Some(Field::Bytes(&inner[..])));
            prop_assert_eq!(find(&out, 4), Some(Field::Number(number)));
            prop_assert_eq!(find(&out, 5), None);
        }

        #[test]
        fn any_bytes_may_come(message: Vec<u8>) {
            let _ = find(&message, 1);
        }
    }
}
