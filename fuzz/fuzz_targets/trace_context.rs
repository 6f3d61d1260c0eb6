//! Any bytes as a client's trace context: what is left to be forwarded is well formed by the rules
//! of the standards, written down here a second time, and what is read is what is written.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use lockgate_core::span::{Parent, b3, jaeger};
use lockgate_proxy::fuzz::clean_context;

const NAMES: [&str; 7] =
    ["traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "uber-trace-id"];

fuzz_target!(|lines: Vec<(u8, Vec<u8>)>| {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().take(50) {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    for parent in [b3(&headers).map(|(parent, _)| parent), jaeger(&headers)].into_iter().flatten() {
        assert_eq!(Parent::read(&parent.written()), Some(parent));
    }
    let left = clean_context(headers);
    let lines =
        |name: &str| left.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let parents = lines("traceparent");
    assert!(parents.len() <= 1);
    for parent in &parents {
        let text = std::str::from_utf8(parent).expect("it is text");
        assert!(text.len() >= 55 && !text.starts_with("ff"));
        let fits = |(at, c): (usize, char)| match at {
            2 | 35 | 52 | 55 => c == '-',
            56.. => true,
            _ => matches!(c, '0'..='9' | 'a'..='f'),
        };
        assert!(text.chars().enumerate().all(fits));
        assert!(text.len() == 55 || !text.starts_with("00"));
        assert!(text[3..35].contains(|c| c != '0') && text[36..52].contains(|c| c != '0'));
    }
    let state = lines("tracestate");
    assert!(state.is_empty() || !parents.is_empty());
    let members = state.join(&b","[..]);
    let members = members.split(|b| *b == b',').filter(|m| m.iter().any(|b| !b" \t".contains(b)));
    assert!(members.clone().count() <= 32 && members.clone().all(|member| member.contains(&b'=')));
    let baggage = lines("baggage").join(&b","[..]);
    assert!(baggage.len() <= 8192 && baggage.split(|b| *b == b',').count() <= 180);
    assert!(baggage.iter().all(|b| (0x20..0x7f).contains(b) || *b == b'\t'));
});
