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

/// An address that accepts nothing and refuses nothing: connecting to it hangs, as its backlog is
/// full.
#[derive(Debug)]
pub struct Full {
    address: SocketAddr,
    _listening: Socket,
    _waiting: Vec<Socket>,
}

impl Full {
    /// Makes one.
    pub fn listen() -> Self {
        let listening = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listening.bind(&any.into()).expect("a free port");
        listening.listen(0).unwrap();
        let address = listening.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        for _ in 0..8 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            waiting.push(socket);
        }
        Self { address, _listening: listening, _waiting: waiting }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::{Full, Port};

    #[tokio::test]
    async fn a_full_address_hangs_and_a_reserved_one_refuses() {
        let full = Full::listen();
        let connect = TcpStream::connect(full.address());
        assert!(timeout(Duration::from_millis(100), connect).await.is_err());
        let port = Port::reserve();
        assert!(TcpStream::connect(port.address()).await.is_err());
    }
}
