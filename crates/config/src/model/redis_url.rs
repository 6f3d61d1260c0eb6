//! URLs of Redis servers: their parts, and how much of them may be shown.

/// The parts of `redis://USER:PASSWORD@HOST:PORT/DATABASE`.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether TLS is spoken: `rediss://`.
    pub tls: bool,
    /// A name or an IP address.
    pub host: String,
    /// 6379 unless said.
    pub port: u16,
    /// The user, if one is said.
    pub username: Option<String>,
    /// The password, if one is said.
    pub password: Option<String>,
    /// 0 unless said.
    pub database: Option<u16>,
}

/// Redis' own port.
const PORT: u16 = 6379;

impl RedisUrl {
    /// Reads one. What is wrong with it never repeats it: there may be a password in it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn read(text: &str) -> Result<Self, String> {
        let (tls, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            _ => {
                let what =
                    "expected `memory`, `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS";
                return Err(what.to_owned());
            }
        };
        let (authority, database) = match rest.split_once('/') {
            Some((authority, "")) => (authority, None),
            Some((authority, database)) => (authority, Some(database)),
            None => (rest, None),
        };
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (username, password) = match login.map(|login| login.split_once(':')) {
            None => (None, None),
            Some(Some((username, password))) => (Some(username), Some(password)),
            Some(None) => (login, None),
        };
        let decoded = |part: Option<&str>| match part.filter(|part| !part.is_empty()) {
            Some(part) => percent_decoded(part).map(Some),
            None => Ok(None),
        };
        let (host, port) = place_of(place, PORT)?;
        let number = |text: &str| text.parse().map_err(|_| "the database is no number".to_owned());
        Ok(Self {
            tls,
            host,
            port,
            username: decoded(username)?,
            password: decoded(password)?,
            database: database.map(number).transpose()?,
        })
    }
}

/// A URL with something else in place of its password; `None` when it has none, or one that is
/// only named.
pub(crate) fn without_password(url: &str, instead: &str) -> Option<String> {
    // In a list of servers the scheme may be left out.
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (login, place) = rest.rsplit_once('@')?;
    if !has_plain_password(login) {
        return None;
    }
    let scheme = url.strip_suffix(rest).unwrap_or_default();
    let user = login.get(..colon(login)?)?;
    Some(format!("{scheme}{user}:{instead}@{place}"))
}

/// Whether a URL as it is written has a password that is more than named.
pub(crate) fn bears_secret(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let login = rest.rsplit_once('@');
    login.is_some_and(|(login, _)| has_plain_password(login))
}

fn has_plain_password(login: &str) -> bool {
    let password = colon(login).and_then(|colon| login.get(colon + 1..));
    password.is_some_and(|password| !password.is_empty() && !is_only_named(password))
}

/// Where the password begins. A reference has a colon too.
fn colon(login: &str) -> Option<usize> {
    let mut inside = false;
    login.char_indices().find_map(|(at, c)| {
        inside = (inside || login.get(at..)?.starts_with("${")) && c != '}';
        (c == ':' && !inside).then_some(at)
    })
}

/// Whether a text is references and nothing else.
pub(crate) fn is_only_named(text: &str) -> bool {
    let mut rest = text;
    while let Some(inside) = rest.strip_prefix("${") {
        let Some((_, after)) = inside.split_once('}') else { return false };
        rest = after;
    }
    rest.is_empty()
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT`.
pub(super) fn place_of(place: &str, otherwise: u16) -> Result<(String, u16), String> {
    let (host, port) = match place.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) => (host, rest.strip_prefix(':')),
        Some(None) => return Err("the `]` of the address is missing".to_owned()),
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(fits) {
        return Err("expected `HOST:PORT`, after `://` and the last `@` of a URL".to_owned());
    }
    let port = match port {
        None => otherwise,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err("the port is no number from 1 to 65535".to_owned()),
            Ok(port) => port,
        },
    };
    Ok((host.to_owned(), port))
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let wrong = || "a `%` in the user or the password is not followed by two digits".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let (digits, after) = after.split_at_checked(2).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::{RedisUrl, bears_secret, without_password};

    #[test]
    fn urls_are_read() {
        let read = RedisUrl::read("rediss://gate:p%40ss@[::1]:7000/3").ok().unwrap();
        assert!(read.tls && read.host == "::1" && read.port == 7000);
        assert_eq!(read.username.as_deref(), Some("gate"));
        assert_eq!(read.password.as_deref(), Some("p@ss"));
        assert_eq!(read.database, Some(3));
        let short = RedisUrl::read("redis://cache.internal").ok().unwrap();
        assert!(!short.tls && short.host == "cache.internal" && short.port == 6379);
        assert!(short.username.is_none() && short.password.is_none() && short.database.is_none());
        let alone = RedisUrl::read("redis://:secret@h:1/").ok().unwrap();
        assert!(alone.username.is_none() && alone.password.as_deref() == Some("secret"));
    }

    #[test]
    fn only_named_passwords_are_shown() {
        for (url, seen) in [
            ("redis://h:1/2", None),
            ("redis://:${env:P}@h", None),
            ("redis://u:${file:/p:q}@h", None),
            ("redis://${file:/p:q}:${env:P}@h", None),
            ("redis://${env:U}:hunter2@h", Some("redis://${env:U}:*@h")),
            ("redis://:hun@ter2@h:1", Some("redis://:*@h:1")),
            ("redis://u@h", None),
            ("gate:hunter2@10.0.0.5:6379", Some("gate:*@10.0.0.5:6379")),
            ("10.0.0.5:6379", None),
            ("redis://:${env:A}${env:B}@h", None),
            ("redis://:${env:A}plain${env:B}@h", Some("redis://:*@h")),
            ("memory", None),
        ] {
            assert_eq!(without_password(url, "*").as_deref(), seen, "{url}");
            assert_eq!(bears_secret(url), seen.is_some(), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_does_not_repeat_the_password() {
        for text in [
            "http://hunter2@h",
            "redis://u:hunter2@",
            "redis://u:hunter2@h:port",
            "redis://u:hunter2%zz@h",
            "redis://u:hunter2@h/db",
            "redis://u:hunter2@[::1",
            "redis://u:hunter2@h:0",
        ] {
            let error = RedisUrl::read(text).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
