//! The log's redaction for what is no line: outside bytes as text, without what a log must not
//! have, and not escaped.

use super::redact;

/// Any text.
pub(crate) fn text(bytes: &[u8]) -> String {
    plain(|out| redact::push(out, bytes))
}

/// A query, without its `?`.
pub(crate) fn query(bytes: &[u8]) -> String {
    plain(|out| redact::push_query(out, bytes))
}

/// A URL, or something that may be one: what a page may show of it.
pub fn redacted_url(url: &str) -> String {
    plain(|out| redact::push_url(out, url.as_bytes()))
}

/// What is written is the inside of a JSON string.
fn plain(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut line = vec![b'"'];
    write(&mut line);
    line.push(b'"');
    serde_json::from_slice(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_and_the_rest_is_as_it_was() {
        assert_eq!(query(b"a=1&token=s3cr3t&b=\"x\\"), "a=1&token=[redacted]&b=\"x\\");
        assert_eq!(redacted_url("a.test/\"?to=/b?pin=7"), "a.test/\"?to=/b?pin=[redacted]");
        assert_eq!(text(b"curl/8 (\"x\") \xff\n"), "curl/8 (\"x\") \u{fffd}\n");
    }
}
