//! Where a configuration is that is not on this machine: the URL that the command line names it by.
//! What is wrong with one is told without repeating it, as there may be a password in it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lockgate_config::model::UpstreamTls;
use lockgate_core::Time;

/// How often a source is asked although it said nothing, unless the URL says it.
const POLL: Duration = Duration::from_secs(10);
const LEAST_POLL: Duration = Duration::from_millis(100);
const MOST_POLL: Duration = Duration::from_hours(1);

/// A place that answers over the network.
#[derive(Clone)]
pub(crate) struct Place {
    pub(super) kind: Kind,
    /// Host and port, to be tried in turn.
    pub(super) servers: Vec<(String, u16)>,
    pub(super) tls: Option<UpstreamTls>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u16,
    /// The key, or what all keys begin with.
    pub(super) key: String,
    pub(super) poll: Duration,
    /// The URL without its login and its options.
    shown: String,
}

/// What answers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Etcd,
    Redis,
}

impl Place {
    /// Reads a URL; `None` when the text is none of a source, and so a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        let (kind, tls) = match scheme {
            "etcd" => (Kind::Etcd, false),
            "etcds" => (Kind::Etcd, true),
            "redis" => (Kind::Redis, false),
            "rediss" => (Kind::Redis, true),
            _ => return None,
        };
        Some(Self::parse(scheme, kind, tls, rest))
    }

    fn parse(scheme: &str, kind: Kind, is_tls: bool, rest: &str) -> Result<Self, String> {
        let (rest, secrets) = set_aside(rest)?;
        let whole = |piece: &str| secrets.put_back(piece);
        let (rest, options) = rest.split_once('?').unwrap_or((&rest, ""));
        let (authority, path) =
            rest.split_once('/').ok_or("a source's URL names a key after its servers: `/KEY`")?;
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let (username, password) = match login.map(|login| login.split_once(':')) {
            None => (None, None),
            Some(Some((username, password))) => (Some(username), Some(password)),
            Some(None) => (login, None),
        };
        let said = |part: Option<&str>| part.filter(|part| !part.is_empty()).map(whole).transpose();
        let (database, key) = match (kind, path.split_once('/')) {
            (Kind::Redis, Some((number, key))) if is_number(number) => {
                (number.parse().map_err(|_| "the database is no number to 65535")?, key)
            }
            _ => (0, path),
        };
        if key.is_empty() {
            return Err("a source's URL names a key, or what all its keys begin with".to_owned());
        }
        let port = if kind == Kind::Etcd { 2379 } else { 6379 };
        let servers: Result<Vec<_>, _> = hosts.split(',').map(|host| server(host, port)).collect();
        let servers = servers?;
        if kind == Kind::Redis && servers.len() > 1 {
            return Err("a source on a Redis has one server".to_owned());
        }
        let shown = format!("{scheme}://{hosts}/{path}");
        let mut place = Self {
            kind,
            servers,
            tls: is_tls.then(UpstreamTls::default),
            username: said(username)?,
            password: said(password)?,
            database,
            key: whole(key)?,
            poll: POLL,
            shown,
        };
        place.take_options(options, &whole)?;
        Ok(place)
    }

    fn take_options(
        &mut self,
        options: &str,
        whole: &impl Fn(&str) -> Result<String, String>,
    ) -> Result<(), String> {
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = whole(value)?;
            let of_tls = match name {
                "poll" => {
                    let span: Time = value.parse().map_err(|_| "`poll` is a time, such as `5s`")?;
                    self.poll = span.0.clamp(LEAST_POLL, MOST_POLL);
                    continue;
                }
                "ca" | "cert" | "key" | "sni" => self.tls.as_mut(),
                _ => {
                    let name = name.escape_debug();
                    return Err(format!(
                        "a source has no option `{name}`; there is ca, cert, key, sni and poll"
                    ));
                }
            };
            let Some(tls) = of_tls else {
                return Err(format!("`{name}` is for TLS: `etcds://` or `rediss://`"));
            };
            match name {
                "ca" => tls.ca = Some(PathBuf::from(value)),
                "cert" => tls.cert = Some(PathBuf::from(value)),
                "key" => tls.key = Some(PathBuf::from(value)),
                _ => tls.sni = Some(value),
            }
        }
        Ok(())
    }

    /// Whether the key is what several keys begin with.
    pub(super) fn is_prefix(&self) -> bool {
        self.key.ends_with('/') || (self.kind == Kind::Redis && self.key.ends_with(':'))
    }

    /// What messages call this source; keys are named by what follows.
    pub(crate) fn name(&self) -> &str {
        &self.shown
    }

    /// What a key of this source is called in messages, when it is told without its prefix.
    pub(super) fn prefix(&self) -> &str {
        if self.is_prefix() {
            return &self.shown;
        }
        let own = self.shown.rfind('/').map_or(0, |slash| slash + 1);
        self.shown.get(..own).unwrap_or(&self.shown)
    }

    /// The only key's own name, the last part of it.
    pub(super) fn own_name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Etcd => "etcd",
            Kind::Redis => "redis",
        }
    }
}

/// Without its login.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn server(text: &str, usual: u16) -> Result<(String, u16), String> {
    let wrong = || "expected `HOST:PORT`, several with commas between them, after `://`".to_owned();
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) => (host, rest.strip_prefix(':')),
        Some(None) => return Err(wrong()),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if host.is_empty() || !host.chars().all(fits) {
        return Err(wrong());
    }
    let port = match port.map(str::parse) {
        None => usual,
        Some(Ok(port @ 1..)) => port,
        Some(_) => return Err(wrong()),
    };
    Ok((host.to_owned(), port))
}

/// What stood in `${..}`, taken out so that nothing in it takes the URL apart.
struct Secrets(BTreeMap<char, String>);

/// Marks that stand for references: characters that nobody writes.
const MARKS: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{e0ff}';

fn set_aside(text: &str) -> Result<(String, Secrets), String> {
    if text.chars().any(|c| MARKS.contains(&c) || c.is_control()) {
        return Err("a source's URL has characters that no URL has".to_owned());
    }
    let (mut out, mut secrets) = (String::new(), BTreeMap::new());
    let mut rest = text;
    for mark in MARKS {
        let Some((before, after)) = rest.split_once("${") else { break };
        let (inner, after) = after.split_once('}').ok_or("`${` without its `}`")?;
        out.push_str(before);
        out.push(mark);
        secrets.insert(mark, looked_up(inner)?);
        rest = after;
    }
    out.push_str(rest);
    Ok((out, Secrets(secrets)))
}

fn looked_up(inner: &str) -> Result<String, String> {
    if let Some(name) = inner.strip_prefix("env:") {
        return std::env::var(name)
            .map_err(|_| format!("the environment variable `{name}` is not set"));
    }
    if let Some(path) = inner.strip_prefix("file:") {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("cannot read `{path}`: {error}"))?;
        return Ok(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    Err("`${..}` in a source's URL is `${env:NAME}` or `${file:PATH}`".to_owned())
}

impl Secrets {
    /// A piece of the URL: `%` escapes undone, and what references stand for as it is.
    fn put_back(&self, piece: &str) -> Result<String, String> {
        let wrong = "a `%` in a source's URL is not followed by two digits of text";
        let mut bytes = Vec::with_capacity(piece.len());
        let mut rest = piece.chars();
        while let Some(c) = rest.next() {
            if let Some(secret) = self.0.get(&c) {
                bytes.extend_from_slice(secret.as_bytes());
            } else if c == '%' {
                let digits: String = rest.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2);
                bytes.push(byte.ok_or(wrong)?);
            } else {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        String::from_utf8(bytes).map_err(|_| wrong.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Place {
        Place::read(text).unwrap().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn urls_are_taken_apart() {
        let place = read("etcd://a:1,[::1]:2,b/lockgate/");
        assert_eq!(place.servers, [("a".into(), 1), ("::1".into(), 2), ("b".into(), 2379)]);
        assert_eq!((place.key.as_str(), place.is_prefix()), ("lockgate/", true));
        assert_eq!(place.prefix(), "etcd://a:1,[::1]:2,b/lockgate/");
        assert!(place.tls.is_none() && place.username.is_none() && place.poll == POLL);

        let place = read("etcds://gate:p%40ss@a//conf/gate.yaml?ca=/ca.pem&sni=x&poll=250ms");
        assert_eq!((place.key.as_str(), place.is_prefix()), ("/conf/gate.yaml", false));
        assert_eq!(place.own_name(), "gate.yaml");
        assert_eq!(place.prefix(), "etcds://a//conf/");
        assert_eq!(place.username.as_deref(), Some("gate"));
        assert_eq!(place.password.as_deref(), Some("p@ss"));
        assert_eq!(place.poll, Duration::from_millis(250));
        let tls = place.tls.unwrap();
        assert_eq!((tls.ca, tls.sni), (Some("/ca.pem".into()), Some("x".into())));

        let place = read("redis://h/3/lockgate:");
        assert_eq!((place.database, place.key.as_str()), (3, "lockgate:"));
        assert!(place.is_prefix());
        let place = read("redis://:secret@h/lockgate");
        assert_eq!((place.database, place.own_name()), (0, "lockgate"));
        assert_eq!((place.username, place.password.as_deref()), (None, Some("secret")));
    }

    #[test]
    fn references_stand_for_what_they_name_and_take_nothing_apart() {
        let file = std::env::temp_dir().join(format!("lockgate-place-{}", std::process::id()));
        std::fs::write(&file, "a/b@c:d%20?e\n").unwrap();
        let place = read(&format!("etcd://gate:${{file:{}}}@h/k", file.display()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(place.password.as_deref(), Some("a/b@c:d%20?e"));
        assert_eq!(format!("{place:?}"), "etcd://h/k");
        assert!(read("etcd://u:${env:PATH}@h/k").password.is_some());
    }

    #[test]
    fn a_path_is_no_url() {
        for text in ["lockgate.yaml", "/etc/lockgate/conf.d/", "http://h/x", "C:/x"] {
            assert!(Place::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_repeating_it() {
        for text in [
            "etcd://u:hunter2@h",
            "etcd://u:hunter2@h/",
            "etcd://u:hunter2@h:port/k",
            "etcd://u:hunter2@h:0/k",
            "etcd://u:hunter2@/k",
            "etcd://u:hunter2@[::1/k",
            "etcd://u:hunter2%zz@h/k",
            "etcd://u:hunter2@h/k?pol=1s",
            "etcd://u:hunter2@h/k?poll=soon",
            "etcd://u:hunter2@h/k?ca=x",
            "redis://u:hunter2@a,b/k",
            "redis://u:hunter2@a/99999/k",
            "etcd://u:${env:HUNTER2}hunter2@h/k",
            "etcd://u:hunter2${env:X@h/k",
            "etcd://u:hunter2${vault:X}@h/k",
            "etcd://u:hunter2\u{7}@h/k",
        ] {
            let why = Place::read(text).unwrap().err().unwrap_or_else(|| panic!("{text}"));
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
