//! `forward`: an auth service of the user's own says who is calling, from the request's head. Only
//! its 2xx vouches; when it cannot be heard nobody is let in.

mod ask;
mod settings;
mod vouched;

use std::sync::Arc;

use http::{HeaderName, Response};
use lockgate_core::{
    Body, Build, ConfigError, Exchange, Fault, Identity, IdentityPlugin, Kind, Proof, Reason,
    Rejection, Step, decode,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

use crate::answers::Answers;
use crate::fields;
use ask::{Ask, Refusal};
use settings::Config;
use vouched::{Reading, Vouched};

static REFUSED: Reason = Reason {
    code: "forward_refused",
    kind: Kind::Unauthenticated,
    help: "The auth service answered that these credentials do not hold (401 or 403).",
};
static UNNAMED: Reason = Reason {
    code: "forward_unnamed",
    kind: Kind::Unauthenticated,
    help: "The auth service let the request pass, but its answer lacks the header `name` that \
           names the consumer, or has more than one.",
};
static UNAVAILABLE: Reason = Reason {
    code: "forward_unavailable",
    kind: Kind::Unavailable,
    help: "The auth service could not be asked: no connection, no answer in time, or a status that \
           is neither 2xx, 401 nor 403. Nobody is let in unverified. The log's detail says which.",
};

/// The entry in the list of plugins.
pub(crate) struct Forward;

impl IdentityPlugin for Forward {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&REFUSED, &UNNAMED, &UNAVAILABLE];
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
        Ok(Arc::new(Asked {
            reading: Reading::new(&config, build)?,
            ask: Ask::new(&config, build)?,
            ask_anyway: config.ask_anyway,
            answers: Answers::new(config.max_entries as usize),
        }))
    }
}

/// What the auth service said.
#[derive(Clone)]
enum Found {
    Consumer(Arc<Vouched>),
    /// It refused; its answer, if clients are to have it.
    Refused(Option<Arc<Refusal>>),
    /// It passed, but does not say whom.
    Unnamed,
    /// It cannot be told; why, for the log.
    Unknown(Arc<str>),
}

struct Asked {
    ask: Ask,
    reading: Reading,
    ask_anyway: bool,
    answers: Answers<Found>,
}

impl Asked {
    fn conclude(&self, found: Found, exchange: &mut Exchange) -> Result<Proof, Fault> {
        let rejected = |reason, detail: &'static str| Rejection { reason, detail: detail.into() };
        Ok(match found {
            Found::Consumer(vouched) => {
                let mut consumer = Arc::clone(&vouched.consumer);
                if self.reading.names_nobody() {
                    // All callers go by one name, and yet each is told what is theirs.
                    Arc::make_mut(&mut consumer).beside = self.ask.credentials(exchange).to_vec();
                }
                let headers = &mut exchange.head.headers;
                for (name, value) in &vouched.copied {
                    headers.append(name, value.clone());
                }
                Proof::Consumer(consumer)
            }
            Found::Refused(None) => Proof::Invalid(rejected(&REFUSED, "the service refuses")),
            Found::Refused(Some(refusal)) => {
                let mut answer = Response::new(Body::from(refusal.body.clone()));
                *answer.status_mut() = refusal.status;
                *answer.headers_mut() = refusal.headers.clone();
                Proof::Answer(rejected(&REFUSED, "the service answers itself"), answer)
            }
            Found::Unnamed => Proof::Invalid(rejected(&UNNAMED, "the answer has no name in it")),
            Found::Unknown(why) => {
                return Err(Fault::gateway(&UNAVAILABLE).detail(why.as_ref().to_owned()));
            }
        })
    }
}

impl Identity for Asked {
    fn identify<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        // `auth` has done so before: for whoever asks an identity without it.
        fields::remove_spellings(&mut exchange.head.headers, self.reading.copy.iter());
        if !self.ask_anyway && !self.ask.has_credentials(exchange) {
            return Step::Now(Ok(Proof::Absent));
        }
        let question = self.ask.question(exchange);
        if let Some(found) = question.and_then(|question| self.answers.at_hand(&question)) {
            return Step::Now(self.conclude(found, exchange));
        }
        let request = match self.ask.request(exchange) {
            Ok(request) => request,
            Err(why) => return Step::Now(Err(Fault::gateway(&UNAVAILABLE).detail(why))),
        };
        Step::Later(Box::pin(async move {
            let found = match question {
                Some(question) => {
                    self.answers.get(question, || self.ask.send(request, &self.reading)).await
                }
                None => self.ask.send(request, &self.reading).await.0,
            };
            self.conclude(found, exchange)
        }))
    }

    fn states(&self) -> &[HeaderName] {
        &self.reading.copy
    }

    fn describe(&self) -> String {
        self.ask.describe()
    }
}
