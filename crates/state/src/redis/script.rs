//! Scripts: what a store is asked to do in one step, and for whom. A script is sent by its hash,
//! and as a whole only to a server that does not know it yet.

use std::borrow::Cow;
use std::sync::OnceLock;

use redis::{RedisWrite, ToRedisArgs};

/// Whose calls these are: for the metrics, and so that large values do not hold up small ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Use {
    /// Limits.
    Counters,
    /// Kept answers: they have a connection of their own.
    Blobs,
    /// Leases.
    Leases,
    /// Records of requests.
    Records,
    /// The link's own: heartbeats and messages.
    Link,
}

impl Use {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Counters, Self::Blobs, Self::Leases, Self::Records, Self::Link];

    /// The word in the metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Blobs => "blobs",
            Self::Leases => "leases",
            Self::Records => "records",
            Self::Link => "link",
        }
    }
}

/// A Lua script. All its keys are passed in `KEYS`, on a Cluster of one slot; the time is Redis'
/// own (`TIME`).
#[derive(Debug)]
pub struct Script {
    of: Use,
    text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    /// A script for a use: `static TAKE: Script = Script::new(Use::Counters, include_str!(..))`.
    pub const fn new(of: Use, text: &'static str) -> Self {
        Self { of, text, hash: OnceLock::new() }
    }

    pub(crate) fn of(&self) -> Use {
        self.of
    }

    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    /// The hash by which a server knows it.
    pub(crate) fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }
}

/// An argument of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg<'a> {
    /// Bytes as they are.
    Bytes(Cow<'a, [u8]>),
    /// A number, in decimal.
    Int(i64),
}

impl ToRedisArgs for Arg<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self {
            Self::Bytes(bytes) => out.write_arg(bytes),
            Self::Int(number) => number.write_redis_args(out),
        }
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Arg<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Arg<'_> {
    /// What does not fit is the most that does.
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Arg<'_> {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}
