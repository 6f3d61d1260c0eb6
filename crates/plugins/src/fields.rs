//! Header names and values out of a configuration, checked once at load so that no request ever
//! meets a bad one. Refuses what belongs to the framing or to one connection alone: the gateway
//! writes those itself, and a second opinion about them is how requests are smuggled.

use http::header::VARY;
use http::{HeaderMap, HeaderName, HeaderValue};
use lockgate_core::ConfigError;

/// Framing and hop-by-hop fields (RFC 9110 §7.6.1, §6.4; RFC 9112 §6), and `expect`, which the
/// gateway answers itself (RFC 9110 §10.1.1).
const FORBIDDEN: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Longest value accepted, in bytes.
const MAX_VALUE: usize = 8 * 1024;

/// Reads a header's name; the case does not matter.
pub(crate) fn name(text: &str) -> Result<HeaderName, ConfigError> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| ConfigError::new(format!("`{text}` is not a header name")))?;
    if FORBIDDEN.contains(&name.as_str()) {
        let message =
            format!("`{name}` belongs to the connection, and the gateway alone writes it");
        return Err(ConfigError::new(message));
    }
    Ok(name)
}

/// Reads a header's value: visible ASCII, spaces and tabs inside. The message never repeats the
/// value, which may be a secret.
pub(crate) fn value(text: &str) -> Result<HeaderValue, ConfigError> {
    if text.len() > MAX_VALUE {
        return Err(ConfigError::new(format!("a header value has at most {MAX_VALUE} bytes")));
    }
    if text.trim() != text {
        return Err(ConfigError::new("a header value neither begins nor ends with a space"));
    }
    let wrong = || ConfigError::new("a header value is visible ASCII text, without line breaks");
    if !text.is_ascii() {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}

/// Says that an answer depends on a request header (RFC 9110 §12.5.5), once.
pub(crate) fn vary(headers: &mut HeaderMap, name: &'static str) {
    let named = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let mut named = named.flat_map(|line| line.split(',')).map(str::trim);
    if !named.any(|other| other == "*" || other.eq_ignore_ascii_case(name)) {
        headers.append(VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_refused_in_any_case() {
        for text in ["Content-Length", "TRANSFER-ENCODING", "connection", "Te", "Upgrade"] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_or_value_is_refused() {
        for text in ["", "a b", "x:y", ":path", "x\r\n", "é"] {
            assert!(name(text).is_err(), "{text:?}");
        }
        for text in ["a\r\nb: c", "\0", " a", "a\t", "é", "a\u{7f}", &"x".repeat(MAX_VALUE + 1)] {
            assert!(value(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_fine_is_kept() {
        assert_eq!(name("X-Demo").unwrap(), "x-demo");
        for text in ["", "a", "a\tb c", "text/plain; charset=utf-8"] {
            assert_eq!(value(text).unwrap(), text);
        }
    }

    #[test]
    fn vary_names_a_header_once() {
        let mut headers = HeaderMap::new();
        vary(&mut headers, "Origin");
        vary(&mut headers, "Accept");
        vary(&mut headers, "Origin");
        let lines: Vec<_> = headers.get_all(VARY).iter().collect();
        assert_eq!(lines, ["Origin", "Accept"]);
        for line in ["accept, ORIGIN", "*"] {
            headers.insert(VARY, line.parse().unwrap());
            vary(&mut headers, "Origin");
            assert_eq!(headers.get_all(VARY).iter().count(), 1, "{line}");
        }
    }

    #[test]
    fn a_secret_value_is_not_repeated() {
        let error = value("hunter2\n x").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
