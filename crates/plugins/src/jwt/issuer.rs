//! One issuer whose tokens are taken, and where its keys are: in the configuration, in a file, or
//! fetched.

use std::path::Path;
use std::sync::Arc;

use lockgate_core::{Build, ConfigError, Metric, MetricKind};

use super::algorithm::Allowed;
use super::fetch::{Fetch, Origin, check_url};
use super::key::Key;
use super::keys::{self, KeySet};
use super::remote::{Counts, Remote};
use super::settings::Source;

/// Rounds of fetching.
pub(super) static REFRESHES: Metric = Metric {
    name: "lockgate_jwks_refreshes_total",
    kind: MetricKind::Counter,
    labels: &["identity", "issuer", "result"],
    help: "Times that an issuer's keys were asked for, by what came: changed, same, failed",
};

/// Keys there are.
pub(super) static KEYS: Metric = Metric {
    name: "lockgate_jwks_keys",
    kind: MetricKind::Gauge,
    labels: &["identity", "issuer"],
    help: "Usable keys of an issuer; 0 before the first are there",
};

/// An issuer.
pub(super) struct Issuer {
    /// What `iss` must be; `None` takes any.
    pub(super) name: Option<Box<str>>,
    pub(super) audience: Box<[Box<str>]>,
    pub(super) keys: Keys,
    /// For `explain`: where the keys are.
    pub(super) story: String,
}

/// Where keys are.
pub(super) enum Keys {
    Fixed(Arc<KeySet>),
    Fetched { remote: Arc<Remote>, _count: Arc<dyn lockgate_core::Figure> },
}

impl Issuer {
    /// Makes one. The error's place is below the source.
    pub(super) fn build(source: Source, build: &mut Build<'_>) -> Result<Self, ConfigError> {
        let allowed = Allowed::new(source.algorithms.as_deref());
        if source.algorithms.as_ref().is_some_and(Vec::is_empty) {
            let message = "name at least one algorithm, or leave it out to take all";
            return Err(ConfigError::new(message).at("algorithms"));
        }
        if source.issuer.as_deref() == Some("") {
            return Err(ConfigError::new("an issuer has a name").at("issuer"));
        }
        one_source(&source)?;
        let at = |name: &'static str| move |why: String| ConfigError::new(why).at(name);
        let (keys, story) = if let Some(secret) = &source.secret {
            let key = shared_secret(secret, &allowed).map_err(at("secret"))?;
            (Keys::fixed(vec![key]), "a shared secret".to_owned())
        } else if let Some(pem) = &source.public_key {
            let keys = public_key(pem, &allowed, build).map_err(at("public_key"))?;
            (Keys::fixed(keys), "a public key".to_owned())
        } else if let Some(path) = &source.jwks_file {
            let keys = jwks_file(path, &allowed, build).map_err(at("jwks_file"))?;
            (Keys::fixed(keys), format!("keys of the file {path}"))
        } else {
            fetched(&source, &allowed, build)?
        };
        let audience = source.audience.unwrap_or_default().boxed();
        Ok(Self { name: source.issuer.map(Into::into), audience, keys, story })
    }
}

impl Keys {
    fn fixed(keys: Vec<Key>) -> Self {
        Self::Fixed(Arc::new(KeySet { generation: 0, keys }))
    }

    /// Changes with the keys.
    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Fixed(_) => 0,
            Self::Fetched { remote, .. } => remote.generation(),
        }
    }
}

fn one_source(source: &Source) -> Result<(), ConfigError> {
    let given = [
        ("secret", source.secret.is_some()),
        ("public_key", source.public_key.is_some()),
        ("jwks_file", source.jwks_file.is_some()),
        ("jwks_url", source.jwks_url.is_some()),
    ];
    let mut given = given.into_iter().filter_map(|(name, there)| there.then_some(name));
    match (given.next(), given.next()) {
        (Some(first), Some(second)) => {
            let message = format!("keys come from one place: `{first}` or `{second}`");
            Err(ConfigError::new(message).at(second))
        }
        (None, _) if source.issuer.is_none() => Err(ConfigError::new(
            "say where the keys are: `issuer`, `secret`, `public_key`, `jwks_file` or `jwks_url`",
        )),
        _ => Ok(()),
    }
}

fn shared_secret(secret: &str, allowed: &Allowed) -> Result<Key, String> {
    // A public key is known to everybody: as a secret it lets everybody sign (RFC 8725 §2.1).
    if secret.contains("-----BEGIN ") {
        return Err("this is PEM, and no shared secret: use `public_key`".to_owned());
    }
    Key::secret(secret.as_bytes(), allowed)
}

fn public_key(text: &str, allowed: &Allowed, build: &Build<'_>) -> Result<Vec<Key>, String> {
    if text.contains("-----BEGIN ") {
        return Key::pem(text.as_bytes(), allowed);
    }
    let read = build.provide.read(Path::new(text))?;
    Key::pem(&read, allowed).map_err(|why| format!("`{text}`: {why}"))
}

fn jwks_file(path: &str, allowed: &Allowed, build: &Build<'_>) -> Result<Vec<Key>, String> {
    let read = build.provide.read(Path::new(path))?;
    let wrong = |why| format!("`{path}`: {why}");
    let (keys, others) = keys::read(&read, allowed, true).map_err(wrong)?;
    if keys.is_empty() {
        let why = if others.is_empty() { "it is empty".to_owned() } else { others.join("; ") };
        return Err(wrong(format!("no key in it can be used: {why}")));
    }
    Ok(keys)
}

fn fetched(
    source: &Source,
    allowed: &Allowed,
    build: &mut Build<'_>,
) -> Result<(Keys, String), ConfigError> {
    let (place, url) = match (&source.jwks_url, &source.issuer) {
        (Some(url), _) => ("jwks_url", url.clone()),
        (None, issuer) => ("issuer", issuer.clone().unwrap_or_default()),
    };
    check_url(&url).map_err(|why| {
        let hint = if place == "issuer" { ", as its keys come by discovery" } else { "" };
        ConfigError::new(format!("`{url}` {why}{hint}")).at(place)
    })?;
    if allowed.named().iter().any(|one| one.is_hmac()) {
        let message = "fetched keys are public: HS256, HS384 and HS512 need a `secret`";
        return Err(ConfigError::new(message).at("algorithms"));
    }
    let (origin, story) = match &source.jwks_url {
        Some(_) => (Origin::Keys(url.clone()), format!("keys of {url}")),
        None => (Origin::Issuer(url.clone()), "keys by discovery".to_owned()),
    };
    let labelled = source.issuer.as_deref().unwrap_or(&url);
    let identity = build.name.clone();
    // Made first: what is made while something shared is must not ask for something shared.
    let [changed, same, failed] = ["changed", "same", "failed"]
        .map(|result| build.counter(&REFRESHES, &[&identity, labelled, result]));
    let (provide, outbound) = (build.provide, build.provide.outbound());
    let key = format!("{identity} {origin:?} {allowed:?}");
    let remote = build.shared(&key, || {
        let fetch = Fetch {
            outbound: Arc::clone(&outbound),
            origin: origin.clone(),
            allowed: allowed.clone(),
            found: None,
            last: None,
        };
        let counts = Counts {
            changed: Arc::clone(&changed),
            same: Arc::clone(&same),
            failed: Arc::clone(&failed),
        };
        Arc::new(Remote::new(fetch, counts, |work| provide.spawn(work)))
    });
    let count = remote.count();
    build.expose(&KEYS, &[&identity, labelled], &count);
    Ok((Keys::Fetched { remote, _count: count }, story))
}
