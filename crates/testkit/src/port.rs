//! A port that nobody else gets: bound, so that it is taken, but never listening, so that a
//! process started for the test can listen on it and everybody else is refused.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A reserved port of 127.0.0.1, free again when dropped. While nothing listens on it,
/// connecting to it is refused at once.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// Reserves one.
    pub fn reserve() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        held.set_reuse_address(true).unwrap();
        held.set_reuse_port(true).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        held.bind(&any.into()).expect("a free port");
        let address = held.local_addr().unwrap().as_socket().unwrap();
        Self { address, _held: held }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
