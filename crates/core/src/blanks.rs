//! Blanks around a field's value or a member of its list.

/// Without the blanks and tabs around it, and nothing else that some take for blank (RFC 9110
/// §5.6.3).
#[inline]
pub fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_tabs_go_and_nothing_else() {
        for (text, left) in [
            (&b" \t a b\t "[..], &b"a b"[..]),
            (b"\x0ba\r", b"\x0ba\r"),
            (b"\xc2\xa0", b"\xc2\xa0"),
            (b" \t", b""),
            (b"", b""),
        ] {
            assert_eq!(trimmed(text), left);
        }
    }
}
