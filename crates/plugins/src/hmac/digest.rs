//! `Content-Digest` (RFC 9530 §2): whether a body is the one that it tells of. Refuses a field
//! without an algorithm that holds.

use aws_lc_rs::digest::{SHA256, SHA512, digest};

use super::structured::{self, Bare, Member};

/// Checks every digest that is known; one must be there.
pub(super) fn check(stated: &str, body: &[u8]) -> Result<(), &'static str> {
    let mut known = false;
    for (name, member) in structured::dictionary(stated)? {
        let algorithm = match name.as_str() {
            "sha-256" => &SHA256,
            "sha-512" => &SHA512,
            _ => continue,
        };
        let Member::Item((Bare::Bytes(bytes), _)) = member else {
            return Err("a digest in `Content-Digest` is no bytes");
        };
        if digest(algorithm, body).as_ref() != bytes {
            return Err("the body is not the one of `Content-Digest`");
        }
        known = true;
    }
    if known { Ok(()) } else { Err("`Content-Digest` has neither sha-256 nor sha-512") }
}
