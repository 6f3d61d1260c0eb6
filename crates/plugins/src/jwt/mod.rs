//! `jwt`: signed tokens (RFC 7519) as an identity. Begin with `bearer.rs`, the way of a token; what
//! is refused and why stands in `reasons.rs`. Why the parsing is our own, and the signatures are
//! the library's: `docs/decisions/0007-own-jwt-parsing.md`.

mod algorithm;
mod bearer;
mod cache;
mod claims;
mod fetch;
mod issuer;
mod key;
mod keys;
mod person;
mod reasons;
mod remote;
mod settings;
mod strict;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use lockgate_core::{
    Build, ConfigError, Identity, IdentityPlugin, Metric, MetricKind, Reason, decode,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

use self::bearer::Bearer;
use self::cache::Cache;
use self::claims::{Equal, Rules};
use self::issuer::{Issuer, KEYS, REFRESHES};
use self::person::Naming;
use self::settings::{Config, Source, Trusted, boxed};
use crate::carry::Carry;

/// Most issuers of one identity.
const MAX_ISSUERS: usize = 64;
/// The largest leeway, in seconds: more would undo `exp`.
const MAX_LEEWAY: u64 = 300;
/// The least and the largest `max_size`.
const SIZES: std::ops::RangeInclusive<u64> = 256..=64 << 10;
/// Most tokens in a worker's cache.
const MAX_CACHE: u32 = 65_536;

const NO_AUDIENCE: &str = "a token that this issuer made for another service is taken here too: \
    say `audience: NAME`, what it puts into the `aud` of those for this one";

static LOOKUPS: Metric = Metric {
    name: "lockgate_token_cache_lookups_total",
    kind: MetricKind::Counter,
    labels: &["identity", "result"],
    help: "Tokens looked for among those verified before: hit, miss",
};

/// The entry in the list of plugins.
pub(crate) struct Jwt;

impl IdentityPlugin for Jwt {
    fn name(&self) -> &'static str {
        "jwt"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        reasons::ALL
    }

    fn metrics(&self) -> &'static [&'static Metric] {
        const METRICS: &[&Metric] = &[&LOOKUPS, &REFRESHES, &KEYS];
        METRICS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    /// An issuer whose keys are fetched serves others too. Its tokens for them are signed just as
    /// well, and only `aud` tells them apart (RFC 8725 §3.9).
    fn doubts(&self, config: &Value) -> Vec<ConfigError> {
        let Ok(config) = decode::<Config>(config) else { return Vec::new() };
        if !config.audience.0.is_empty() || config.claims.keys().any(|claim| names_service(claim)) {
            return Vec::new();
        }
        let doubt = || ConfigError::new(NO_AUDIENCE);
        let mut doubts = Vec::new();
        for (place, Trusted(source)) in config.issuers.iter().enumerate() {
            let has_audience = source.audience.as_ref().is_some_and(|words| !words.0.is_empty());
            let Source { secret, public_key, jwks_file, .. } = source;
            if !has_audience && is_fetched([secret, public_key, jwks_file]) {
                doubts.push(doubt().at(place.to_string()).at("issuers"));
            }
        }
        let Config { secret, public_key, jwks_file, .. } = &config;
        if config.issuers.is_empty() && is_fetched([secret, public_key, jwks_file]) {
            let key = if config.jwks_url.is_some() { "jwks_url" } else { "issuer" };
            doubts.push(doubt().at(key));
        }
        doubts
    }

    fn build(
        &self,
        config: &Value,
        build: &mut Build<'_>,
    ) -> Result<Arc<dyn Identity>, ConfigError> {
        let mut config: Config = decode(config)?;
        let identity: Arc<str> = (*build.name).into();
        let rules = rules(&config)?;
        let carry = Carry::new(&config.header, &config.cookie, &config.query, config.forward)?;
        let naming = naming(&config, Arc::clone(&identity), build)?;
        if !SIZES.contains(&config.max_size.0) {
            return Err(ConfigError::new("`max_size` is from 256B to 64KiB").at("max_size"));
        }
        if config.cache > MAX_CACHE {
            return Err(ConfigError::new(format!("at most {MAX_CACHE} tokens")).at("cache"));
        }
        let cache = Cache::new(usize::try_from(config.cache).unwrap_or(0));
        let max_size = usize::try_from(config.max_size.0).unwrap_or(0);
        let issuers = issuers(&mut config, build)?;
        let [hits, misses] =
            ["hit", "miss"].map(|result| build.counter(&LOOKUPS, &[&identity, result]));
        Ok(Arc::new(Bearer { issuers, carry, max_size, rules, naming, cache, hits, misses }))
    }
}

/// Whether a claim says whom a token was made for, by the standard or a provider's habit.
fn names_service(claim: &str) -> bool {
    matches!(claim, "aud" | "azp" | "client_id" | "cid" | "appid")
}

/// Whether keys come from elsewhere, as they do not from these sources.
fn is_fetched(fixed: [&Option<String>; 3]) -> bool {
    fixed.iter().all(|source| source.is_none())
}

fn issuers(config: &mut Config, build: &mut Build<'_>) -> Result<Box<[Issuer]>, ConfigError> {
    let top = Source {
        issuer: config.issuer.take(),
        secret: config.secret.take(),
        public_key: config.public_key.take(),
        jwks_file: config.jwks_file.take(),
        jwks_url: config.jwks_url.take(),
        ca: config.ca.take(),
        audience: Some(config.audience.clone()),
        algorithms: config.algorithms.clone(),
    };
    if config.issuers.is_empty() {
        return Ok([Issuer::build(top, build)?].into());
    }
    if [&top.issuer, &top.secret, &top.public_key, &top.jwks_file, &top.jwks_url, &top.ca]
        .iter()
        .any(|one| one.is_some())
    {
        let message = "with `issuers`, each of them says its own `issuer` and where its keys are";
        return Err(ConfigError::new(message).at("issuers"));
    }
    if config.issuers.len() > MAX_ISSUERS {
        return Err(ConfigError::new(format!("at most {MAX_ISSUERS} issuers")).at("issuers"));
    }
    let mut issuers: Vec<Issuer> = Vec::new();
    for (place, Trusted(mut source)) in config.issuers.drain(..).enumerate() {
        let at = |error: ConfigError| error.at(place.to_string()).at("issuers");
        let Some(name) = source.issuer.clone() else {
            let message = "one of several issuers is known by its `issuer`";
            return Err(at(ConfigError::new(message)));
        };
        if issuers.iter().any(|other| other.name.as_deref() == Some(&name)) {
            return Err(at(ConfigError::new(format!("`{name}` stands twice"))));
        }
        source.audience = source.audience.or(top.audience.clone());
        source.algorithms = source.algorithms.or(top.algorithms.clone());
        issuers.push(Issuer::build(source, build).map_err(at)?);
    }
    Ok(issuers.into())
}

fn rules(config: &Config) -> Result<Rules, ConfigError> {
    if config.leeway.0.as_secs() > MAX_LEEWAY {
        return Err(ConfigError::new("the leeway is at most 5m").at("leeway"));
    }
    let seconds = |time: lockgate_core::Time| i64::try_from(time.0.as_secs()).unwrap_or(i64::MAX);
    let mut equal = Vec::new();
    for (name, value) in &config.claims {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        if values.is_empty() || values.iter().any(|value| value.is_object() || value.is_null()) {
            let error = ConfigError::new("a claim's value, or a list of its values");
            return Err(error.at(name).at("claims"));
        }
        equal.push(Equal { name: name.as_str().into(), values: values.into() });
    }
    let exp = (!config.endless).then(|| "exp".into());
    let required = exp.into_iter().chain(boxed(&config.required)).collect();
    Ok(Rules {
        leeway: seconds(config.leeway),
        max_age: config.max_age.map(seconds),
        required,
        equal: equal.into(),
        typ: config.typ.as_deref().map(|typ| claims::media_type(typ).into()),
    })
}

fn naming(config: &Config, identity: Arc<str>, build: &Build<'_>) -> Result<Naming, ConfigError> {
    if config.name_claim.is_empty() {
        return Err(ConfigError::new("a claim has a name").at("name_claim"));
    }
    Ok(Naming {
        identity,
        name: config.name_claim.as_str().into(),
        roles: boxed(&config.roles_claim),
        scopes: boxed(&config.scope_claim),
        plan: config.plan_claim.as_deref().map(Into::into),
        plans: build.provide.plans().into_iter().map(Into::into).collect(),
        consumers: Arc::clone(build.provide.consumers()),
    })
}
