//! Texts that stand in a Redis, and word of their changes: what a gateway's configuration may be
//! read from. A string or a hash is one key, whose texts are read at one moment; the strings of a
//! prefix are looked for in steps, and then read at one moment. Nothing is written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, PushInfo, PushKind, RedisError, cmd, pipe,
};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::figures::Calls;
use super::link::{Dialer, said};
use super::settings::{Servers, Settings};

/// Messages that wait; one is as good as many.
const QUEUE: usize = 64;
/// Keys that a step of a search looks at.
const STEP: usize = 1000;
/// The steps of a search.
const MOST_STEPS: usize = 100_000;

/// What is read, and how much of it at most.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// A key, or what keys begin with.
    pub key: String,
    /// Which of both.
    pub is_prefix: bool,
    /// Most texts.
    pub most: usize,
    /// Most bytes of all texts together.
    pub most_bytes: usize,
    /// The longest that the server may be silent when it is asked.
    pub patience: Duration,
}

/// Why there are no texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoTexts {
    /// The server does not answer, or no longer.
    Away(String),
    /// It does not let the gateway do that.
    Denied(String),
    /// What stands there is something else, or too much.
    Unusable(String),
}

/// A connection by which texts are read.
pub struct Texts {
    connection: MultiplexedConnection,
    pushes: Receiver<PushInfo>,
    driver: JoinHandle<()>,
    wanted: Wanted,
}

impl Drop for Texts {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Texts {
    /// Connects, and listens to what is said of the texts from now on: by the server, where it
    /// tells of keys, and on the channel `KEY:changed`.
    ///
    /// # Errors
    /// No connection. A server that lets nobody listen is no error.
    pub async fn open(settings: &Settings, wanted: Wanted) -> Result<Self, NoTexts> {
        let Servers::One(address) = &settings.servers else {
            return Err(NoTexts::Unusable("has one server and no more".to_owned()));
        };
        let (sender, pushes) = channel(QUEUE);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            // When there is no room there is word enough already.
            sender.try_send(push).or(Ok::<(), SendError>(()))
        });
        let dialer = Dialer::new(settings, Arc::new(Calls::default())).for_messages();
        let opened = dialer.open(address, config).await;
        let (connection, driver) = opened.map_err(|why| NoTexts::Away(why.into_owned()))?;
        let mut texts = Self { connection, pushes, driver: tokio::spawn(driver), wanted };
        texts.listen(settings.database).await?;
        Ok(texts)
    }

    async fn listen(&mut self, database: u16) -> Result<(), NoTexts> {
        let Wanted { key, is_prefix, .. } = self.wanted.clone();
        let own = format!("{}:changed", key.trim_end_matches([':', '/']));
        let space = format!("__keyspace@{database}__:{}", escaped(&key));
        let space = if is_prefix { format!("{space}*") } else { space };
        for pattern in [escaped(&own), space] {
            match timeout(self.wanted.patience, self.connection.psubscribe(&pattern)).await {
                Err(_) => return Err(silent()),
                Ok(Err(error)) if error.code().is_none() => {
                    return Err(NoTexts::Away(said(&error)));
                }
                // It is asked now and then all the same.
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Reads all texts, by the names that they have in the hash or after the prefix; that of a
    /// string alone is empty.
    ///
    /// # Errors
    /// No whole answer, or one that is too much.
    pub async fn fetch(&mut self) -> Result<Vec<(Vec<u8>, Bytes)>, NoTexts> {
        if self.wanted.is_prefix {
            return self.by_prefix().await;
        }
        let key = self.wanted.key.clone();
        let kind: String = self.ask(cmd("TYPE").arg(&key)).await?;
        match kind.as_str() {
            "none" => Ok(Vec::new()),
            "string" => {
                let length: usize = self.ask(cmd("STRLEN").arg(&key)).await?;
                self.fits(1, length)?;
                let text: Option<Vec<u8>> = self.ask(cmd("GET").arg(&key)).await?;
                Ok(text.into_iter().map(|text| (Vec::new(), text.into())).collect())
            }
            "hash" => self.by_hash(&key).await,
            other => {
                let what = format!("has a {other} at `{key}`, and not a string or a hash");
                Err(NoTexts::Unusable(what))
            }
        }
    }

    async fn by_hash(&mut self, key: &str) -> Result<Vec<(Vec<u8>, Bytes)>, NoTexts> {
        let count: usize = self.ask(cmd("HLEN").arg(key)).await?;
        self.fits(count, 0)?;
        let names: Vec<Vec<u8>> = self.ask(cmd("HKEYS").arg(key)).await?;
        let mut lengths = pipe();
        for name in &names {
            lengths.cmd("HSTRLEN").arg(key).arg(name);
        }
        self.fits(names.len(), self.sum(&names, lengths).await?)?;
        let texts: Vec<(Vec<u8>, Vec<u8>)> = self.ask(cmd("HGETALL").arg(key)).await?;
        Ok(texts.into_iter().map(|(name, text)| (name, text.into())).collect())
    }

    async fn by_prefix(&mut self) -> Result<Vec<(Vec<u8>, Bytes)>, NoTexts> {
        let prefix = self.wanted.key.clone();
        let pattern = format!("{}*", escaped(&prefix));
        let mut found = BTreeSet::new();
        let mut cursor = 0_u64;
        for _ in 0..MOST_STEPS {
            let mut step = cmd("SCAN");
            step.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
            step.arg("TYPE").arg("string");
            let (next, keys): (u64, Vec<Vec<u8>>) = self.ask(&step).await?;
            found.extend(keys);
            self.fits(found.len(), 0)?;
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        if cursor != 0 {
            let what = "has too many keys to look for a prefix among: use one hash";
            return Err(NoTexts::Unusable(what.to_owned()));
        }
        let keys: Vec<Vec<u8>> = found.into_iter().collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut lengths = pipe();
        for key in &keys {
            lengths.cmd("STRLEN").arg(key);
        }
        self.fits(keys.len(), self.sum(&keys, lengths).await?)?;
        let texts: Vec<Option<Vec<u8>>> = self.ask(cmd("MGET").arg(&keys)).await?;
        let named = keys.iter().zip(texts).filter_map(|(key, text)| {
            Some((key.strip_prefix(prefix.as_bytes())?.to_vec(), text?.into()))
        });
        Ok(named.collect())
    }

    /// Waits until something is said of the texts.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn noticed(&mut self) -> Result<(), NoTexts> {
        loop {
            let push = tokio::select! {
                push = self.pushes.recv() => push,
                _ = &mut self.driver => None,
            };
            let Some(push) = push else {
                return Err(NoTexts::Away("closed the connection".to_owned()));
            };
            if matches!(push.kind, PushKind::Message | PushKind::PMessage) {
                // All that has been said by now is looked at together.
                while self.pushes.try_recv().is_ok() {}
                return Ok(());
            }
        }
    }

    async fn sum(&self, of: &[Vec<u8>], lengths: redis::Pipeline) -> Result<usize, NoTexts> {
        if of.is_empty() {
            return Ok(0);
        }
        let mut connection = self.connection.clone();
        let asked = lengths.query_async::<Vec<usize>>(&mut connection);
        let lengths = timeout(self.wanted.patience, asked).await.map_err(|_| silent())?;
        Ok(lengths.map_err(|error| failed(&error))?.iter().sum())
    }

    fn fits(&self, count: usize, bytes: usize) -> Result<(), NoTexts> {
        let Wanted { most, most_bytes, .. } = self.wanted;
        if count <= most && bytes <= most_bytes {
            return Ok(());
        }
        Err(NoTexts::Unusable(format!("has more than {most} texts or {most_bytes} bytes of them")))
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, NoTexts> {
        let asked = command.query_async(&mut self.connection);
        let answer = timeout(self.wanted.patience, asked).await.map_err(|_| silent())?;
        answer.map_err(|error| failed(&error))
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Texts({})", self.wanted.key)
    }
}

fn silent() -> NoTexts {
    NoTexts::Away("does not answer in time".to_owned())
}

fn failed(error: &RedisError) -> NoTexts {
    let what = said(error);
    match error.code() {
        Some("NOAUTH" | "NOPERM" | "WRONGPASS") => {
            NoTexts::Denied(format!("does not let the gateway in: {what}"))
        }
        Some(_) => NoTexts::Away(format!("refuses: {what}")),
        None => NoTexts::Away(format!("broke the connection off: {what}")),
    }
}

/// A text as a pattern that fits it alone.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
