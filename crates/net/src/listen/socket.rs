//! Listening sockets: one per worker on the same port, the kernel spreads connections over them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use lockgate_config::model::Listener;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps for a worker that is busy.
const BACKLOG: i32 = 4096;

/// Opens one socket for each worker. Port 0 takes the same free port for all of them. `held` is
/// whether this process listens on the port already, at whichever address.
///
/// # Errors
/// Says which address could not be had, and why.
pub fn bind(listener: &Listener, workers: usize, held: bool) -> io::Result<Vec<TcpListener>> {
    let mut address = listener.address;
    if address.port() != 0 && !held {
        // The workers share their port, and would share it with another gateway that was left
        // running: every second request would go astray. So the port must be free at first.
        match open(address, false) {
            Ok(free) => drop(free),
            Err(error) if without_ipv6(address, &error).is_some() => {}
            Err(error) => return Err(explain(address, &error)),
        }
    }
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers.max(1) {
        let socket = open(address, true).or_else(|error| match without_ipv6(address, &error) {
            Some(v4) => {
                address = v4;
                open(v4, true)
            }
            None => Err(error),
        });
        let socket = socket.map_err(|error| explain(address, &error))?;
        if address.port() == 0 {
            address.set_port(socket.local_addr()?.port());
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Not `shared` is a trial: nobody can connect to it.
fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The address of "all" means both families; any other IPv6 address means itself.
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

/// The same port on IPv4 alone, when all addresses were meant and the kernel has no IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    // EAFNOSUPPORT and EADDRNOTAVAIL, as Linux and the BSDs number them.
    let no_family = matches!(error.raw_os_error(), Some(97 | 47))
        || error.kind() == io::ErrorKind::AddrNotAvailable;
    let all = address.ip() == Ipv6Addr::UNSPECIFIED;
    (all && no_family).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

fn explain(address: SocketAddr, error: &io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use by another process".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not permitted: ports below 1024 need the right CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {why}"))
}
