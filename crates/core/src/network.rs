//! What one client is told from another by: an IPv4 address, or the /64 that an IPv6 client has all
//! to itself.

use std::net::IpAddr;

/// The number of a client's network.
pub fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> u128 {
        network(text.parse().unwrap())
    }

    #[test]
    fn an_ipv6_client_has_a_network_and_an_ipv4_client_an_address() {
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
