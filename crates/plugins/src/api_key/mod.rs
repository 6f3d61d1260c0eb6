//! `api_key`: a key that names its consumer. Keys are looked up by their hash; neither the
//! configuration's nor the request's is kept or told.

mod place;
mod secret;

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use lockgate_core::{
    Build, Challenge, ConfigError, Consumer, ConsumerEntry, Exchange, Fault, Identity,
    IdentityPlugin, Kind, Proof, Reason, Rejection, STORED_KEY, Step, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;

use place::{Had, Place};
pub use secret::{KeyHasher, fresh, is_damaged};

use crate::fields;

/// Longest key, in bytes.
const MAX_KEY: usize = 512;
/// Most keys of one consumer: two live ones are enough to change them without a gap.
const MAX_KEYS: usize = 16;

/// Takes a key for who it belongs to: the keys stand in `consumers`, in plain or as hashes.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The header that carries the key (`X-API-Key`, when nothing else is said).
    header: Option<String>,
    /// The query parameter that carries it: `api_key`, or a name that ends in `_key` or `_token`.
    query: Option<String>,
    /// The cookie that carries it.
    cookie: Option<String>,
    /// A secret that was mixed into the stored hashes: `${env:NAME}`.
    pepper: String,
    /// Whether the upstream gets the key too (`false`).
    forward: bool,
}

static UNKNOWN: Reason = Reason {
    code: "api_key_unknown",
    kind: Kind::Forbidden,
    help: "The key is none of the configuration's consumers: withdrawn, mistyped, or hashed with \
           another pepper.",
};

static AMBIGUOUS: Reason = Reason {
    code: "api_key_ambiguous",
    kind: Kind::Forbidden,
    help: "The request has several keys, so that the upstream might take another one than the \
           gateway.",
};

/// The entry in the list of plugins.
pub(crate) struct ApiKey;

impl IdentityPlugin for ApiKey {
    fn name(&self) -> &'static str {
        "api_key"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&UNKNOWN, &AMBIGUOUS];
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
        let hasher = KeyHasher::new(&config.pepper);
        let identity: Arc<str> = (*build.name).into();
        let mut keys: HashMap<[u8; 32], Arc<Consumer>> = HashMap::new();
        let mut entries: Vec<&ConsumerEntry> = build.provide.consumers().iter().collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            let consumer = Arc::new(consumer(entry, &identity));
            for hash in hashes(entry, &hasher)? {
                let Some(other) = keys.insert(hash, Arc::clone(&consumer)) else { continue };
                if other.name != entry.name {
                    let names = format!("`{}` and `{}`", other.name, entry.name);
                    let message = format!("the consumers {names} have the same key");
                    return Err(ConfigError::new(message));
                }
            }
        }
        Ok(Arc::new(Keys { identity, places: places(&config)?, keys, hasher, config }))
    }
}

fn consumer(entry: &ConsumerEntry, identity: &Arc<str>) -> Consumer {
    Consumer {
        name: Arc::clone(&entry.name),
        known: true,
        identity: Arc::clone(identity),
        roles: entry.roles.clone(),
        plan: entry.plan.clone(),
        tags: entry.tags.clone(),
        ..Consumer::default()
    }
}

/// The hashes of a consumer's keys. No message repeats a key.
fn hashes(entry: &ConsumerEntry, hasher: &KeyHasher) -> Result<Vec<[u8; 32]>, ConfigError> {
    let wrong = |what: &str| ConfigError::new(format!("the consumer `{}` {what}", entry.name));
    if entry.api_keys.len() > MAX_KEYS {
        return Err(wrong(&format!("has more than {MAX_KEYS} keys")));
    }
    let hash = |key: &str| match key.strip_prefix(STORED_KEY) {
        Some(hex) => blake3::Hash::from_hex(hex)
            .map(|hash| *hash.as_bytes())
            .map_err(|_| wrong("has a key's hash that is not whole: 64 digits after `lgk1:`")),
        None if key.is_empty() => Err(wrong("has a key that is empty")),
        None if key.len() > MAX_KEY => Err(wrong("has a key that is too long")),
        None if is_damaged(key) => Err(wrong("has a key that is mistyped or cut")),
        None => Ok(*hasher.hash(key.as_bytes()).as_bytes()),
    };
    entry.api_keys.iter().map(|key| hash(key)).collect()
}

fn places(config: &Config) -> Result<Box<[Place]>, ConfigError> {
    let mut places = Vec::new();
    let none = config.query.is_none() && config.cookie.is_none();
    if let Some(name) = config.header.as_deref().or(none.then_some("X-API-Key")) {
        places.push(Place::Header(fields::name(name).map_err(|error| error.at("header"))?));
    }
    if let Some(name) = &config.cookie {
        if name.parse::<HeaderName>().is_err() {
            return Err(ConfigError::new("this is no cookie's name").at("cookie"));
        }
        places.push(Place::Cookie(name.as_str().into()));
    }
    if let Some(name) = &config.query {
        let plain = name.to_ascii_lowercase().replace('-', "_");
        let hidden = ["key", "apikey", "token"].contains(&&*plain)
            || ["_key", "_apikey", "_token"].iter().any(|end| plain.ends_with(end));
        if !hidden {
            let message = "name it so that the log hides its value: `api_key`, or a name that ends \
                           in `_key` or `_token`";
            return Err(ConfigError::new(message).at("query"));
        }
        places.push(Place::Query(name.as_str().into()));
    }
    Ok(places.into())
}

struct Keys {
    identity: Arc<str>,
    places: Box<[Place]>,
    keys: HashMap<[u8; 32], Arc<Consumer>>,
    hasher: KeyHasher,
    config: Config,
}

impl Keys {
    fn find(&self, exchange: &Exchange) -> Proof {
        let mut found = None;
        for place in &self.places {
            match place.find(exchange) {
                Had::Nothing => {}
                Had::Several => return invalid(&AMBIGUOUS, "two of one name"),
                Had::One(_) if found.is_some() => return invalid(&AMBIGUOUS, "in two places"),
                Had::One(key) => found = Some(key),
            }
        }
        let Some(key) = found else { return Proof::Absent };
        if key.len() > MAX_KEY {
            return invalid(&UNKNOWN, "it is too long");
        }
        let hash = self.hasher.hash(&key);
        // Found by the hash of a secret with a secret: the time that takes tells nothing of it.
        match self.keys.get_key_value(hash.as_bytes()) {
            Some((own, consumer)) if bool::from(own.ct_eq(hash.as_bytes())) => {
                Proof::Consumer(Arc::clone(consumer))
            }
            _ => match str::from_utf8(&key) {
                Ok(key) if is_damaged(key) => invalid(&UNKNOWN, "it is mistyped or cut"),
                _ => invalid(&UNKNOWN, ""),
            },
        }
    }
}

fn invalid(reason: &'static Reason, detail: &'static str) -> Proof {
    Proof::Invalid(Rejection { reason, detail: detail.into() })
}

impl Identity for Keys {
    fn identify<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        let proof = self.find(exchange);
        if !self.config.forward && matches!(proof, Proof::Consumer(_)) {
            for place in &self.places {
                place.strip(exchange);
            }
        }
        Step::Now(Ok(proof))
    }

    fn waits(&self) -> bool {
        false
    }

    /// No registered scheme asks for a key; this one says where it belongs.
    fn challenge(&self, why: Challenge<'_>) -> Option<HeaderValue> {
        let mut text = format!("ApiKey realm=\"{}\"", self.identity.replace(['"', '\\'], ""));
        for place in &self.places {
            match place {
                Place::Header(name) => text.push_str(&format!(", header=\"{name}\"")),
                Place::Cookie(name) => text.push_str(&format!(", cookie=\"{name}\"")),
                Place::Query(name) => text.push_str(&format!(", query=\"{name}\"")),
            }
        }
        if matches!(why, Challenge::Invalid(_)) {
            text.push_str(", error=\"invalid_token\"");
        }
        HeaderValue::try_from(text).ok()
    }

    fn describe(&self) -> String {
        let places: Vec<String> = self
            .places
            .iter()
            .map(|place| match place {
                Place::Header(name) => format!("header {name}"),
                Place::Cookie(name) => format!("cookie {name}"),
                Place::Query(name) => format!("query {name}"),
            })
            .collect();
        format!("API key in {}, {} known", places.join(" or "), self.keys.len())
    }
}
