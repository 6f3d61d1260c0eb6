//! Whom a token speaks of: its claims as a consumer.

use std::sync::Arc;

use lockgate_core::{Consumer, Consumers, Rejection};
use serde_json::{Map, Value};

use super::reasons::{CLAIM_MISSING, rejected};
use crate::words::words;

/// Which claims say what.
pub(super) struct Naming {
    pub(super) identity: Arc<str>,
    pub(super) name: Box<str>,
    pub(super) roles: Box<[Box<str>]>,
    pub(super) scopes: Box<[Box<str>]>,
    pub(super) plan: Option<Box<str>>,
    /// The configured plans: a claim of another name gives none.
    pub(super) plans: Box<[Arc<str>]>,
    pub(super) consumers: Arc<Consumers>,
}

impl Naming {
    /// The consumer of verified claims.
    pub(super) fn consumer(&self, claims: Map<String, Value>) -> Result<Consumer, Rejection> {
        let mut consumer =
            Consumer { identity: Arc::clone(&self.identity), claims, ..Consumer::default() };
        let name = consumer.claim(&self.name).filter(|name| !name.is_empty());
        let Some(name) = name.map(|name| Arc::from(&*name)) else {
            let detail = format!("it has no text in `{}` to name its consumer", self.name);
            return Err(rejected(&CLAIM_MISSING, detail));
        };
        consumer.name = name;
        // Of one key may be several, where any issuer is taken.
        let issuer = consumer.claims.get("iss").and_then(Value::as_str);
        consumer.issuer = issuer.unwrap_or_default().into();
        consumer.roles = words(self.roles.iter().filter_map(|name| consumer.claim_value(name)));
        consumer.scopes =
            words(self.scopes.iter().find_map(|name| consumer.claim_value(name)).into_iter());
        consumer.plan = self.plan.as_ref().and_then(|name| {
            let plan = consumer.claim(name)?;
            self.plans.iter().find(|known| ***known == *plan).cloned()
        });
        self.consumers.complete(&mut consumer);
        Ok(consumer)
    }
}
