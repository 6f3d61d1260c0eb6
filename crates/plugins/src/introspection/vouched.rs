//! What the authorization server says of a token (RFC 7662 §2.2), read as a consumer. Refuses an
//! answer that does not say plainly whether the token is active.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{Build, Consumer, Consumers, Reason};
use serde_json::{Map, Value};

use super::settings::Config;
use super::{ELSEWHERE, INACTIVE, UNNAMED};
use crate::clock;
use crate::one_or_more::OneOrMore;
use crate::words::words;

/// What became of a token.
pub(super) enum Vouched {
    /// Whose it is, and how long that may be believed.
    Active(Arc<Consumer>, Duration),
    /// It does not hold, and why; for the log.
    Not(&'static Reason, &'static str),
}

/// Which members of the answer say what.
pub(super) struct Naming {
    identity: Arc<str>,
    audience: Box<[Box<str>]>,
    issuer: Option<String>,
    name: String,
    roles: Box<[Box<str>]>,
    scopes: Box<[Box<str>]>,
    plan: Option<String>,
    /// The configured plans: another name gives none.
    plans: Box<[Arc<str>]>,
    consumers: Arc<Consumers>,
}

impl Naming {
    pub(super) fn new(config: &Config, build: &Build<'_>) -> Self {
        Self {
            identity: (*build.name).into(),
            audience: boxed(&config.audience),
            issuer: config.issuer.clone(),
            name: config.name_claim.clone(),
            roles: boxed(&config.roles_claim),
            scopes: boxed(&config.scope_claim),
            plan: config.plan_claim.clone(),
            plans: build.provide.plans().into_iter().map(Into::into).collect(),
            consumers: Arc::clone(build.provide.consumers()),
        }
    }

    /// Reads an answer; it is believed for `keep`, and not beyond its `exp`.
    ///
    /// # Errors
    /// When it is no answer to the question.
    pub(super) fn read(
        &self,
        claims: Map<String, Value>,
        keep: Duration,
    ) -> Result<Vouched, String> {
        match claims.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Ok(Vouched::Not(&INACTIVE, "the server says so")),
            _ => return Err("the server's answer does not say whether it is `active`".to_owned()),
        }
        let now = clock::now();
        let mut keep = keep;
        for (name, is_over) in [("exp", true), ("nbf", false)] {
            let Some(value) = claims.get(name) else { continue };
            let Some(at) = seconds(value) else {
                return Err(format!("the server's answer has an `{name}` that is no time"));
            };
            if is_over && at <= now {
                return Ok(Vouched::Not(&INACTIVE, "its `exp` is over"));
            }
            if is_over {
                keep = keep.min(Duration::from_secs(u64::try_from(at - now).unwrap_or(0)));
            } else if at > now.saturating_add(LEEWAY) {
                return Ok(Vouched::Not(&INACTIVE, "its `nbf` lies ahead"));
            }
        }
        if !self.audience.is_empty() && !self.is_for_us(claims.get("aud")) {
            return Ok(Vouched::Not(&ELSEWHERE, "it is for another audience"));
        }
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Ok(Vouched::Not(&ELSEWHERE, "it is of another issuer"));
        }
        Ok(match self.consumer(claims) {
            Some(consumer) => Vouched::Active(Arc::new(consumer), keep),
            None => Vouched::Not(&UNNAMED, "the answer lacks the `name_claim`"),
        })
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let ours = |text: &str| self.audience.iter().any(|own| **own == *text);
        match audience {
            Some(Value::String(one)) => ours(one),
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).any(ours),
            _ => false,
        }
    }

    fn consumer(&self, claims: Map<String, Value>) -> Option<Consumer> {
        let mut consumer =
            Consumer { identity: Arc::clone(&self.identity), claims, ..Consumer::default() };
        let name = consumer.claim(&self.name).filter(|name| !name.is_empty())?;
        let name = Arc::from(&*name);
        consumer.name = name;
        // A server may answer for several.
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
        Some(consumer)
    }
}

fn boxed(words: &OneOrMore<String>) -> Box<[Box<str>]> {
    words.0.iter().map(|word| word.as_str().into()).collect()
}

/// How far the server's clock may be ahead, in seconds.
const LEEWAY: i64 = 30;

/// A time in seconds since 1970 (RFC 7519 §2: it may have a fraction).
fn seconds(value: &Value) -> Option<i64> {
    let text = value.as_number()?.to_string();
    let whole = text.split('.').next()?;
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(claims: Value) -> Option<u64> {
        let naming = Naming {
            identity: "idp".into(),
            audience: Box::default(),
            issuer: None,
            name: "sub".to_owned(),
            roles: Box::default(),
            scopes: Box::default(),
            plan: None,
            plans: Box::default(),
            consumers: Arc::default(),
        };
        let Value::Object(claims) = claims else { panic!("claims are a mapping") };
        match naming.read(claims, Duration::from_secs(60)) {
            Ok(Vouched::Active(_, keep)) => Some(keep.as_secs()),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_believed_for_a_while_and_not_beyond_its_exp() {
        let now = clock::now();
        let active = |exp: Value| json!({ "active": true, "sub": "alice", "exp": exp });
        assert_eq!(kept(json!({ "active": true, "sub": "alice" })), Some(60));
        for (left, expected) in [(600, Some(60)), (61, Some(60)), (10, Some(10)), (1, Some(1))] {
            assert_eq!(kept(active(json!(now + left))), expected, "{left}");
        }
        assert_eq!(kept(active(json!(now as f64 + 10.5))), Some(10));
        for over in
            [json!(now), json!(now - 1), json!(0), json!(-5), json!("9999999999"), json!(1e300)]
        {
            assert_eq!(kept(active(over.clone())), None, "{over}");
        }
    }
}
