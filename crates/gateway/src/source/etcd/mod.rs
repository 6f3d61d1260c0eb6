//! etcd v3, by the JSON form that every server speaks beside gRPC: all keys of one revision, and a
//! stream of what changes after it. A stream that cannot be had, as its revision was compacted, is
//! made up for by fetching anew.

mod http;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lockgate_net::tls::ClientTls;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::follow::Fetched;
use super::place::Place;
use super::status::{Failure, Reason};
use http::{Http, Stream};

/// A server, as long as it answers.
pub(super) struct Session {
    http: Http,
    place: Place,
    token: Option<String>,
    stream: Option<Stream>,
    /// Of the last fetch.
    revision: i64,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    revision: String,
}

#[derive(Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Said {
    result: Option<Told>,
    error: Option<Value>,
}

/// One message of a stream.
#[derive(Deserialize)]
struct Told {
    header: Header,
    #[serde(default)]
    created: bool,
    #[serde(default)]
    canceled: bool,
    compact_revision: Option<String>,
    #[serde(default)]
    events: Vec<Value>,
}

impl Session {
    /// Logs in at a server, where that is needed.
    ///
    /// # Errors
    /// No server, or one that does not let the gateway in.
    pub(super) async fn open(place: &Place, server: usize) -> Result<Self, Failure> {
        let tls = place.tls.as_ref().map(|tls| ClientTls::load(tls, false)).transpose();
        let tls =
            tls.map_err(|error| Failure::new(Reason::Denied, format!("needs TLS: {error}")))?;
        let server = place.servers.get(server % place.servers.len().max(1)).cloned();
        let server = server.ok_or_else(|| Failure::away("has no server"))?;
        let http = Http::new(server, tls);
        let mut session =
            Self { http, place: place.clone(), token: None, stream: None, revision: 0 };
        session.log_in().await?;
        Ok(session)
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        let Some(name) = &self.place.username else { return Ok(()) };
        let login = json!({ "name": name, "password": self.place.password });
        let answer = self.http.ask("/v3/auth/authenticate", None, &login).await?;
        self.token = answer.get("token").and_then(Value::as_str).map(str::to_owned);
        Ok(())
    }

    /// All keys, as they are at one revision.
    ///
    /// # Errors
    /// No whole answer.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, Failure> {
        let range = self.range().into();
        let mut answer = self.http.ask("/v3/kv/range", self.token.as_deref(), &range).await;
        if matches!(&answer, Err(failure) if failure.reason == Reason::Denied)
            && self.token.is_some()
        {
            // A token ends after some minutes.
            self.log_in().await?;
            self.stream = None;
            answer = self.http.ask("/v3/kv/range", self.token.as_deref(), &range).await;
        }
        let odd = || Failure::away("has an answer that does not belong to the question");
        let Range { header, kvs } = serde_json::from_value(answer?).map_err(|_| odd())?;
        self.revision = header.revision.parse().map_err(|_| odd())?;
        let texts = kvs.into_iter().map(|Pair { key, value }| {
            let key = STANDARD.decode(key).map_err(|_| odd())?;
            let value = STANDARD.decode(value).map_err(|_| odd())?;
            Ok((self.name(&key).ok_or_else(odd)?, Bytes::from(value)))
        });
        let texts = texts.collect::<Result<_, Failure>>()?;
        let prefix = self.place.prefix().to_owned();
        Ok(Fetched { prefix, revision: Some(header.revision), texts })
    }

    /// What a key is called under the prefix.
    fn name(&self, key: &[u8]) -> Option<Vec<u8>> {
        if self.place.is_prefix() {
            return key.strip_prefix(self.place.key.as_bytes()).map(<[u8]>::to_vec);
        }
        Some(self.place.own_name().as_bytes().to_vec())
    }

    /// The keys that are meant.
    fn range(&self) -> Map<String, Value> {
        let key = self.place.key.as_bytes();
        let mut range = Map::new();
        range.insert("key".to_owned(), STANDARD.encode(key).into());
        if self.place.is_prefix() {
            range.insert("range_end".to_owned(), STANDARD.encode(after(key)).into());
        }
        range
    }

    /// Waits until something has changed since the last fetch, or cannot be known not to have.
    ///
    /// # Errors
    /// The end of the stream.
    pub(super) async fn noticed(&mut self) -> Result<(), Failure> {
        loop {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let mut create = self.range();
                    let next = (self.revision + 1).to_string();
                    create.insert("start_revision".to_owned(), next.into());
                    let create = json!({ "create_request": create });
                    let token = self.token.as_deref();
                    let stream = self.http.stream("/v3/watch", token, &create).await?;
                    self.stream.insert(stream)
                }
            };
            let line = stream.next().await?;
            let odd = |_| Failure::away("has a message that is not understood");
            let Said { result, error } = serde_json::from_slice(&line).map_err(odd)?;
            let Some(told) = result else {
                let what = error.as_ref().and_then(|error| error.get("message")?.as_str());
                let what = format!("ended the stream: {}", what.unwrap_or("no reason given"));
                return Err(Failure::away(what));
            };
            if told.canceled {
                self.stream = None;
                return match told.compact_revision {
                    Some(_) => Ok(()),
                    None => Err(Failure::away("cancelled the stream")),
                };
            }
            let revision: i64 = told.header.revision.parse().unwrap_or(i64::MAX);
            if !told.created && !told.events.is_empty() && revision > self.revision {
                return Ok(());
            }
        }
    }
}

/// The first key after all that begin with `prefix`.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::after;

    #[test]
    fn the_keys_of_a_prefix_end_before_the_next_one() {
        assert_eq!(after(b"lockgate/"), b"lockgate0");
        assert_eq!(after(b"a\xff"), b"b");
        assert_eq!(after(b"\xff\xff"), b"\0");
    }
}
