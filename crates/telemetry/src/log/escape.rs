//! Outside bytes made fit for a line: no control character, no quote, no line break of any kind,
//! no character that turns text around, whatever a client sends. Long ones are cut.

use std::fmt::Write as _;

/// Most bytes of one value in a line.
const MAX_VALUE: usize = 4_096;

/// What stands at the end of a value that was cut.
const CUT: &[u8] = b"...[cut]";

/// The part of a value that a line shows, and whether something was left out.
pub(super) fn cut(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.get(..MAX_VALUE) {
        Some(head) if bytes.len() > MAX_VALUE => (head, true),
        _ => (bytes, false),
    }
}

/// Says that something was left out.
pub(super) fn mark_cut(out: &mut Vec<u8>, was_cut: bool) {
    if was_cut {
        out.extend_from_slice(CUT);
    }
}

/// Appends bytes as the inside of a JSON string (RFC 8259 §7). What is not UTF-8 becomes U+FFFD,
/// written as an escape so that the line stays plain where its input was not.
pub(super) fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        return out.extend_from_slice(bytes);
    }
    for chunk in bytes.utf8_chunks() {
        push_text(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Whether a byte may stand in a JSON string as it is.
pub(super) fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let mut clean_from = 0;
    for (at, c) in text.char_indices() {
        if !must_escape(c) {
            continue;
        }
        out.extend_from_slice(text.get(clean_from..at).unwrap_or_default().as_bytes());
        clean_from = at + c.len_utf8();
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            c => push_code(out, c),
        }
    }
    out.extend_from_slice(text.get(clean_from..).unwrap_or_default().as_bytes());
}

fn push_code(out: &mut Vec<u8>, c: char) {
    let mut units = [0_u16; 2];
    for unit in c.encode_utf16(&mut units) {
        let mut code = String::with_capacity(6);
        // Writing to a String cannot fail.
        let _ = write!(code, "\\u{unit:04x}");
        out.extend_from_slice(code.as_bytes());
    }
}

/// Controls (C0, DEL, C1), line and paragraph separators, and what reorders or hides text.
fn must_escape(c: char) -> bool {
    matches!(c, '"' | '\\')
        || c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
