//! The log of purges that all gateways on a store share, as one gateway sees it: what has been
//! read of it, and when. Its numbers are microseconds by the server's clock; in this process's
//! count of purges each is followed by room for the purges made here meanwhile.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use lockgate_core::{Glob, Purge, Tag};
use tokio::time::Instant;

/// Bits of the count after a number of the log.
const ROOM: u32 = 12;

/// A number of the log as a stamp.
pub(super) fn stamp(number: u64) -> u64 {
    number << ROOM
}

/// The last number of the log that a stamp is not before.
pub(super) fn number(stamp: u64) -> u64 {
    stamp >> ROOM
}

/// How far beyond the server's clock, as it is known here, a number may be that has not been read.
const AHEAD: i64 = 1_000_000;

/// How it stands between a gateway and the log.
pub(super) struct Log {
    begun: Instant,
    /// The last number up to which everything has been read; none yet: -1.
    read: AtomicI64,
    /// Milliseconds after `begun` at which that was the end of the log, and one more; 0: never.
    confirmed: AtomicU64,
    /// Microseconds from `begun` by the server's clock.
    server: AtomicI64,
}

impl Log {
    pub(super) fn new() -> Self {
        let (read, confirmed, server) = (AtomicI64::new(-1), AtomicU64::new(0), AtomicI64::new(0));
        Self { begun: Instant::now(), read, confirmed, server }
    }

    /// The last number up to which everything has been read.
    pub(super) fn read(&self) -> i64 {
        self.read.load(Ordering::Acquire)
    }

    /// Everything has been read and is marked up to a number.
    pub(super) fn has_read(&self, number: i64) {
        self.read.fetch_max(number, Ordering::AcqRel);
    }

    /// That is the end of the log, as asked at that moment, when the server's clock said `server`.
    pub(super) fn confirm(&self, asked: Instant, server: i64) {
        let at = asked.saturating_duration_since(self.begun);
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.confirmed.fetch_max(millis, Ordering::AcqRel);
        let since = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.server.store(server - since, Ordering::Release);
    }

    /// Whether a number can be one of the log's, as far as is known: it is no later than the
    /// server's clock, or than what has been read. What others have written must not lead the
    /// count of purges away from the log.
    pub(super) fn may_have(&self, number: i64) -> bool {
        let clock = self.confirmed.load(Ordering::Acquire) > 0;
        let known = if clock { self.read().max(self.now()) } else { self.read() };
        (0..=known.saturating_add(AHEAD)).contains(&number)
    }

    /// The server's clock.
    fn now(&self) -> i64 {
        let since = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.server.load(Ordering::Acquire).saturating_add(since)
    }

    /// How long ago all of the log was known.
    pub(super) fn unheard(&self) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.begun.elapsed().saturating_sub(Duration::from_millis(confirmed)))
    }

    /// How long ago a number was made.
    pub(super) fn age(&self, number: i64) -> Duration {
        Duration::from_micros(u64::try_from(self.now().saturating_sub(number)).unwrap_or(0))
    }
}

/// A purge as a member of the log.
pub(super) fn member(purge: &Purge) -> Vec<u8> {
    match purge {
        Purge::All => b"f".to_vec(),
        Purge::Tag(tag) => [&b"t"[..], &tag.hash().to_be_bytes()].concat(),
        Purge::Names(glob) => format!("n{glob}").into_bytes(),
    }
}

/// What a member of the log says. What cannot be understood purges everything: a later version may
/// purge by something else.
pub(super) fn purge(member: &[u8]) -> Purge {
    match member.split_first() {
        Some((b't', hash)) => match hash.try_into() {
            Ok(hash) => Purge::Tag(Tag::of_hash(u64::from_be_bytes(hash))),
            Err(_) => Purge::All,
        },
        Some((b'n', glob)) => {
            let glob = std::str::from_utf8(glob).ok().and_then(|glob| glob.parse::<Glob>().ok());
            glob.map_or(Purge::All, Purge::Names)
        }
        _ => Purge::All,
    }
}

/// A message about a purge: the number before it, its own, and what it takes away.
pub(super) fn message(text: &[u8]) -> Option<(i64, i64, Purge)> {
    let mut parts = text.splitn(3, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<i64>().ok();
    let (before, own) = (number()?, number()?);
    (before >= 0 && own > before).then_some(())?;
    Some((before, own, purge(parts.next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purges_come_back_as_they_were() {
        for what in [
            Purge::All,
            Purge::Tag(Tag::word("a b")),
            Purge::Tag(Tag::uri("a.test", "/x")),
            Purge::Names("a.test/x/*/**".parse().unwrap()),
            Purge::Names("a.test/\\*/x/*".parse().unwrap()),
            Purge::Names("/x y".parse::<Glob>().unwrap_or("/x".parse().unwrap())),
        ] {
            let member = member(&what);
            assert_eq!(purge(&member), what);
            let text = [b"5 17 ", &member[..]].concat();
            assert_eq!(message(&text), Some((5, 17, what)));
        }
    }

    #[test]
    fn what_is_not_understood_takes_everything_away() {
        for member in [&b""[..], b"t123", b"n", b"nx", b"n\xff", b"z1"] {
            assert_eq!(purge(member), Purge::All, "{member:?}");
        }
        for text in [&b""[..], b"1", b"1 2", b"x 2 f", b"2 2 f", b"-1 2 f", b"3 1 f"] {
            assert_eq!(message(text), None, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_known_how_old_the_knowledge_is() {
        let log = Log::new();
        assert_eq!((log.read(), log.unheard()), (-1, None));
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(3)).await;
        log.confirm(asked, 1_000_000);
        tokio::time::advance(Duration::from_millis(4)).await;
        assert_eq!(log.unheard(), Some(Duration::from_millis(7)), "from when it was asked");
        assert_eq!(log.age(1_000_000), Duration::from_millis(4));
        assert_eq!(log.age(2_000_000), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_that_no_clock_has_made_is_not_the_logs() {
        let log = Log::new();
        assert!(!log.may_have(1_700_000_000_000_000), "nothing is known yet");
        log.confirm(Instant::now(), 5_000_000);
        assert!(log.may_have(0) && log.may_have(6_000_000) && !log.may_have(6_000_001));
        assert!(!log.may_have(-1) && !log.may_have(i64::MAX));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(log.may_have(8_000_000) && !log.may_have(8_000_001));
        // The server's clock was set back: the log goes on from where it was.
        log.has_read(50_000_000);
        assert!(log.may_have(50_000_001) && !log.may_have(60_000_000));
    }
}
