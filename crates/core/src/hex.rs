//! Sixty-four bits as sixteen hex digits and back, eight digits at once.

const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// Sixteen lower-case digits.
pub(crate) fn encode(bits: u64) -> [u8; 16] {
    let (high, low) = (half(bits >> 32), half(bits & 0xffff_ffff));
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// Eight digits of 32 bits: each byte of the word becomes one.
fn half(bits: u64) -> u64 {
    let wide = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    let wide = (wide | wide << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (wide | wide << 4) & (ONES * 0xf);
    written(nibbles, letters(nibbles))
}

/// One where a nibble and six make sixteen or more: it is a letter.
fn letters(nibbles: u64) -> u64 {
    ((nibbles + ONES * 6) >> 4) & ONES
}

fn written(nibbles: u64, letters: u64) -> u64 {
    nibbles + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10)
}

/// The bits of sixteen lower-case digits; `None` when one of them is anything else.
pub(crate) fn decode(digits: &[u8; 16]) -> Option<u64> {
    let wide = u128::from_be_bytes(*digits);
    let (high, is_high) = read((wide >> 64) as u64);
    let (low, is_low) = read(wide as u64);
    (is_high && is_low).then_some(high << 32 | low)
}

/// The 32 bits of eight digits, and whether they are digits.
fn read(digits: u64) -> (u64, bool) {
    let letter = (digits >> 6) & ONES;
    let nibbles = (digits & (ONES * 0xf)) + letter * 9;
    // Only what is written so was written so.
    let is_digits = nibbles & (ONES * 0xf0) == 0
        && letters(nibbles) == letter
        && written(nibbles, letter) == digits;
    let pairs = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    ((quads | quads >> 16) & 0xffff_ffff, is_digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_are_written_in_hex() {
        for bits in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(encode(bits), *format!("{bits:016x}").as_bytes());
            assert_eq!(decode(&encode(bits)), Some(bits));
        }
    }

    #[test]
    fn every_byte_at_every_place_is_a_digit_or_none() {
        for at in 0..16 {
            for byte in 0..=u8::MAX {
                let mut digits = *b"0123456789abcdef";
                digits[at] = byte;
                let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                let text = str::from_utf8(&digits).ok().filter(|_| is_digit);
                let expected = text.map(|text| u64::from_str_radix(text, 16).unwrap());
                assert_eq!(decode(&digits), expected, "{digits:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else(bits: u64, digits: [u8; 16]) {
            prop_assert_eq!(decode(&encode(bits)), Some(bits));
            if let Some(bits) = decode(&digits) {
                prop_assert_eq!(encode(bits), digits);
            }
        }
    }
}
