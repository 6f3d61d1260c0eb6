//! Bytes as hex digits and back. Plain loops over arrays, which compilers make of a few wide
//! instructions: the longer the array, the less each digit costs.

/// Sixteen lower-case digits.
pub(crate) fn encode(bits: u64) -> [u8; 16] {
    digits(bits.to_be_bytes())
}

/// Two lower-case digits for each byte.
#[inline]
pub(crate) fn digits<const BYTES: usize, const DIGITS: usize>(bytes: [u8; BYTES]) -> [u8; DIGITS] {
    const { assert!(DIGITS == 2 * BYTES) };
    let mut pairs = [0_u16; BYTES];
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        let byte = u16::from(byte);
        let nibbles = byte >> 4 | (byte & 0xf) << 8;
        // One where a nibble and six make sixteen or more.
        let letters = (nibbles + 0x0606) >> 4 & 0x0101;
        *pair = nibbles + 0x3030 + letters * u16::from(b'a' - b'0' - 10);
    }
    let mut digits = [0; DIGITS];
    for (two, pair) in digits.chunks_exact_mut(2).zip(pairs) {
        two.copy_from_slice(&pair.to_le_bytes());
    }
    digits
}

/// The bytes of lower-case digits; `None` when one of them is anything else.
#[inline]
pub(crate) fn bytes<const DIGITS: usize, const BYTES: usize>(
    digits: &[u8; DIGITS],
) -> Option<[u8; BYTES]> {
    const { assert!(DIGITS == 2 * BYTES) };
    let (mut nibbles, mut wrong) = ([0_u8; DIGITS], 0_u8);
    for (nibble, digit) in nibbles.iter_mut().zip(digits) {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        *nibble = if number < 10 { number } else { letter.wrapping_add(10) };
        wrong |= u8::from(number > 9) & u8::from(letter > 5);
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(nibbles.as_chunks().0) {
        let [high, low] = pair;
        *byte = high << 4 | low;
    }
    (wrong == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_are_written_in_hex() {
        for bits in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(encode(bits), *format!("{bits:016x}").as_bytes());
            assert_eq!(bytes(&encode(bits)), Some(bits.to_be_bytes()));
        }
    }

    #[test]
    fn every_byte_at_every_place_is_a_digit_or_none() {
        let good = *b"0123456789abcdef0123456789abcdef0123456789abcdef";
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut digits = good;
                digits[at] = byte;
                let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                let found: Option<[u8; 24]> = bytes(&digits);
                assert_eq!(found.is_some(), is_digit, "{digits:?}");
                if let Some(found) = found {
                    let text: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
                    assert_eq!(text.as_bytes(), digits);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else(some: [u8; 24], any: [u8; 16]) {
            let written: [u8; 48] = digits(some);
            prop_assert_eq!(bytes(&written), Some(some));
            if let Some(read) = bytes::<16, 8>(&any) {
                prop_assert_eq!(digits(read), any);
            }
        }
    }
}
