//! Whom the auth service vouches for: headers of its answer as a consumer, and as what the target
//! is told. Refuses to copy what is the gateway's own to state.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use lockgate_core::{Build, ConfigError, Consumer, Consumers};
use serde_json::Map;

use super::settings::Config;
use crate::fields;

/// Names that the gateway writes after all policies, and what they begin with.
const OWN: [&str; 5] = ["forwarded", "via", "x-authenticated", "x-real-ip", "x-request-id"];
const OWN_FAMILIES: [&str; 3] = ["lockgate-", "x-client-cert-", "x-forwarded-"];

/// A consumer, and the headers that go to the target with them.
pub(super) struct Vouched {
    pub(super) consumer: Arc<Consumer>,
    pub(super) copied: Vec<(HeaderName, HeaderValue)>,
}

/// Which headers of an answer say what.
pub(super) struct Reading {
    pub(super) copy: Box<[HeaderName]>,
    identity: Arc<str>,
    name: Option<HeaderName>,
    roles: Option<HeaderName>,
    plan: Option<HeaderName>,
    /// The configured plans: another name gives none.
    plans: Box<[Arc<str>]>,
    consumers: Arc<Consumers>,
}

impl Reading {
    pub(super) fn new(config: &Config, build: &Build<'_>) -> Result<Self, ConfigError> {
        let mut copy = Vec::with_capacity(config.copy.0.len());
        for (place, text) in config.copy.0.iter().enumerate() {
            let at = |error: ConfigError| error.at(place.to_string()).at("copy");
            let name = fields::name(text).map_err(at)?;
            let folded = name.as_str().replace('_', "-");
            let own = name == HOST
                || OWN.contains(&&*folded)
                || OWN_FAMILIES.iter().any(|begin| folded.starts_with(begin));
            if own {
                let message = format!("`{name}` is the gateway's own to state");
                return Err(at(ConfigError::new(message)));
            }
            copy.push(name);
        }
        let header = |key: &str, text: &Option<String>| {
            text.as_deref().map(fields::name).transpose().map_err(|error| error.at(key))
        };
        let name = Some(config.name.clone()).filter(|name| !name.is_empty());
        Ok(Self {
            copy: copy.into(),
            identity: (*build.name).into(),
            name: header("name", &name)?,
            roles: header("roles", &config.roles)?,
            plan: header("plan", &config.plan)?,
            plans: build.provide.plans().into_iter().map(Into::into).collect(),
            consumers: Arc::clone(build.provide.consumers()),
        })
    }

    /// Whether all callers go by the identity's name.
    pub(super) fn names_nobody(&self) -> bool {
        self.name.is_none()
    }

    /// Reads the headers of an answer that vouches; `None` when they do not say for whom.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Arc<Vouched>> {
        let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
        let name = match &self.name {
            None => &*self.identity,
            Some(name) => {
                // Of two names neither is sure.
                let one = headers.get_all(name).iter().count() == 1;
                text(name).filter(|text| one && !text.is_empty())?
            }
        };
        let roles = self.roles.iter().flat_map(|name| headers.get_all(name));
        let roles = roles.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        let plan = self.plan.as_ref().and_then(text);
        let mut copied = Vec::new();
        let mut claims = Map::new();
        for name in &self.copy {
            for line in headers.get_all(name) {
                copied.push((name.clone(), line.clone()));
            }
            if let Some(text) = text(name) {
                claims.insert(name.as_str().to_owned(), text.into());
            }
        }
        let mut consumer = Consumer {
            name: name.into(),
            identity: Arc::clone(&self.identity),
            roles: roles.map(str::trim).filter(|role| !role.is_empty()).map(Into::into).collect(),
            plan: plan.and_then(|plan| self.plans.iter().find(|known| ***known == *plan).cloned()),
            claims,
            ..Consumer::default()
        };
        self.consumers.complete(&mut consumer);
        Some(Arc::new(Vouched { consumer: Arc::new(consumer), copied }))
    }
}
