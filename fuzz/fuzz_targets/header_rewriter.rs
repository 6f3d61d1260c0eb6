//! Header lines of a client, as the codec would hand them up: after the rewriting nothing of one
//! hop is left, nothing that only the gateway may state, and credentials are untouched.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use lockgate_proxy::fuzz::rewrite_headers;

fuzz_target!(|input: (bool, Vec<(Vec<u8>, Vec<u8>)>)| {
    let (trusted, lines) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().take(100) {
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let authorization = headers.get("authorization").cloned();
    let rewritten = rewrite_headers(headers, trusted);
    for name in ["connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings"] {
        assert!(!rewritten.contains_key(name));
    }
    for name in ["x-user-id", "x_user_id", "x-authenticated", "lockgate-fence"] {
        assert!(!rewritten.contains_key(name));
    }
    assert!(trusted || !rewritten.contains_key("x-forwarded-for"));
    assert!(rewritten.get("te").is_none_or(|te| te == "trailers"));
    assert_eq!(rewritten.get("authorization"), authorization.as_ref());
});
