//! A request's signature as its two fields say it (RFC 9421 §4), what it claims, and whether that
//! is enough.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use lockgate_core::{ConfigError, Rejection};

use super::settings::Config;
use super::structured::{self, Bare, Item, Member, Parameters};
use super::{MALFORMED, TIME, UNCOVERED, base, no};

const INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// Why a signature does not hold.
#[derive(Debug)]
pub(super) struct No(pub(super) Rejection);

/// A signature that was found.
pub(super) struct Found {
    pub(super) items: Vec<Item>,
    pub(super) parameters: Parameters,
    pub(super) signature: Vec<u8>,
}

/// What a signature says of itself.
pub(super) struct Claims {
    pub(super) key: String,
    pub(super) algorithm: Option<String>,
    pub(super) nonce: Option<String>,
    created: i64,
    expires: Option<i64>,
    tag: Option<String>,
}

/// What is asked of a signature.
pub(super) struct Rules {
    required: Option<Box<[Box<str>]>>,
    digest: bool,
    nonce: bool,
    label: Option<String>,
    tag: Option<String>,
    pub(super) max_age: Duration,
    leeway: i64,
}

/// The signature of a request; `None` when it bears nothing of one.
pub(super) fn find(headers: &HeaderMap, rules: &Rules) -> Result<Option<Found>, No> {
    let wrong = |why: &'static str| no(&MALFORMED, why);
    let input = base::combined(headers, &INPUT).map_err(wrong)?;
    let signature = base::combined(headers, &SIGNATURE).map_err(wrong)?;
    let (input, signature) = match (input, signature) {
        (None, None) => return Ok(None),
        (Some(input), Some(signature)) => (input, signature),
        _ => return Err(wrong("one of `Signature-Input` and `Signature` is missing")),
    };
    let inputs = structured::dictionary(&input).map_err(wrong)?;
    let signatures = structured::dictionary(&signature).map_err(wrong)?;
    let label = match (&rules.label, inputs.as_slice()) {
        (Some(label), _) => label.clone(),
        (None, [(only, _)]) => only.clone(),
        (None, _) => return Err(wrong("there is not one signature alone")),
    };
    if rules.label.is_none() && signatures.len() != 1 {
        return Err(wrong("there is not one signature alone"));
    }
    let of = |all: Vec<(String, Member)>| all.into_iter().find(|(key, _)| *key == label);
    match (of(inputs), of(signatures)) {
        (
            Some((_, Member::Inner(items, parameters))),
            Some((_, Member::Item((Bare::Bytes(signature), own)))),
        ) if own.is_empty() => Ok(Some(Found { items, parameters, signature })),
        (None, None) => Ok(None),
        _ => Err(wrong("a signature and its input do not belong together")),
    }
}

impl Found {
    /// Whether the signature covers a component, as it is and without parameters.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.items
            .iter()
            .any(|(bare, own)| own.is_empty() && matches!(bare, Bare::Text(text) if text == name))
    }
}

impl Claims {
    /// Reads a signature's parameters (RFC 9421 §2.3). What is not known could change what the
    /// signature means.
    pub(super) fn read(parameters: &Parameters) -> Result<Self, No> {
        let wrong = |why: &'static str| no(&MALFORMED, why);
        let (mut key, mut algorithm, mut nonce, mut tag) = (None, None, None, None);
        let (mut created, mut expires) = (None, None);
        for (name, value) in parameters {
            match (name.as_str(), value) {
                ("keyid", Bare::Text(text)) => key = Some(text.clone()),
                ("alg", Bare::Text(text)) => algorithm = Some(text.clone()),
                ("nonce", Bare::Text(text)) => nonce = Some(text.clone()),
                ("tag", Bare::Text(text)) => tag = Some(text.clone()),
                ("created", Bare::Integer(at)) => created = Some(*at),
                ("expires", Bare::Integer(at)) => expires = Some(*at),
                _ => return Err(wrong("a parameter is unknown, or of the wrong kind")),
            }
        }
        Ok(Self {
            key: key.ok_or_else(|| wrong("it has no `keyid`"))?,
            created: created.ok_or_else(|| wrong("it has no `created`"))?,
            algorithm,
            nonce: nonce.filter(|nonce| !nonce.is_empty()),
            expires,
            tag,
        })
    }
}

impl Rules {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let required: Option<Box<[Box<str>]>> = config
            .required
            .as_ref()
            .map(|names| names.iter().map(|name| name.to_ascii_lowercase().into()).collect());
        if config.max_age.0.is_zero() {
            return Err(ConfigError::new("every signature would be too old").at("max_age"));
        }
        Ok(Self {
            required,
            digest: config.digest,
            nonce: config.nonce,
            label: config.label.clone(),
            tag: config.tag.clone(),
            max_age: config.max_age.0,
            leeway: seconds(config.leeway.0),
        })
    }

    /// Whether what a signature says of itself is enough, and of this time.
    pub(super) fn check(&self, claims: &Claims, now: i64) -> Result<(), No> {
        if self.nonce && claims.nonce.is_none() {
            return Err(no(&MALFORMED, "it has no `nonce`"));
        }
        if self.tag.is_some() && self.tag != claims.tag {
            return Err(no(&MALFORMED, "it has not the `tag` of the identity"));
        }
        if claims.created > now.saturating_add(self.leeway) {
            return Err(no(&TIME, "its `created` lies ahead"));
        }
        if now > self.over(claims) {
            return Err(no(&TIME, "it is too old, or has expired"));
        }
        Ok(())
    }

    /// Until when a signature can be taken.
    pub(super) fn over(&self, claims: &Claims) -> i64 {
        let oldest = claims.created.saturating_add(seconds(self.max_age));
        let over = claims.expires.map_or(oldest, |expires| expires.min(oldest));
        over.saturating_add(self.leeway)
    }

    /// Whether a signature covers what it must.
    pub(super) fn covers(&self, found: &Found, query: bool, body: bool) -> Result<(), No> {
        let lacks = |name: &str| no(&UNCOVERED, format!("it does not cover `{name}`"));
        let one_of = |names: &[&str]| names.iter().any(|name| found.covers(name));
        if self.digest && body && !found.covers("content-digest") {
            return Err(lacks("content-digest"));
        }
        if let Some(required) = &self.required {
            let missing = required.iter().find(|name| !found.covers(name));
            return missing.map_or(Ok(()), |name| Err(lacks(name)));
        }
        let usual: [(&str, bool, &[&str]); 4] = [
            ("@method", true, &[]),
            ("@authority", true, &["@target-uri"]),
            ("@path", true, &["@target-uri", "@request-target"]),
            ("@query", query, &["@target-uri", "@request-target"]),
        ];
        for (name, is_due, others) in usual {
            if is_due && !found.covers(name) && !one_of(others) {
                return Err(lacks(name));
            }
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
