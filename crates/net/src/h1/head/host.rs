//! The host that a request asks for: a name, an IPv4 or a bracketed IPv6 address, maybe a port.
//!
//! Stricter than RFC 3986's `reg-name`: percent signs and sub-delimiters, which no DNS name has
//! and on which readers disagree, are refused; so are user names, empty names and empty ports.

use std::net::Ipv6Addr;
use std::str;

/// Whether `host` is `host[:port]`.
pub(crate) fn is_host(host: &[u8]) -> bool {
    if let Some(rest) = host.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let (address, rest) = rest.split_at(end);
        let address = str::from_utf8(address).ok().and_then(|text| text.parse().ok());
        let port = rest.get(1..).unwrap_or_default();
        return address.is_some_and(|_: Ipv6Addr| true)
            && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port));
    }
    let colon = host.iter().position(|byte| *byte == b':');
    let (name, port) = host.split_at(colon.unwrap_or(host.len()));
    is_name(name) && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

fn is_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=255).contains(&name.len()) && name.iter().all(fits)
}

fn is_port(port: &[u8]) -> bool {
    let digits = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    let number = port.iter().take(5).fold(0, |n, byte| n * 10 + u32::from(byte & 0xf));
    digits && number <= u32::from(u16::MAX)
}
