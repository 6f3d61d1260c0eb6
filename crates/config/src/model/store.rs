//! `stores`: where state is kept.

use std::fmt;
use std::path::PathBuf;

use lockgate_core::{Size, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::redis_url::{RedisUrl, place_of};
use crate::decode::forms;

/// A store: `memory`, or a Redis. A word or a URL alone is its `url`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Store {
    /// `memory`, or `redis://HOST:PORT/DATABASE`; `rediss://` speaks TLS. A user and a password may
    /// stand before the host, or in the keys of their own.
    #[serde(skip_serializing)]
    pub url: Option<String>,
    /// Instead of `url`: some servers of a Redis Cluster, as URLs. The others are found by them.
    #[serde(deserialize_with = "forms::words", skip_serializing)]
    pub redis_cluster: Vec<String>,
    /// Instead of `url`: who knows which server is the master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_sentinel: Option<Sentinel>,
    /// The user (ACL); Redis' default user when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password: `${env:NAME}` or `${file:PATH}`.
    #[serde(skip_serializing)]
    pub password: Option<String>,
    /// The database (0); a Cluster has no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<u16>,
    /// What every key begins with (`lockgate`). Gateways that share a store need the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How long a call may take: 10ms for limits and 50ms for the cache, unless said for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Time>,
    /// PEM file of the authorities to trust instead of the system's, for `rediss://`.
    #[serde(deserialize_with = "forms::maybe_path", skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The certificate to show, PEM.
    #[serde(deserialize_with = "forms::maybe_path", skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(deserialize_with = "forms::maybe_path", skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name that the servers' certificates must bear; each server's host when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Of `memory`: most bytes that kept answers may take (64MiB).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Size>,
}

/// Sentinels, and the master that they watch.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Sentinel {
    /// The master's name.
    pub master: String,
    /// The sentinels: `HOST:PORT`, port 26379 when not given.
    #[serde(deserialize_with = "forms::words")]
    pub sentinels: Vec<String>,
    /// The user that sentinels ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// That user's password.
    #[serde(skip_serializing)]
    pub password: Option<String>,
    /// Whether the sentinels and the servers speak TLS (off).
    pub tls: bool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_memory() { "Store(memory)" } else { "Store(redis)" })
    }
}

impl fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sentinel({})", self.master)
    }
}

/// What a store's settings mean.
#[derive(Clone, PartialEq)]
pub enum Reached<'a> {
    /// The memory of the process.
    Memory,
    /// One server.
    One(RedisUrl),
    /// A Cluster, by some of its servers.
    Cluster(Vec<RedisUrl>),
    /// A master by its name, and the sentinels that know it.
    Sentinel(&'a Sentinel, Vec<(String, u16)>),
}

/// What is wrong with a store: the keys below its name, and a sentence without secrets.
pub type Wrong = (&'static [&'static str], String);

/// Longest prefix.
const LONGEST_PREFIX: usize = 64;
/// The port of sentinels.
const SENTINEL_PORT: u16 = 26_379;
/// Most servers that may be named.
const MOST_SERVERS: usize = 64;

impl Store {
    /// Whether it is the process's memory.
    pub fn is_memory(&self) -> bool {
        let says = self.url.as_deref().is_none_or(|url| url == "memory");
        says && self.redis_cluster.is_empty() && self.redis_sentinel.is_none()
    }

    /// Whether TLS is spoken.
    pub fn speaks_tls(&self) -> bool {
        match self.reached() {
            Ok(Reached::One(url)) => url.tls,
            Ok(Reached::Cluster(urls)) => urls.first().is_some_and(|url| url.tls),
            Ok(Reached::Sentinel(sentinel, _)) => sentinel.tls,
            Ok(Reached::Memory) | Err(_) => false,
        }
    }

    /// Where it is, all of its settings checked. `name`: its own.
    ///
    /// # Errors
    /// What is wrong.
    pub fn checked(&self, name: &str) -> Result<Reached<'_>, Wrong> {
        let reached = self.reached()?;
        if reached == Reached::Memory {
            self.check_memory(name)?;
            return Ok(reached);
        }
        if name == "memory" {
            return Err((&[], "`memory` is this process's own: a Redis needs another name".into()));
        }
        if self.max_size.is_some() {
            let what = "only `memory` has a `max_size`: say it in Redis itself (`maxmemory`)";
            return Err((&["max_size"], what.into()));
        }
        let tls = self.speaks_tls();
        let only = [
            (self.ca.is_some(), &["ca"] as &[&str]),
            (self.cert.is_some(), &["cert"]),
            (self.sni.is_some(), &["sni"]),
        ];
        if let Some((_, at)) = only.iter().find(|(is_there, _)| *is_there && !tls) {
            return Err((at, "is for TLS: say `rediss://`, or `tls: true` of sentinels".into()));
        }
        if self.cert.is_some() != self.key.is_some() {
            return Err((&[], "`cert` and `key` go together: one of them is missing".into()));
        }
        if let Some(prefix) = &self.prefix {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
            if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.chars().all(fits) {
                let what = "expected up to 64 letters, digits and `-_.:/`";
                return Err((&["prefix"], what.into()));
            }
        }
        if self.timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            return Err((&["timeout"], "expected more than no time at all".into()));
        }
        if self.username.is_some() && self.password.is_none() {
            return Err((&["username"], "needs a `password` too".into()));
        }
        Ok(reached)
    }

    fn check_memory(&self, name: &str) -> Result<(), Wrong> {
        let Self { url: _, max_size, .. } = self;
        let other = Self { url: self.url.clone(), max_size: *max_size, ..Self::default() };
        if *self != other {
            return Err((&[], "a store in memory has no setting but `max_size`".into()));
        }
        match max_size {
            Some(_) if name != "memory" => {
                let what = "the memory is one, whatever it is called: say it of `memory`";
                Err((&["max_size"], what.into()))
            }
            Some(Size(0..SMALLEST)) => {
                Err((&["max_size"], "the store `memory` takes at least 1MiB".into()))
            }
            _ => Ok(()),
        }
    }

    fn reached(&self) -> Result<Reached<'_>, Wrong> {
        let ways = usize::from(self.url.is_some())
            + usize::from(!self.redis_cluster.is_empty())
            + usize::from(self.redis_sentinel.is_some());
        if ways > 1 {
            let what = "`url`, `redis_cluster` and `redis_sentinel` are three ways to say where it \
                        is: keep one";
            return Err((&[], what.into()));
        }
        if let Some(sentinel) = &self.redis_sentinel {
            return sentinel.reached();
        }
        if !self.redis_cluster.is_empty() {
            return self.cluster();
        }
        match self.url.as_deref() {
            None | Some("memory") => Ok(Reached::Memory),
            Some(url) => {
                let url = RedisUrl::read(url).map_err(|what| (&["url"] as &[_], what))?;
                self.agrees(&url, &["url"])?;
                Ok(Reached::One(url))
            }
        }
    }

    fn cluster(&self) -> Result<Reached<'_>, Wrong> {
        let at: &[_] = &["redis_cluster"];
        if self.redis_cluster.len() > MOST_SERVERS {
            return Err((at, format!("names more than {MOST_SERVERS} servers; a few will do")));
        }
        let read = |text: &String| match text.contains("://") {
            true => RedisUrl::read(text),
            false => RedisUrl::read(&format!("redis://{text}")),
        };
        let urls: Result<Vec<_>, _> = self.redis_cluster.iter().map(read).collect();
        let urls = urls.map_err(|what| (at, what))?;
        if self.database.is_some_and(|database| database != 0) {
            return Err((&["database"], "a Cluster has only the database 0".into()));
        }
        for url in &urls {
            self.agrees(url, at)?;
            if url.database.is_some_and(|database| database != 0) {
                return Err((at, "a Cluster has only the database 0".into()));
            }
        }
        let same = |other: &RedisUrl| {
            urls.first().is_none_or(|first| {
                (first.tls, &first.username, &first.password)
                    == (other.tls, &other.username, &other.password)
            })
        };
        if !urls.iter().all(same) {
            let what = "all servers need the same `redis://` or `rediss://`, user and password";
            return Err((at, what.into()));
        }
        Ok(Reached::Cluster(urls))
    }

    /// What stands in a URL must not stand in a key too.
    fn agrees(&self, url: &RedisUrl, at: &'static [&'static str]) -> Result<(), Wrong> {
        let twice = [
            (url.username.is_some() && self.username.is_some(), "user"),
            (url.password.is_some() && self.password.is_some(), "password"),
            (url.database.is_some() && self.database.is_some(), "database"),
        ];
        match twice.iter().find(|(is_twice, _)| *is_twice) {
            Some((_, what)) => Err((at, format!("the {what} stands in the URL and in a key"))),
            None => Ok(()),
        }
    }
}

impl Sentinel {
    fn reached(&self) -> Result<Reached<'_>, Wrong> {
        if self.master.is_empty() {
            let what = "needs the name of the `master` that the sentinels watch";
            return Err((&["redis_sentinel"], what.into()));
        }
        let at: &[_] = &["redis_sentinel", "sentinels"];
        if self.sentinels.is_empty() || self.sentinels.len() > MOST_SERVERS {
            return Err((at, format!("expected from 1 to {MOST_SERVERS} of `HOST:PORT`")));
        }
        let read = |text: &String| place_of(text, SENTINEL_PORT);
        let all: Result<Vec<_>, _> = self.sentinels.iter().map(read).collect();
        all.map(|all| Reached::Sentinel(self, all)).map_err(|what| (at, what))
    }
}

/// The least that is of any use in memory.
const SMALLEST: u64 = 1 << 20;
