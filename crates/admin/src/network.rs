//! What one client is told from another by: an IPv4 address, or the /64 that an IPv6 client has all
//! to itself.

use std::net::IpAddr;

/// The number of a client's network.
pub(crate) fn of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}
