//! Tells HTTP/2 with prior knowledge from HTTP/1.1, by looking at a connection's first bytes.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::h2::PREFACE;

/// Whether the client speaks HTTP/2. `ahead` is what was already read; what is read here is added
/// to it. Usually that is nothing: one look tells, and only a first piece shorter than the preface
/// and like it is taken, to wait for the next.
pub(super) async fn speaks_h2(tcp: &mut TcpStream, ahead: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        if !ahead.iter().zip(PREFACE).all(|(a, b)| a == b) {
            return Ok(false);
        }
        let Some(rest) = PREFACE.get(ahead.len()..).filter(|rest| !rest.is_empty()) else {
            return Ok(true);
        };
        let mut look = [0; PREFACE.len()];
        let room = look.get_mut(..rest.len()).unwrap_or_default();
        let seen = tcp.peek(room).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let new = look.get(..seen).unwrap_or_default();
        if !rest.starts_with(new) {
            return Ok(false);
        }
        if new.len() == rest.len() {
            return Ok(true);
        }
        let before = ahead.len();
        ahead.resize(before + seen, 0);
        tcp.read_exact(ahead.get_mut(before..).unwrap_or_default()).await?;
    }
}
