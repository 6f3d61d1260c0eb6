//! The PROXY protocol, versions 1 and 2: who is really at the other end of a load balancer.
//!
//! Exactly the header is taken from the socket, nothing behind it, so that TLS may follow. Refuses
//! headers without end; whether the sender may be believed has been decided by the caller.

use std::io;
use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Version 1 ends within this many bytes, by its specification.
const V1_MOST: usize = 107;
const V1_START: &[u8] = b"PROXY ";
/// Version 2's head; the length of the rest is in its last two bytes.
const V2_HEAD: usize = 16;
const V2_START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Far more than addresses and the usual extras take.
const V2_MOST: usize = 4096;

/// What stood at the beginning of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The addresses of the real connection: client, then server.
    Proxied(SocketAddr, SocketAddr),
    /// A header that names nobody: the proxy speaks for itself (LOCAL, UNKNOWN).
    Own,
    /// No header; these bytes were read to find that out.
    Missing(Vec<u8>),
}

/// Reads a header off the socket.
///
/// # Errors
/// When what begins like a header is none, or the connection breaks.
pub(super) async fn read(tcp: &mut TcpStream) -> io::Result<Header> {
    let mut taken = Vec::new();
    loop {
        match measure(&taken)? {
            Extent::Missing => return Ok(Header::Missing(taken)),
            Extent::Whole(length) if taken.len() == length => return parse(&taken),
            Extent::Whole(length) => take(tcp, &mut taken, length).await?,
            Extent::Unknown { look } => {
                // What a look finds is taken only as far as it surely belongs to the header.
                let mut ahead = taken.clone();
                let before = ahead.len();
                ahead.resize(look, 0);
                let seen = match ahead.get_mut(before..) {
                    Some(room) => tcp.peek(room).await?,
                    None => 0,
                };
                if seen == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                ahead.truncate(before + seen);
                let length = match measure(&ahead)? {
                    Extent::Missing if before == 0 => return Ok(Header::Missing(taken)),
                    Extent::Missing => before + seen,
                    Extent::Whole(length) => length.min(before + seen),
                    Extent::Unknown { .. } => before + seen,
                };
                take(tcp, &mut taken, length).await?;
            }
        }
    }
}

/// How far a header goes.
enum Extent {
    /// This is no header.
    Missing,
    /// It has so many bytes.
    Whole(usize),
    /// It cannot be told yet; one may look at so many bytes in all.
    Unknown { look: usize },
}

fn measure(start: &[u8]) -> io::Result<Extent> {
    let begins = |sign: &[u8]| start.iter().zip(sign).all(|(a, b)| a == b);
    if begins(V1_START) {
        let end = start.windows(2).position(|pair| pair == b"\r\n");
        return match end {
            Some(at) if at + 2 <= V1_MOST => Ok(Extent::Whole(at + 2)),
            None if start.len() < V1_MOST => Ok(Extent::Unknown { look: V1_MOST }),
            _ => Err(io::Error::other("a PROXY header without end")),
        };
    }
    if !begins(V2_START) {
        return Ok(Extent::Missing);
    }
    let (Some(high), Some(low)) = (start.get(V2_HEAD - 2), start.get(V2_HEAD - 1)) else {
        return Ok(Extent::Unknown { look: V2_HEAD });
    };
    let length = V2_HEAD + usize::from(u16::from_be_bytes([*high, *low]));
    if length > V2_MOST {
        return Err(io::Error::other("a PROXY header that is too long"));
    }
    Ok(Extent::Whole(length))
}

/// Reads until `taken` has `length` bytes.
async fn take(tcp: &mut TcpStream, taken: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let before = taken.len();
    taken.resize(length, 0);
    let room = taken.get_mut(before..).unwrap_or_default();
    tcp.read_exact(room).await.map(drop)
}

/// Reads a whole header.
fn parse(bytes: &[u8]) -> io::Result<Header> {
    let wrong = |why: String| io::Error::other(format!("a broken PROXY header: {why}"));
    let addresses = if bytes.starts_with(V2_START) {
        let header = v2::Header::try_from(bytes).map_err(|error| wrong(error.to_string()))?;
        match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(a)) => Some((
                SocketAddr::from((a.source_address, a.source_port)),
                SocketAddr::from((a.destination_address, a.destination_port)),
            )),
            (v2::Command::Proxy, v2::Addresses::IPv6(a)) => Some((
                SocketAddr::from((a.source_address, a.source_port)),
                SocketAddr::from((a.destination_address, a.destination_port)),
            )),
            _ => None,
        }
    } else {
        let header = v1::Header::try_from(bytes).map_err(|error| wrong(error.to_string()))?;
        match header.addresses {
            v1::Addresses::Tcp4(a) => Some((
                SocketAddr::from((a.source_address, a.source_port)),
                SocketAddr::from((a.destination_address, a.destination_port)),
            )),
            v1::Addresses::Tcp6(a) => Some((
                SocketAddr::from((a.source_address, a.source_port)),
                SocketAddr::from((a.destination_address, a.destination_port)),
            )),
            v1::Addresses::Unknown => None,
        }
    };
    Ok(addresses.map_or(Header::Own, |(client, server)| Header::Proxied(client, server)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that begin like a header more often than chance would have it.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let some = || prop::collection::vec(any::<u8>(), 0..300);
        let line = "PROXY (TCP4|TCP6|UNKNOWN)?[ 0-9a-f.:]{0,80}(\r\n)?[a-z]{0,9}";
        prop_oneof![
            some(),
            line.prop_map(String::into_bytes),
            (some(), 0..64_u8, any::<u16>()).prop_map(|(rest, kind, length)| {
                let head = [&V2_START[..], &[0x20 | (kind & 1), kind], &length.to_be_bytes()];
                [&head.concat()[..], &rest].concat()
            }),
            (some(), 0..64_u8).prop_map(|(rest, kind)| {
                let length = (rest.len() as u16).to_be_bytes();
                let head = [&V2_START[..], &[0x20 | (kind & 1), kind], &length];
                [&head.concat()[..], &rest].concat()
            }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded_and_measured_alike_however_it_is_cut(bytes in bytes()) {
            let whole = measure(&bytes);
            if let Ok(Extent::Whole(length)) = whole {
                prop_assert!(length <= V2_MOST);
                if let Some(header) = bytes.get(..length) {
                    // Neither result is wrong; it must only not panic, nor read on.
                    let _ = parse(header);
                }
            }
            for cut in 0..bytes.len() {
                match (measure(&bytes[..cut]), &whole) {
                    (Ok(Extent::Unknown { look }), _) => {
                        prop_assert!(look > cut && look <= V2_MOST);
                    }
                    (Ok(Extent::Whole(a)), Ok(Extent::Whole(b))) => prop_assert_eq!(a, *b),
                    (Ok(Extent::Missing), Ok(Extent::Missing)) | (Err(_), Err(_)) => {}
                    _ => prop_assert!(false, "{cut} bytes say something else than all of them"),
                }
            }
        }
    }
}
