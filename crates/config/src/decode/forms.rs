//! The short forms: which word stands for which field, and how lists, words and maps of the
//! document become the one long form of the model.

use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use indexmap::IndexMap;
use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::{Context, Endpoint, Headers, KeyPair, LogTo, Match, Quiet, RetryOn};

/// Asks for a scalar as text, numbers too; bools stay bools.
pub(crate) const WORD: &str = "lockgate::word";
/// Asks for a path, joined to the directory of the file it is written in.
pub(super) const PATH: &str = "lockgate::path";
/// The one path that is none.
pub(super) const STDOUT: &str = "stdout";

/// The field that a scalar in place of a struct sets.
pub(crate) fn short(name: &str) -> Option<&'static str> {
    Some(match name {
        "Listener" | "Admin" => "address",
        "Endpoint" => "weight",
        "Health" => "path",
        "Retry" => "attempts",
        "TimeoutSet" => "request",
        "AccessLog" => "to",
        "Store" | "AlertSink" => "url",
        "Traces" | "OtlpMetrics" => "to",
        "Sampling" => "ratio",
        "ErrorRatio" | "P99" => "above",
        "Certificate" => "within",
        "UpstreamLow" => "below",
        _ => return None,
    })
}

/// What a visitor says that it expects.
pub(super) fn expecting<'de, V: Visitor<'de>>(visitor: &V) -> String {
    struct Shown<'a, V>(&'a V);
    impl<'de, V: Visitor<'de>> fmt::Display for Shown<'_, V> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.expecting(f)
        }
    }
    match Shown(visitor).to_string().as_str() {
        "a string" => "text".into(),
        other => other.into(),
    }
}

/// Reads what is written as one word.
trait Word: Sized {
    const EXPECTED: &'static str;
    fn word(text: &str) -> Result<Self, String>;
}

struct WordVisitor<T>(PhantomData<T>);

impl<T: Word> Visitor<'_> for WordVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::word(text).map_err(E::custom)
    }
}

/// One word or a list of them.
struct Words<T>(Vec<T>);

impl<'de, T: Word> Deserialize<'de> for Words<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: Word> Visitor<'de> for ListVisitor<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or a list of them", T::EXPECTED)
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Vec<T>, E> {
                if on { Err(E::custom("`true` says nothing here")) } else { Ok(Vec::new()) }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
                Ok(vec![T::word(text).map_err(E::custom)?])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut words = Vec::new();
                while let Some(One(word)) = list.next_element()? {
                    words.push(word);
                }
                Ok(words)
            }
        }
        deserializer.deserialize_newtype_struct(WORD, ListVisitor(PhantomData)).map(Self)
    }
}

struct One<T>(T);

impl<'de, T: Word> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(WORD, WordVisitor(PhantomData)).map(Self)
    }
}

/// `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`.
impl Word for SocketAddr {
    const EXPECTED: &'static str = "an address such as `:8080` or `127.0.0.1:8080`";

    fn word(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not {}", Self::EXPECTED);
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        match host {
            "" | "*" => Ok((Ipv6Addr::UNSPECIFIED, port).into()),
            "localhost" => Ok((Ipv4Addr::LOCALHOST, port).into()),
            _ => Err(wrong()),
        }
    }
}

pub(crate) fn listen<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    One::deserialize(d).map(|one| one.0)
}

pub(crate) fn maybe_listen<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<SocketAddr>, D::Error> {
    Option::<One<SocketAddr>>::deserialize(d).map(|one| one.map(|one| one.0))
}

/// `10.0.0.0/8`, or one address.
impl Word for IpNet {
    const EXPECTED: &'static str = "a network such as `10.0.0.0/8`, or an address";

    fn word(text: &str) -> Result<Self, String> {
        let single = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        let network = text.parse().ok().or_else(single);
        network.ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

/// The networks of `trusted_proxies`.
#[derive(Default)]
pub(super) struct Networks(pub(super) Vec<IpNet>);

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Words::deserialize(deserializer).map(|words| Self(words.0))
    }
}

impl Word for String {
    const EXPECTED: &'static str = "text";

    fn word(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

pub(crate) fn words<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Words::deserialize(d).map(|words| words.0)
}

/// A list of words that a route may write as one word.
pub(super) struct Tags(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        words(deserializer).map(Self)
    }
}

struct Method(String);

impl Word for Method {
    const EXPECTED: &'static str = "a method such as `GET`";

    fn word(text: &str) -> Result<Self, String> {
        let known = http::Method::from_bytes(text.as_bytes()).is_ok();
        if !known || text != text.to_ascii_uppercase() {
            return Err(format!("`{text}` is not {}, in capitals", Self::EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }
}

pub(crate) fn methods<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Words::<Method>::deserialize(d).map(|words| words.0.into_iter().map(|m| m.0).collect())
}

#[derive(PartialEq, Eq, Hash)]
pub(crate) struct HeaderWord(String);

impl Word for HeaderWord {
    const EXPECTED: &'static str = "a header's name";

    fn word(text: &str) -> Result<Self, String> {
        let name = http::HeaderName::from_str(text);
        name.map(|name| Self(name.as_str().to_owned()))
            .map_err(|_| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

impl<'de> Deserialize<'de> for HeaderWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WordVisitor(PhantomData))
    }
}

pub(crate) fn headers<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Words::<HeaderWord>::deserialize(d).map(|words| words.0.into_iter().map(|h| h.0).collect())
}

pub(crate) fn by_header<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<IndexMap<String, Match>, D::Error> {
    let map = IndexMap::<HeaderWord, Match>::deserialize(d)?;
    Ok(map.into_iter().map(|(name, value)| (name.0, value)).collect())
}

/// Header names, in lower case, to their values.
pub(crate) fn header_values<'de, D: Deserializer<'de>>(d: D) -> Result<Headers, D::Error> {
    let map = IndexMap::<HeaderWord, One<String>>::deserialize(d)?;
    Ok(Headers(map.into_iter().map(|(name, value)| (name.0, value.0)).collect()))
}

impl Word for Context {
    const EXPECTED: &'static str = "`b3` or `jaeger`";

    fn word(text: &str) -> Result<Self, String> {
        match text {
            "b3" => Ok(Self::B3),
            "jaeger" => Ok(Self::Jaeger),
            _ => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

pub(crate) fn contexts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Context>, D::Error> {
    Words::deserialize(d).map(|words| words.0)
}

/// `200`, or `200-299`.
struct StatusRange((u16, u16));

impl Word for StatusRange {
    const EXPECTED: &'static str = "a status such as `200`, or a range such as `200-299`";

    fn word(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| text.trim().parse().ok().filter(|n| (100..=599).contains(n));
        match (status(from), status(to)) {
            (Some(from), Some(to)) if from <= to => Ok(Self((from, to))),
            _ => Err(format!("`{text}` is not {}", Self::EXPECTED)),
        }
    }
}

pub(crate) fn statuses<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(u16, u16)>, D::Error> {
    Words::<StatusRange>::deserialize(d).map(|words| words.0.into_iter().map(|s| s.0).collect())
}

impl Word for RetryOn {
    const EXPECTED: &'static str = "`connect`, `timeout` or a status such as `503`";

    fn word(text: &str) -> Result<Self, String> {
        match text {
            "connect" => return Ok(Self::Connect),
            "timeout" => return Ok(Self::Timeout),
            _ => {}
        }
        let status = text.parse().ok().filter(|status| (400..=599).contains(status));
        status.map(Self::Status).ok_or_else(|| format!("`{text}` is not {}", Self::EXPECTED))
    }
}

pub(crate) fn retry_on<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<RetryOn>, D::Error> {
    Words::deserialize(d).map(|words| words.0)
}

/// The default of an option is not `None`, and its value is no option in the file.
pub(crate) fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// Quiet hours of a sink's own; `off` is to have none.
pub(crate) fn own_quiet<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<Option<Option<Quiet>>, D::Error> {
    Option::deserialize(d).map(Some)
}

/// `true` is 443.
pub(crate) fn https_port<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u16>, D::Error> {
    struct PortVisitor;
    impl Visitor<'_> for PortVisitor {
        type Value = Option<u16>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`true` or a port")
        }

        fn visit_bool<E: de::Error>(self, on: bool) -> Result<Option<u16>, E> {
            Ok(on.then_some(443))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u16>, E> {
            let port = text.parse().ok().filter(|port| *port != 0);
            port.map(Some).ok_or_else(|| E::custom(format!("`{text}` is not a port")))
        }
    }
    d.deserialize_newtype_struct(WORD, PortVisitor)
}

/// Read over here, and taken from the tree as it is written.
pub(crate) fn as_written<'de, D: Deserializer<'de>>(d: D) -> Result<serde_json::Value, D::Error> {
    IgnoredAny::deserialize(d).map(|_| serde_json::Value::Null)
}

struct PathVisitor;

impl Visitor<'_> for PathVisitor {
    type Value = PathBuf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file's path")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PathBuf, E> {
        if text.is_empty() { Err(E::custom("a path cannot be empty")) } else { Ok(text.into()) }
    }
}

struct FilePath(PathBuf);

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        path(deserializer).map(Self)
    }
}

pub(crate) fn path<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
    d.deserialize_newtype_struct(PATH, PathVisitor)
}

pub(crate) fn maybe_path<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
    Option::<FilePath>::deserialize(d).map(|path| path.map(|path| path.0))
}

impl<'de> Deserialize<'de> for LogTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = path(deserializer)?;
        if path.as_os_str() == STDOUT { Ok(Self::Stdout) } else { Ok(Self::File(path)) }
    }
}

/// `certificates: { cert, key }` is a list of one.
pub(crate) fn key_pairs<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<KeyPair>, D::Error> {
    struct PairsVisitor;
    impl<'de> Visitor<'de> for PairsVisitor {
        type Value = Vec<KeyPair>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`{ cert, key }`, or a list of them")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<KeyPair>, A::Error> {
            KeyPair::deserialize(de::value::MapAccessDeserializer::new(map)).map(|pair| vec![pair])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<KeyPair>, A::Error> {
            Vec::deserialize(de::value::SeqAccessDeserializer::new(list))
        }
    }
    d.deserialize_newtype_struct(WORD, PairsVisitor)
}

/// `host:port`.
#[derive(PartialEq, Eq, Hash)]
struct Address(String);

impl Word for Address {
    const EXPECTED: &'static str = "an endpoint such as `10.0.0.1:8080` or `orders.local:80`";

    fn word(text: &str) -> Result<Self, String> {
        if let Some((scheme, _)) = text.split_once("://") {
            let more = if scheme == "https" { "; `tls: true` beside them speaks TLS" } else { "" };
            return Err(format!("`{text}`: endpoints are `host:port`, without a scheme{more}"));
        }
        if is_host_port(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("`{text}` is not {}", Self::EXPECTED))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WordVisitor(PhantomData))
    }
}

/// Whether text is a host name or address, a colon and a port.
pub(super) fn is_host_port(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let name = !host.is_empty() && host.len() <= 253 && host.bytes().all(good);
    name && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// A list of addresses, or a map to weights or settings.
pub(crate) fn endpoints<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<IndexMap<String, Endpoint>, D::Error> {
    struct EndpointsVisitor;
    impl<'de> Visitor<'de> for EndpointsVisitor {
        type Value = IndexMap<String, Endpoint>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of `host:port`, or a map from `host:port` to a weight")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let Address(address) = Address::word(text).map_err(E::custom)?;
            Ok([(address, Endpoint::default())].into_iter().collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut all = IndexMap::new();
            while let Some(One(Address(address))) = list.next_element()? {
                let known = all.insert(address.clone(), Endpoint::default()).is_some();
                if known {
                    return Err(de::Error::custom(format!("`{address}` stands here twice")));
                }
            }
            Ok(all)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = IndexMap::new();
            while let Some((Address(address), endpoint)) = map.next_entry()? {
                all.insert(address, endpoint);
            }
            Ok(all)
        }
    }
    d.deserialize_newtype_struct(WORD, EndpointsVisitor)
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MatchVisitor;
        impl<'de> Visitor<'de> for MatchVisitor {
            type Value = Match;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, `true`, `false`, `{ prefix }` or `{ regex }`")
            }

            fn visit_bool<E: de::Error>(self, there: bool) -> Result<Match, E> {
                Ok(if there { Match::Present } else { Match::Absent })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Match, E> {
                Ok(Match::Exact(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Match, A::Error> {
                const KNOWN: &[&str] = &["prefix", "regex", "exact"];
                let one = || de::Error::custom("expected one of `prefix`, `regex`, `exact`");
                let kind = map.next_key_seed(KnownKey(KNOWN))?.ok_or_else(one)?;
                let One(text) = map.next_value()?;
                if map.next_key_seed(KnownKey(KNOWN))?.is_some() {
                    return Err(one());
                }
                Ok(match kind {
                    "prefix" => Match::Prefix(text),
                    "regex" => Match::Regex(text),
                    _ => Match::Exact(text),
                })
            }
        }
        deserializer.deserialize_newtype_struct(WORD, MatchVisitor)
    }
}

/// Reads a key that must be one of a few.
struct KnownKey(&'static [&'static str]);

impl<'de> de::DeserializeSeed<'de> for KnownKey {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<&'static str, E> {
        let known = self.0.iter().find(|name| **name == text);
        known.copied().ok_or_else(|| E::unknown_field(text, self.0))
    }
}
