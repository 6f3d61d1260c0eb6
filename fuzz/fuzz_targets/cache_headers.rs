//! What upstreams and clients say to a cache: directives, structured fields, dates, conditions,
//! ranges. No panic, and nothing fresh beyond what was said.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 12] = [
    "cache-control",
    "cdn-cache-control",
    "vary",
    "expires",
    "date",
    "age",
    "etag",
    "last-modified",
    "if-none-match",
    "if-modified-since",
    "range",
    "if-range",
];

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((name, value)) = line.split_first() else { continue };
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    lockgate_plugins::fuzz::cache_headers(&headers);
});
