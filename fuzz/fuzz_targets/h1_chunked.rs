//! A chunked body from any bytes, fed in two parts: the same comes out wherever it is split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_net::h1::decode_chunked;

fuzz_target!(|input: (u16, &[u8])| {
    let (split, body) = input;
    assert_eq!(decode_chunked(body, usize::from(split)), decode_chunked(body, 0));
});
