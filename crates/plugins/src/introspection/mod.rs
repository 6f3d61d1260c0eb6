//! `introspection`: asks the authorization server what a token stands for (RFC 7662). Refuses what
//! the server does not vouch for now, and every token when it cannot be asked.

mod ask;
mod settings;
mod vouched;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use lockgate_core::{
    Build, Challenge, ConfigError, Consumer, Exchange, Fault, Identity, IdentityPlugin, Kind,
    Proof, Reason, Rejection, Step, decode,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

use crate::answers::Answers;
use crate::carry::{self, Carry, Unreadable};
use ask::Ask;
use settings::Config;
use vouched::Vouched;

static INACTIVE: Reason = Reason {
    code: "token_inactive",
    kind: Kind::Unauthenticated,
    help: "The authorization server does not vouch for the token: it has expired, was revoked, or \
           was never one of its own.",
};
static UNREADABLE: Reason = Reason {
    code: "token_unreadable",
    kind: Kind::Unauthenticated,
    help: "The request bears two tokens in one place, one that is not plain text, or one of more \
           than 8KiB. The authorization server was not asked.",
};
static ELSEWHERE: Reason = Reason {
    code: "token_elsewhere",
    kind: Kind::Unauthenticated,
    help: "The token is active, but not for this identity: its `aud` has none of the `audience`, \
           or its `iss` is not the `issuer`.",
};
static UNNAMED: Reason = Reason {
    code: "token_unnamed",
    kind: Kind::Unauthenticated,
    help: "The token is active, but the server's answer lacks the `name_claim` that names the \
           consumer. A token of a client without a user often has a `client_id` and no `sub`.",
};
static UNAVAILABLE: Reason = Reason {
    code: "introspection_unavailable",
    kind: Kind::Unavailable,
    help: "The authorization server could not be asked: no connection, no answer in time, no valid \
           answer, or it refuses the gateway's own `client_id` and `client_secret`. Nobody is let \
           in unverified. The log's detail says which.",
};

/// Longest token that is asked about.
const MAX_TOKEN: usize = 8 * 1024;

/// The entry in the list of plugins.
pub(crate) struct Introspection;

impl IdentityPlugin for Introspection {
    fn name(&self) -> &'static str {
        "introspection"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&INACTIVE, &UNREADABLE, &ELSEWHERE, &UNNAMED, &UNAVAILABLE];
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
        Ok(Arc::new(Tokens {
            carry: Carry::new(&config.header, &config.cookie, &config.query, config.forward)?,
            ask: Ask::new(&config, build)?,
            answers: Answers::new(config.max_entries as usize),
        }))
    }
}

/// What became of a token.
#[derive(Clone)]
enum Found {
    Consumer(Arc<Consumer>),
    Refused(&'static Reason, Cow<'static, str>),
    /// It cannot be told; why, for the log.
    Unknown(Arc<str>),
}

struct Tokens {
    carry: Carry,
    ask: Ask,
    answers: Answers<Found>,
}

impl Tokens {
    fn conclude(&self, found: Found, exchange: &mut Exchange) -> Result<Proof, Fault> {
        match found {
            Found::Consumer(consumer) => {
                self.carry.strip(exchange);
                Ok(Proof::Consumer(consumer))
            }
            Found::Refused(reason, detail) => Ok(Proof::Invalid(Rejection { reason, detail })),
            Found::Unknown(why) => {
                Err(Fault::gateway(&UNAVAILABLE).detail(why.as_ref().to_owned()))
            }
        }
    }

    /// What the server says of a token, and for how long that may be kept.
    async fn look(&self, token: &str) -> (Found, Duration) {
        match self.ask.send(token).await {
            Ok(Vouched::Active(consumer, keep)) => (Found::Consumer(consumer), keep),
            Ok(Vouched::Not(reason, detail)) => {
                (Found::Refused(reason, detail.into()), self.ask.keep_refused())
            }
            Err(why) => (Found::Unknown(why.into()), Duration::ZERO),
        }
    }
}

impl Identity for Tokens {
    fn identify<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        let refused = |detail: &'static str| {
            let detail = detail.into();
            Step::Now(Ok(Proof::Invalid(Rejection { reason: &UNREADABLE, detail })))
        };
        let found = self.carry.find(exchange).and_then(|token| token.map(carry::read).transpose());
        let token = match found {
            Ok(Some(token)) => token,
            Ok(None) => return Step::Now(Ok(Proof::Absent)),
            Err(Unreadable::Twice) => return refused("there are two in one place"),
            Err(Unreadable::NoText) => return refused("it is no plain text"),
        };
        if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("it is too long, or no plain text");
        }
        // A token is known by its hash alone: what is kept cannot be used anywhere.
        let question = *blake3::hash(token.as_bytes()).as_bytes();
        if let Some(found) = self.answers.at_hand(&question) {
            return Step::Now(self.conclude(found, exchange));
        }
        let token = token.to_owned();
        Step::Later(Box::pin(async move {
            let found = self.answers.get(question, || self.look(&token)).await;
            self.conclude(found, exchange)
        }))
    }

    fn challenge(&self, why: Challenge<'_>) -> Option<HeaderValue> {
        let text = match why {
            Challenge::Missing => "Bearer".to_owned(),
            Challenge::Invalid(_) => "Bearer error=\"invalid_token\"".to_owned(),
            Challenge::Scope(scopes) => {
                format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\"")
            }
        };
        HeaderValue::try_from(text).ok()
    }

    fn describe(&self) -> String {
        self.ask.describe()
    }
}
