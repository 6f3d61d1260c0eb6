//! A request's head from any bytes: nothing panics, and what is accepted has one host, no framing
//! headers, and means the same wherever the bytes end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_net::h1::{Framing, HeadLimits, parse_request};

const LIMITS: HeadLimits = HeadLimits { size: 4096, headers: 32, target: 1024 };

fuzz_target!(|input: &[u8]| {
    let Ok(Some((head, size))) = parse_request(input, &LIMITS) else { return };
    assert!(size <= input.len() && size <= LIMITS.size + 4);
    let headers = &head.parts.headers;
    assert!(headers.len() <= LIMITS.headers);
    assert!(!headers.contains_key("content-length") && !headers.contains_key("transfer-encoding"));
    assert!(headers.get_all("host").iter().count() <= 1);
    assert_ne!(head.framing, Framing::Close);
    // What follows the head does not change it, and a part of it is no head.
    let (again, same) = parse_request(&input[..size], &LIMITS).unwrap().unwrap();
    assert_eq!((same, again.framing), (size, head.framing));
    assert!(matches!(parse_request(&input[..size - 1], &LIMITS), Ok(None) | Err(_)));
});
