//! An answer's head from any bytes: nothing panics, and what is accepted has one framing.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use lockgate_net::h1::{Framing, HeadLimits, parse_response};

const LIMITS: HeadLimits = HeadLimits { size: 4096, headers: 32, target: 4096 };

fuzz_target!(|input: &[u8]| {
    if let Ok(Some((head, size))) = parse_response(input, &Method::GET, &LIMITS) {
        assert!(size <= input.len() && size <= LIMITS.size);
        assert!(!head.parts.headers.contains_key("transfer-encoding"));
        assert!(!(head.keep_alive && head.framing == Framing::Close));
    }
    if let Ok(Some((head, _))) = parse_response(input, &Method::HEAD, &LIMITS) {
        assert_eq!(head.framing, Framing::None);
    }
});
