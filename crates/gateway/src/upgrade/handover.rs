//! Sockets from one process to another: over a pair of Unix sockets, one message for each with the
//! listener's address as text, and an empty address at the end; then the other side says that it
//! serves.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Longer than any address.
const LONGEST: usize = 128;
/// More listeners times workers than anybody has.
const MOST: usize = 16_384;
const END: &[u8] = b"end";
const SERVING: &[u8] = b"serving";

/// Two ends that are joined, message by message.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Gives all sockets and waits until the other side serves.
pub(super) fn give(
    to: &OwnedFd,
    sockets: &[(SocketAddr, TcpListener)],
    patience: Duration,
) -> io::Result<()> {
    set_socket_timeout(to, Timeout::Send, Some(patience))?;
    set_socket_timeout(to, Timeout::Recv, Some(patience))?;
    for (address, socket) in sockets {
        send(to, address.to_string().as_bytes(), Some(socket.as_fd()))?;
    }
    send(to, END, None)?;
    let (said, _) = receive(to)?;
    match said.as_slice() {
        SERVING => Ok(()),
        // The other end is closed: by a process that has ended, as a rule.
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Takes all sockets that are given.
pub(super) fn take(from: &OwnedFd) -> io::Result<Vec<(SocketAddr, TcpListener)>> {
    let mut sockets = Vec::new();
    while sockets.len() < MOST {
        let (said, socket) = receive(from)?;
        if said == END {
            return Ok(sockets);
        }
        let address = std::str::from_utf8(&said).ok().and_then(|text| text.parse().ok());
        let (Some(address), Some(socket)) = (address, socket) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no address, or no socket"));
        };
        sockets.push((address, socket));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "too many sockets"))
}

/// Says that this side serves.
pub(super) fn say_serving(to: &OwnedFd) -> io::Result<()> {
    send(to, SERVING, None)
}

fn send(to: &OwnedFd, text: &[u8], socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets: Vec<BorrowedFd<'_>> = socket.into_iter().collect();
    if !sockets.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&sockets));
    }
    sendmsg(to, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A message, and the socket that came with it. An empty one is the end of the other side.
fn receive(from: &OwnedFd) -> io::Result<(Vec<u8>, Option<TcpListener>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; LONGEST];
    let mut into = [IoSliceMut::new(&mut text)];
    let got = recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut socket = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            socket = descriptors.last().map(TcpListener::from);
        }
    }
    Ok((text.get(..got.bytes).unwrap_or_default().to_vec(), socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_with_their_addresses_and_their_queues() {
        let (ours, theirs) = pair().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let waiting = std::net::TcpStream::connect(address).unwrap();
        let taker = std::thread::spawn(move || {
            let taken = take(&theirs).unwrap();
            say_serving(&theirs).unwrap();
            taken
        });
        give(&ours, &[(address, socket)], Duration::from_secs(5)).unwrap();
        let taken = taker.join().unwrap();
        let [(name, socket)] = taken.as_slice() else { panic!("{taken:?}") };
        assert_eq!(*name, address);
        let (accepted, peer) = socket.accept().unwrap();
        assert_eq!(peer, waiting.local_addr().unwrap());
        drop(accepted);
    }

    #[test]
    fn a_side_that_ends_or_hangs_is_told_from_one_that_serves() {
        let (ours, theirs) = pair().unwrap();
        drop(theirs);
        assert!(give(&ours, &[], Duration::from_secs(5)).is_err());
        let (ours, _theirs) = pair().unwrap();
        let error = give(&ours, &[], Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
