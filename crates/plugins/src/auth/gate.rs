//! The policy itself: asks the identities in their order, then what the consumer may, and turns
//! what it hears into a verdict.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::header::WWW_AUTHENTICATE;
use http::{HeaderName, Response};
use lockgate_core::{
    Body, Build, Challenge, ConfigError, Consumer, Exchange, Expression, Fault, Identity, Policy,
    Proof, Reason, Rejection, Scope, Seen, Step, Verdict, reasons,
};
use tokio::time::Instant;

use super::config::{Invalid, Settings, Words};
use super::stated::Stated;
use super::{FORBIDDEN, INVALID, INVALID_401, MISSING};
use crate::fields;

/// Most identities that one route asks.
const MAX_IDENTITIES: usize = 16;
/// What stands in a 401 when no identity has a scheme of HTTP: one must (RFC 9110 §15.5.2).
const NO_SCHEME: http::HeaderValue = http::HeaderValue::from_static("Lockgate");

/// One route's `auth`.
pub(super) struct Gate {
    /// Each must vouch; the first names the consumer.
    groups: Box<[Group]>,
    optional: bool,
    roles: Box<[Box<str>]>,
    scopes: Box<[Box<str>]>,
    when: Option<Expression>,
    invalid: &'static Reason,
    stated: Stated,
    /// Whether an identity may have to wait for something.
    waits: bool,
}

/// Identities of which one must vouch.
struct Group(Box<[Named]>);

struct Named {
    name: Box<str>,
    identity: Arc<dyn Identity>,
}

/// What a group found.
enum Found<'g> {
    Absent,
    Consumer(&'g Named, Arc<Consumer>),
    Invalid(&'g Named, Rejection),
    Answer(Response<Body>),
}

impl Gate {
    pub(super) fn new(settings: &Settings, build: &Build<'_>) -> Result<Self, ConfigError> {
        let any_of = named(&settings.any_of, build).map_err(|error| error.at("any_of"))?;
        let all_of = named(&settings.all_of, build).map_err(|error| error.at("all_of"))?;
        let mut groups = Vec::new();
        if !any_of.is_empty() {
            groups.push(Group(any_of.into()));
        }
        groups.extend(all_of.into_iter().map(|one| Group(Box::new([one]))));
        let count = groups.iter().map(|group| group.0.len()).sum::<usize>();
        if count == 0 {
            let message = "name the identities that may vouch: `any_of: [NAME]` or `all_of`";
            return Err(ConfigError::new(message));
        }
        if count > MAX_IDENTITIES {
            let message = format!("a route asks at most {MAX_IDENTITIES} identities");
            return Err(ConfigError::new(message));
        }
        for (key, words) in [("roles", &settings.roles), ("scopes", &settings.scopes)] {
            if settings.optional && !words.0.is_empty() {
                let message = "with `optional`, who sends no credentials passes anyway: say with \
                               `when` what nobody may do";
                return Err(ConfigError::new(message).at(key));
            }
            if let Some(place) = words.0.iter().position(|word| !is_word(word)) {
                let message = "a role or scope is a word without spaces, quotes or backslashes";
                return Err(ConfigError::new(message).at(place.to_string()).at(key));
            }
        }
        let when = settings.when.as_deref().map(|text| Expression::new(text, Scope::Route));
        let when = when.transpose().map_err(|error| ConfigError::new(error).at("when"))?;
        let stated = Stated::new(&settings.forward.headers)
            .map_err(|error| error.at("headers").at("forward"))?;
        let words = |words: &Words| words.0.iter().map(|word| word.as_str().into()).collect();
        Ok(Self {
            waits: groups.iter().any(Group::waits),
            groups: groups.into(),
            optional: settings.optional,
            roles: words(&settings.roles),
            scopes: words(&settings.scopes),
            when,
            invalid: match settings.invalid {
                Invalid::Forbidden => &INVALID,
                Invalid::Unauthenticated => &INVALID_401,
            },
            stated,
        })
    }

    async fn decide(&self, exchange: &mut Exchange) -> Result<Verdict, Fault> {
        self.stated.strip(&mut exchange.head.headers);
        for named in self.groups.iter().flat_map(|group| &group.0) {
            fields::remove_spellings(&mut exchange.head.headers, named.identity.states().iter());
        }
        let mut vouched: Option<(&Named, Arc<Consumer>)> = None;
        let mut absent = Vec::new();
        for group in &self.groups {
            match group.ask(exchange).await? {
                Found::Absent => absent.push(group),
                Found::Invalid(by, rejection) => return Err(self.refuse_invalid(by, &rejection)),
                Found::Answer(answer) => return Ok(Verdict::Answer(answer)),
                Found::Consumer(by, consumer) => match &mut vouched {
                    Some((_, first)) => add_claims(Arc::make_mut(first), &consumer),
                    None => vouched = Some((by, consumer)),
                },
            }
        }
        let Some((by, consumer)) = vouched.filter(|_| absent.is_empty()) else {
            let nobody = self.optional && absent.len() == self.groups.len();
            return match nobody && self.holds(exchange, None).is_ok() {
                true => Ok(Verdict::Pass),
                // Credentials might help.
                false => Err(refuse_missing(&absent)),
            };
        };
        // Also when it is refused: the log tells who it was.
        let consumer = &*exchange.consumer.insert(consumer);
        self.may(by, consumer)?;
        if self.when.is_some() {
            let consumer = Arc::clone(consumer);
            if let Err(why) = self.holds(exchange, Some(&consumer)) {
                let detail = format!("`{}` of {}: {why}", consumer.name, by.name);
                return Err(Fault::client(&FORBIDDEN).detail(detail));
            }
        }
        let Exchange { head, consumer, .. } = exchange;
        if let Some(consumer) = consumer {
            self.stated.state(&mut head.headers, consumer);
        }
        Ok(Verdict::Pass)
    }

    /// Whether the consumer has what the route asks for.
    fn may(&self, by: &Named, consumer: &Consumer) -> Result<(), Fault> {
        let refuse = |what: String| {
            let detail = format!("`{}` of {} {what}", consumer.name, by.name);
            Fault::client(&FORBIDDEN).detail(detail)
        };
        if !self.roles.is_empty() && !self.roles.iter().any(|role| consumer.has_role(role)) {
            return Err(refuse(format!("has none of the roles {}", self.roles.join(", "))));
        }
        if let Some(lacking) = self.scopes.iter().find(|scope| !consumer.has_scope(scope)) {
            let fault = refuse(format!("lacks the scope {lacking}"));
            let scopes = self.scopes.join(" ");
            return Err(match by.identity.challenge(Challenge::Scope(&scopes)) {
                Some(challenge) => fault.header(WWW_AUTHENTICATE, challenge),
                None => fault,
            });
        }
        Ok(())
    }

    /// Whether `when` is true of the request and its consumer; else why not.
    fn holds(&self, exchange: &mut Exchange, consumer: Option<&Consumer>) -> Result<(), String> {
        let Some(when) = &self.when else { return Ok(()) };
        let seen = Seen { consumer, ..Seen::from(&*exchange) };
        let why = match when.holds(&seen) {
            Ok(true) => return Ok(()),
            Ok(false) => "`when` is false".to_owned(),
            Err(why) => format!("`when` cannot be told: {why}"),
        };
        exchange.note(|| why.clone());
        Err(why)
    }

    fn refuse_invalid(&self, by: &Named, rejection: &Rejection) -> Fault {
        let code = rejection.reason.code;
        let fault = Fault::client(self.invalid);
        let fault = match &*rejection.detail {
            "" => fault.detail(format!("{}: {code}", by.name)),
            detail => fault.detail(format!("{}: {code}: {detail}", by.name)),
        };
        if self.invalid.kind == INVALID.kind {
            return fault;
        }
        let challenge = by.identity.challenge(Challenge::Invalid(rejection));
        fault.header(WWW_AUTHENTICATE, challenge.unwrap_or(NO_SCHEME))
    }
}

/// Says what to send: the challenges of all identities that found nothing.
fn refuse_missing(absent: &[&Group]) -> Fault {
    let asked: Vec<&Named> = absent.iter().flat_map(|group| &group.0).collect();
    let names: Vec<&str> = asked.iter().map(|named| &*named.name).collect();
    let mut fault =
        Fault::client(&MISSING).detail(format!("no credentials for {}", names.join(", ")));
    let mut challenges = Vec::new();
    for challenge in asked.iter().filter_map(|named| named.identity.challenge(Challenge::Missing)) {
        if !challenges.contains(&challenge) {
            challenges.push(challenge);
        }
    }
    if challenges.is_empty() {
        challenges.push(NO_SCHEME);
    }
    for challenge in challenges {
        fault = fault.header(WWW_AUTHENTICATE, challenge);
    }
    fault
}

/// What a further identity claims, where the name is free. Its rights are not added: a consumer
/// has those that came with its name.
fn add_claims(first: &mut Consumer, other: &Consumer) {
    first.stands_beside(other);
    for (name, value) in &other.claims {
        if !first.claims.contains_key(name) {
            first.claims.insert(name.clone(), value.clone());
        }
    }
}

/// Words that can stand in a challenge and a list (RFC 6749 §3.3, and no comma).
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\,".contains(&b))
}

fn named(words: &Words, build: &Build<'_>) -> Result<Vec<Named>, ConfigError> {
    let mut all: Vec<Named> = Vec::with_capacity(words.0.len());
    for (place, name) in words.0.iter().enumerate() {
        let at = |error: ConfigError| error.at(place.to_string());
        if all.iter().any(|one| *one.name == **name) {
            return Err(at(ConfigError::new(format!("`{name}` is named twice"))));
        }
        let identity = build.identity(name).map_err(at)?;
        all.push(Named { name: name.as_str().into(), identity });
    }
    Ok(all)
}

impl Group {
    fn waits(&self) -> bool {
        self.0.iter().any(|named| named.identity.waits())
    }

    /// The first that vouches wins; else the first that rejects is heard.
    async fn ask(&self, exchange: &mut Exchange) -> Result<Found<'_>, Fault> {
        let mut rejected = None;
        for named in &self.0 {
            let (proof, waited) = match named.identity.identify(&mut *exchange) {
                Step::Now(proof) => (proof, false),
                Step::Later(proof) => (proof.await, true),
            };
            if waited {
                // The next one is not to judge by the time before.
                exchange.waited(Instant::now());
            }
            let name = &named.name;
            match proof {
                Ok(Proof::Absent) => exchange.note(|| format!("identity {name}: no credentials")),
                Ok(Proof::Consumer(consumer)) => {
                    exchange.note(|| format!("identity {name}: it is {}", consumer.name));
                    return Ok(Found::Consumer(named, consumer));
                }
                Ok(Proof::Invalid(rejection)) => {
                    let Rejection { reason, detail } = &rejection;
                    exchange.note(|| format!("identity {name}: {}: {detail}", reason.code));
                    rejected.get_or_insert(Found::Invalid(named, rejection));
                }
                Ok(Proof::Answer(Rejection { reason, detail }, answer)) => {
                    exchange.note(|| format!("identity {name}: {}: {detail}", reason.code));
                    rejected.get_or_insert(Found::Answer(answer));
                }
                Err(fault) => {
                    exchange.note(|| format!("identity {name}: {}", fault.reason().code));
                    return Err(fault);
                }
            }
        }
        Ok(rejected.unwrap_or(Found::Absent))
    }
}

impl Policy for Gate {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        if self.waits {
            return Step::Later(Box::pin(self.decide(exchange)));
        }
        // No identity waits, so that the first look at the future finds it done.
        let mut context = Context::from_waker(Waker::noop());
        Step::Now(match pin!(self.decide(exchange)).poll(&mut context) {
            Poll::Ready(verdict) => verdict,
            Poll::Pending => {
                let detail = "an identity waits that said it never does";
                Err(Fault::gateway(&reasons::INTERNAL).detail(detail))
            }
        })
    }

    fn states(&self) -> &[HeaderName] {
        self.stated.names()
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (place, group) in self.groups.iter().enumerate() {
            let all =
                group.0.iter().map(|one| format!("{} ({})", one.name, one.identity.describe()));
            let all: Vec<String> = all.collect();
            text.push_str(if place > 0 { " and " } else { "" });
            text.push_str(&all.join(" or "));
        }
        if self.optional {
            text.push_str(", or nobody");
        }
        if !self.roles.is_empty() {
            text.push_str(&format!("; a role of {}", self.roles.join(", ")));
        }
        if !self.scopes.is_empty() {
            text.push_str(&format!("; the scopes {}", self.scopes.join(", ")));
        }
        if let Some(when) = &self.when {
            text.push_str(&format!("; when {when}"));
        }
        if self.invalid.kind != INVALID.kind {
            text.push_str("; invalid credentials are answered 401");
        }
        text.push_str("; upstream gets x-user-id, x-user-role, x-authenticated");
        text + &self.stated.describe()
    }
}
