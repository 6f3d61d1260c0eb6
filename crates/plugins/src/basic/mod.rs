//! `basic`: a name and a password with each request (RFC 7617). Passwords are stored as argon2id
//! hashes and nothing else.

mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use lockgate_core::{
    Build, Challenge, ConfigError, Consumer, Consumers, Exchange, Fault, Identity, IdentityPlugin,
    Kind, Proof, Reason, Rejection, Step, Time, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

pub use verify::hash;
use verify::{Known, Verifier, check};

/// Most users.
const MAX_USERS: usize = 10_000;
/// Longest credential, decoded, in bytes.
const MAX_CREDENTIAL: usize = 1024;
/// The longest time that a verified credential is remembered.
const MAX_CACHE: Duration = Duration::from_secs(3600);

/// Takes a name and its password for who it is.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Name → the argon2id hash of the password, as `lockgate keys password` prints it.
    users: BTreeMap<String, String>,
    /// A file with a line `NAME:HASH` for each user. Its change is a reload.
    file: Option<String>,
    /// What a browser shows when it asks for the password (the identity's name).
    realm: Option<String>,
    /// How long a verified password is believed without verifying it again (`5m`).
    cache: Option<Time>,
    /// Whether the upstream gets the password too (`false`).
    forward: bool,
}

static MALFORMED: Reason = Reason {
    code: "basic_malformed",
    kind: Kind::Forbidden,
    help: "The Authorization header says Basic, but there is no `name:password` in base64 after \
           it, or there are several.",
};

static WRONG: Reason = Reason {
    code: "password_wrong",
    kind: Kind::Forbidden,
    help: "There is no user of that name, or the password is another.",
};

/// The entry in the list of plugins.
pub(crate) struct Basic;

impl IdentityPlugin for Basic {
    fn name(&self) -> &'static str {
        "basic"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&MALFORMED, &WRONG];
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(
        &self,
        config: &Value,
        build: &mut Build<'_>,
    ) -> Result<Arc<dyn Identity>, ConfigError> {
        let config: Config = decode(config)?;
        let realm = config.realm.as_deref().unwrap_or(&build.name);
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let challenge =
            HeaderValue::try_from(challenge).ok().filter(|_| !realm.contains(['"', '\\']));
        let cache = config.cache.map_or(Duration::from_secs(300), |time| time.0);
        if cache > MAX_CACHE {
            return Err(ConfigError::new("a password is believed for 1h at most").at("cache"));
        }
        let users = users(&config, build)?;
        let stand_in = users.values().next().cloned();
        Ok(Arc::new(Users {
            identity: (*build.name).into(),
            stand_in: stand_in
                .ok_or_else(|| ConfigError::new("name `users`, or a `file` of them"))?,
            users,
            challenge: challenge.ok_or_else(|| {
                ConfigError::new("a realm is plain text without quotes").at("realm")
            })?,
            forward: config.forward,
            verifier: Verifier::new(build.provide.blocking()),
            known: Known::new(cache).map_err(ConfigError::new)?,
            consumers: Arc::clone(build.provide.consumers()),
        }))
    }
}

/// All users; no message repeats a hash.
fn users(config: &Config, build: &Build<'_>) -> Result<BTreeMap<Box<str>, Arc<str>>, ConfigError> {
    let mut all: BTreeMap<Box<str>, Arc<str>> = BTreeMap::new();
    for (name, hash) in &config.users {
        let at = |error: ConfigError| error.at(name).at("users");
        add(&mut all, name, hash).map_err(|what| at(ConfigError::new(what)))?;
    }
    if let Some(file) = &config.file {
        let at = |what: String| ConfigError::new(what).at("file");
        let bytes = build.provide.read(Path::new(file)).map_err(at)?;
        let text = str::from_utf8(&bytes).map_err(|_| at("the file is not UTF-8".to_owned()))?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let said = |what: String| at(format!("line {}: {what}", number + 1));
            let (name, hash) =
                line.split_once(':').ok_or_else(|| said("it is no `NAME:HASH`".to_owned()))?;
            add(&mut all, name, hash).map_err(said)?;
        }
    }
    Ok(all)
}

fn add(all: &mut BTreeMap<Box<str>, Arc<str>>, name: &str, hash: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
        return Err("a name is not empty, and has neither `:` nor control characters".to_owned());
    }
    check(hash)?;
    if all.len() >= MAX_USERS {
        return Err(format!("there are more than {MAX_USERS} users"));
    }
    match all.insert(name.into(), hash.into()) {
        None => Ok(()),
        Some(_) => Err("this user is there twice".to_owned()),
    }
}

struct Users {
    identity: Arc<str>,
    users: BTreeMap<Box<str>, Arc<str>>,
    /// Verified in place of an unknown user's: the answer takes as long.
    stand_in: Arc<str>,
    challenge: HeaderValue,
    forward: bool,
    verifier: Verifier,
    known: Known,
    consumers: Arc<Consumers>,
}

/// What stands in the request.
enum Credential {
    None,
    Malformed(&'static str),
    /// `name:password`.
    Pair(Vec<u8>),
}

impl Users {
    fn believe(&self, exchange: &mut Exchange, consumer: Arc<Consumer>) -> Proof {
        if !self.forward {
            exchange.head.headers.remove(AUTHORIZATION);
        }
        Proof::Consumer(consumer)
    }

    async fn verify(&self, exchange: &mut Exchange, pair: Vec<u8>) -> Result<Proof, Fault> {
        let invalid = |detail: &'static str| {
            Ok(Proof::Invalid(Rejection { reason: &WRONG, detail: detail.into() }))
        };
        let colon = pair.iter().position(|byte| *byte == b':').unwrap_or(pair.len());
        let user = pair.get(..colon).and_then(|name| str::from_utf8(name).ok());
        let password = pair.get(colon + 1..).unwrap_or_default().to_vec();
        let own = user.and_then(|user| self.users.get_key_value(user));
        let hash = own.map_or(&self.stand_in, |(_, hash)| hash);
        let holds = self.verifier.verify(password, Arc::clone(hash)).await?;
        let Some((user, _)) = own else { return invalid("there is no such user") };
        if !holds {
            return invalid("the password is another");
        }
        let mut consumer = Consumer {
            name: (**user).into(),
            identity: Arc::clone(&self.identity),
            ..Consumer::default()
        };
        self.consumers.complete(&mut consumer);
        let consumer = Arc::new(consumer);
        self.known.put(self.known.name(&pair), Arc::clone(&consumer));
        Ok(self.believe(exchange, consumer))
    }
}

fn credential(exchange: &Exchange) -> Credential {
    let mut lines = exchange.head.headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next().map(HeaderValue::as_bytes) else { return Credential::None };
    let is_basic = line.get(..6).is_some_and(|begin| begin.eq_ignore_ascii_case(b"basic "));
    if !is_basic {
        return Credential::None;
    }
    if lines.next().is_some() {
        return Credential::Malformed("there are several");
    }
    match STANDARD.decode(line.get(6..).unwrap_or_default().trim_ascii()) {
        Ok(pair) if pair.len() > MAX_CREDENTIAL => Credential::Malformed("it is too long"),
        Ok(pair) if pair.contains(&b':') => Credential::Pair(pair),
        Ok(_) => Credential::Malformed("there is no colon in it"),
        Err(_) => Credential::Malformed("it is not base64"),
    }
}

impl Identity for Users {
    fn identify<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        match credential(exchange) {
            Credential::None => Step::Now(Ok(Proof::Absent)),
            Credential::Malformed(detail) => {
                let rejection = Rejection { reason: &MALFORMED, detail: detail.into() };
                Step::Now(Ok(Proof::Invalid(rejection)))
            }
            Credential::Pair(pair) => match self.known.get(&self.known.name(&pair)) {
                Some(consumer) => Step::Now(Ok(self.believe(exchange, consumer))),
                None => Step::Later(Box::pin(self.verify(exchange, pair))),
            },
        }
    }

    fn challenge(&self, _: Challenge<'_>) -> Option<HeaderValue> {
        Some(self.challenge.clone())
    }

    fn describe(&self) -> String {
        format!("name and password, {} users", self.users.len())
    }
}
