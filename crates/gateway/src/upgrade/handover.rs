//! Sockets from one process to another: over a pair of Unix sockets, one message for each with the
//! listener's address as text, and one at the end, with the right to what is kept; then the other
//! side says that it serves.

use std::fs::File;
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

/// What goes from one process to another.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// Each under the address that its listener has in the configuration.
    pub(crate) sockets: Vec<(SocketAddr, TcpListener)>,
    /// The locked file that is the right to what is kept.
    pub(crate) lock: Option<File>,
}

/// Two ends that are joined, message by message.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Gives all of it and waits until the other side serves.
pub(super) fn give(to: &OwnedFd, handed: &Handed, patience: Duration) -> io::Result<()> {
    set_socket_timeout(to, Timeout::Send, Some(patience))?;
    set_socket_timeout(to, Timeout::Recv, Some(patience))?;
    for (address, socket) in &handed.sockets {
        send(to, address.to_string().as_bytes(), Some(socket.as_fd()))?;
    }
    // A program that does not know of it lets it go.
    send(to, END, handed.lock.as_ref().map(File::as_fd))?;
    let (said, _) = receive(to)?;
    match said.as_slice() {
        SERVING => Ok(()),
        // The other end is closed: by a process that has ended, as a rule.
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Takes all that is given.
pub(super) fn take(from: &OwnedFd) -> io::Result<Handed> {
    let mut sockets = Vec::new();
    while sockets.len() < MOST {
        let (said, given) = receive(from)?;
        if said == END {
            return Ok(Handed { sockets, lock: given.map(File::from) });
        }
        let socket = given.map(TcpListener::from);
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

fn send(to: &OwnedFd, text: &[u8], given: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let given: Vec<BorrowedFd<'_>> = given.into_iter().collect();
    if !given.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&given));
    }
    sendmsg(to, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A message, and what came with it. An empty one is the end of the other side.
fn receive(from: &OwnedFd) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; LONGEST];
    let mut into = [IoSliceMut::new(&mut text)];
    let got = recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut given = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            given = descriptors.last();
        }
    }
    Ok((text.get(..got.bytes).unwrap_or_default().to_vec(), given))
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
        let handed = Handed { sockets: vec![(address, socket)], lock: None };
        give(&ours, &handed, Duration::from_secs(5)).unwrap();
        let taken = taker.join().unwrap();
        assert!(taken.lock.is_none());
        let [(name, socket)] = taken.sockets.as_slice() else { panic!("{taken:?}") };
        assert_eq!(*name, address);
        let (accepted, peer) = socket.accept().unwrap();
        assert_eq!(peer, waiting.local_addr().unwrap());
        drop(accepted);
    }

    #[test]
    fn a_lock_arrives_locked_and_stays_so_when_the_giver_closes_it() {
        let dir = lockgate_testkit::Dir::new();
        let path = dir.path().join("lock");
        let open = || File::options().create(true).append(true).open(&path).unwrap();
        let lock = open();
        lock.try_lock().unwrap();
        let (ours, theirs) = pair().unwrap();
        let taker = std::thread::spawn(move || {
            let taken = take(&theirs).unwrap();
            say_serving(&theirs).unwrap();
            taken
        });
        let handed = Handed { sockets: Vec::new(), lock: Some(lock) };
        give(&ours, &handed, Duration::from_secs(5)).unwrap();
        drop(handed);
        let taken = taker.join().unwrap();
        assert!(open().try_lock().is_err());
        drop(taken);
        open().try_lock().unwrap();
    }

    #[test]
    fn a_side_that_ends_or_hangs_is_told_from_one_that_serves() {
        let (ours, theirs) = pair().unwrap();
        drop(theirs);
        assert!(give(&ours, &Handed::default(), Duration::from_secs(5)).is_err());
        let (ours, _theirs) = pair().unwrap();
        let error = give(&ours, &Handed::default(), Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
