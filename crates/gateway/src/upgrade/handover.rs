//! From one process to another, over a pair of Unix sockets: one message for each listening socket
//! with the listener's address as text, and one at the end, with the right to what is kept. Then
//! the other side asks what is known, as it likes, tells why it is not ready yet, and says that it
//! serves. What a side does not understand it passes over: the other may be of another version.

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
use tokio::time::Instant;

/// Longer than any address, and as much as is told of why a side is not ready.
const LONGEST: usize = 1024;
/// Bytes of a message of what is known.
const PART: usize = 32 << 10;
/// Most bytes of what is known.
pub(super) const MOST_KNOWN: usize = 16 << 20;
/// More listeners times workers than anybody has.
const MOST: usize = 16_384;
const END: &[u8] = b"end";
const SERVING: &[u8] = b"serving";
/// Asks what is known.
const KNOWN: &[u8] = b"known";
/// Asks the same for the last time, before it serves.
const LAST: &[u8] = b"last";
/// Begins the word why it is not ready.
const WAITS: &str = "waits: ";
/// How long an answer to a question may take.
const ANSWER: Duration = Duration::from_secs(10);

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

/// A handover that has failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: io::Error,
    /// What the other side has waited for, by its last word.
    pub(super) waited_for: Option<String>,
}

/// Gives all of it and waits until the other side serves. `tell` says what is known, and hears
/// whether that is for the last time.
pub(super) fn give(
    to: &OwnedFd,
    handed: &Handed,
    tell: &dyn Fn(bool) -> Vec<u8>,
    patience: Duration,
) -> Result<(), Failed> {
    let mut waited_for = None;
    let done = (|| {
        let deadline = Instant::now() + patience;
        set_socket_timeout(to, Timeout::Send, Some(patience))?;
        for (address, socket) in &handed.sockets {
            send(to, address.to_string().as_bytes(), Some(socket.as_fd()))?;
        }
        // A program that does not know of it lets it go.
        send(to, END, handed.lock.as_ref().map(File::as_fd))?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            set_socket_timeout(to, Timeout::Recv, Some(left.max(Duration::from_millis(1))))?;
            let (said, _) = receive(to, LONGEST)?;
            match said.as_slice() {
                SERVING => return Ok(()),
                // The other end is closed: by a process that has ended, as a rule.
                [] => return Err(io::ErrorKind::UnexpectedEof.into()),
                KNOWN => send_known(to, &tell(false))?,
                LAST => send_known(to, &tell(true))?,
                other => {
                    let text = String::from_utf8_lossy(other);
                    waited_for = text.strip_prefix(WAITS).map(str::to_owned).or(waited_for.take());
                }
            }
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    })();
    done.map_err(|error| Failed { error, waited_for })
}

/// Takes all that is given.
pub(super) fn take(from: &OwnedFd) -> io::Result<Handed> {
    let mut sockets = Vec::new();
    while sockets.len() < MOST {
        let (said, given) = receive(from, LONGEST)?;
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

/// Asks what is known; `last`: for the last time.
pub(super) fn ask_known(from: &OwnedFd, last: bool) -> io::Result<Vec<u8>> {
    set_socket_timeout(from, Timeout::Send, Some(ANSWER))?;
    set_socket_timeout(from, Timeout::Recv, Some(ANSWER))?;
    send(from, if last { LAST } else { KNOWN }, None)?;
    let (length, _) = receive(from, LONGEST)?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no length of what is known");
    let length = std::str::from_utf8(&length).ok().and_then(|text| text.parse().ok());
    let length: usize = length.filter(|length| *length <= MOST_KNOWN).ok_or_else(wrong)?;
    let mut known = Vec::new();
    while known.len() < length {
        let (part, _) = receive(from, PART)?;
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        known.extend(part);
    }
    Ok(known)
}

fn send_known(to: &OwnedFd, known: &[u8]) -> io::Result<()> {
    send(to, known.len().to_string().as_bytes(), None)?;
    known.chunks(PART).try_for_each(|part| send(to, part, None))
}

/// Says why this side does not serve yet.
pub(super) fn say_waiting(to: &OwnedFd, why: &str) -> io::Result<()> {
    let text: String = WAITS.chars().chain(why.chars()).take(LONGEST / 4).collect();
    send(to, text.as_bytes(), None)
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
fn receive(from: &OwnedFd, most: usize) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; most];
    let mut into = [IoSliceMut::new(&mut text)];
    let got = recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut given = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            given = descriptors.last();
        }
    }
    text.truncate(got.bytes);
    Ok((text, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_last: bool) -> Vec<u8> {
        Vec::new()
    }

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
        give(&ours, &handed, &nothing, Duration::from_secs(5)).unwrap();
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
        give(&ours, &handed, &nothing, Duration::from_secs(5)).unwrap();
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
        assert!(give(&ours, &Handed::default(), &nothing, Duration::from_secs(5)).is_err());
        let (ours, _theirs) = pair().unwrap();
        let short = Duration::from_millis(20);
        let failed = give(&ours, &Handed::default(), &nothing, short).unwrap_err();
        assert_eq!(failed.error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(failed.waited_for, None);
    }

    #[test]
    fn what_is_known_is_asked_for_as_often_as_it_is_needed() {
        let (ours, theirs) = pair().unwrap();
        let taker = std::thread::spawn(move || {
            take(&theirs).unwrap();
            let first = ask_known(&theirs, false).unwrap();
            // Of a version that has more to say.
            send(&theirs, b"weather: fine", None).unwrap();
            let last = ask_known(&theirs, true).unwrap();
            say_serving(&theirs).unwrap();
            (first, last)
        });
        let much: Vec<u8> = (0..5 * PART + 7).map(|at| at as u8).collect();
        let tell = |last: bool| if last { Vec::new() } else { much.clone() };
        give(&ours, &Handed::default(), &tell, Duration::from_secs(5)).unwrap();
        assert_eq!(taker.join().unwrap(), (much, Vec::new()));
    }

    #[test]
    fn one_that_is_never_ready_says_why() {
        for ends in [false, true] {
            let (ours, theirs) = pair().unwrap();
            let taker = std::thread::spawn(move || {
                take(&theirs).unwrap();
                say_waiting(&theirs, "at first for this").unwrap();
                say_waiting(&theirs, &format!("for that{}", "é".repeat(2 * LONGEST))).unwrap();
                (!ends).then_some(theirs)
            });
            let patience = Duration::from_millis(if ends { 5_000 } else { 300 });
            let failed = give(&ours, &Handed::default(), &nothing, patience).unwrap_err();
            let expected =
                if ends { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::WouldBlock };
            assert_eq!(failed.error.kind(), expected);
            assert!(failed.waited_for.unwrap().starts_with("for thatéé"));
            taker.join().unwrap();
        }
    }
}
