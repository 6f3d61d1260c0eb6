//! The way down: what is kept is given, at once when it is fresh; else one request goes on, and
//! those for the same wait for it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, RANGE};
use http::{Method, Response};
use lockgate_core::{Blob, Body, Exchange, Fault, Maker, Origin, Step, Verdict, reasons};
use tokio::time::{Instant, sleep, timeout_at};

use super::asked::Passed;
use super::directives::Wanted;
use super::flight::{Landing, Lead, Place};
use super::freshness::State;
use super::patience::Patience;
use super::status::{Forward, Outcome, hit};
use super::stored::{Answer, Stored, answer};
use super::{Caching, NOT_CACHED, conditions, key};

/// How often a request looks again after another's end, before it goes by itself.
const MOST_LOOKS: usize = 8;

/// What was found for a request.
pub(super) struct Found {
    /// Where it was looked for last: the request's key, or a variant's.
    pub(super) key: Vec<u8>,
    pub(super) varying: Box<[HeaderName]>,
    pub(super) kept: Kept,
    /// The store could not say all of it.
    pub(super) store_failed: bool,
}

/// A stale answer that may be given while a new one is fetched.
enum Refresh {
    /// By this request.
    Leads(Lead),
    /// By others, or for now by nobody.
    Others,
    /// Another gateway has done so by now.
    Made,
}

pub(super) enum Kept {
    Nothing,
    /// It is known that nothing is kept.
    Never,
    Answer(Arc<Blob>),
}

impl Caching {
    pub(super) fn down<'a>(
        &'a self,
        exchange: &'a mut Exchange,
    ) -> Step<'a, Result<Verdict, Fault>> {
        let plain = conditions::is_plain(&exchange.head.headers);
        if let Some(why) = passes(exchange, plain) {
            self.counts.add(exchange, Outcome::Bypass);
            exchange.kept.put(self, Passed(why));
            return Step::Now(Ok(Verdict::Pass));
        }
        let wanted = match self.client_control && !plain {
            true => Wanted::read(&exchange.head.headers),
            false => Wanted::default(),
        };
        let key = self.keying.of(exchange);
        match self.at_once(exchange, &key, &wanted) {
            Some(response) => Step::Now(Ok(Verdict::Answer(response))),
            None => Step::Later(Box::pin(self.fetch(exchange, key, wanted))),
        }
    }

    /// What memory has fresh.
    fn at_once(
        &self,
        exchange: &mut Exchange,
        key: &[u8],
        wanted: &Wanted,
    ) -> Option<Response<Body>> {
        if self.distrusts && !self.blobs.hears() {
            return None;
        }
        let mut blob = now(self.blobs.get(key))?;
        if let Stored::Varying(names) = blob.head()? {
            blob = now(self.blobs.get(&key::variant(key, names, &exchange.head.headers)))?;
        }
        let answer = answer(&blob)?;
        let age = answer.age(Instant::now());
        let fresh = answer.life.at(age, wanted) == State::Fresh;
        fresh.then(|| self.give(exchange, &blob, answer, age, false))
    }

    /// Gives a client what is kept: as much of it as it asks for.
    fn give(
        &self,
        exchange: &mut Exchange,
        blob: &Blob,
        answer: &Answer,
        age: Duration,
        collapsed: bool,
    ) -> Response<Body> {
        let said = hit(&answer.life, age, collapsed);
        let mut response = answer.hit(blob, age, said);
        if !conditions::is_plain(&exchange.head.headers) {
            suit(&exchange.head.headers, &exchange.head.method, &mut response);
        }
        exchange.origin = Origin::Cache;
        let fresh = age < answer.life.lifetime;
        let outcome = if fresh { Outcome::Hit } else { Outcome::Stale };
        self.counts.add(exchange, outcome);
        exchange.note(|| format!("cache: {} of {}s", word(fresh), age.as_secs()));
        response
    }

    async fn fetch(
        &self,
        exchange: &mut Exchange,
        key: Vec<u8>,
        wanted: Wanted,
    ) -> Result<Verdict, Fault> {
        let until = Instant::now().checked_add(self.wait);
        let (mut looks, mut patience) = (0, Patience::new(self.blobs.patience()));
        loop {
            looks += 1;
            let mut found = self.find(&key, &exchange.head.headers, &mut patience).await;
            if let Kept::Answer(blob) = &found.kept {
                let blob = Arc::clone(blob);
                let again = (looks, &mut patience);
                let offered = self.offer(exchange, &key, &found, &blob, &wanted, again);
                match offered.await {
                    Some(Some(verdict)) => return Ok(verdict),
                    Some(None) => continue,
                    None => {}
                }
            }
            if wanted.only_if_cached {
                return Err(Fault::client(&NOT_CACHED));
            }
            let mut lead = None;
            let (flight, own) = self.flight(exchange, &found.key);
            let vain = own && self.is_vain(&flight);
            let waits = waits_for_others(exchange, &found, &wanted) && !vain;
            if waits && looks <= MOST_LOOKS {
                match self.flights.join(&flight, self.wait) {
                    Place::Leads(first) => {
                        // What was kept between the look and the lead is there now.
                        if looks == 1 && self.is_fresh(&found.key, &wanted) {
                            continue;
                        }
                        lead = match own {
                            true => Some(first),
                            false => self.over_all(&found, first, until, &mut patience).await,
                        };
                        if lead.is_none() {
                            continue;
                        }
                    }
                    Place::Waits(wait) => {
                        patience.rested();
                        match before(exchange.deadline, wait.ends()).await {
                            // There is no time left to ask in, and nothing stale to give.
                            Err(Late) if matches!(found.kept, Kept::Nothing) => {
                                let late = Fault::upstream(&reasons::UPSTREAM_TIMEOUT);
                                return Err(late.detail("another request waits for the same"));
                            }
                            Ok(Some(Landing::NotKept)) | Err(Late) => {}
                            Ok(Some(Landing::Kept) | None) => continue,
                            // It leads now, or another does: nothing has come of this look.
                            Ok(Some(Landing::Flying)) => {
                                looks -= 1;
                                continue;
                            }
                        }
                    }
                }
            }
            found.store_failed = patience.has_failed();
            self.send(exchange, key, found, &wanted, lead);
            return Ok(Verdict::Pass);
        }
    }

    async fn find(&self, key: &[u8], headers: &HeaderMap, patience: &mut Patience) -> Found {
        let (varying, kept) = (Box::default(), Kept::Nothing);
        let mut found = Found { key: key.to_vec(), varying, kept, store_failed: false };
        let mut blob = self.look(key, patience).await;
        if let Some(Stored::Varying(names)) = blob.as_ref().and_then(|blob| blob.head()) {
            found.key = key::variant(key, names, headers);
            found.varying = names.clone();
            blob = self.look(&found.key, patience).await;
        }
        found.store_failed = patience.has_failed();
        found.kept = match blob {
            Some(blob) if answer(&blob).is_some() => Kept::Answer(blob),
            Some(_) => Kept::Never,
            None => Kept::Nothing,
        };
        found
    }

    /// What is kept under a key. A store that fails has nothing, and one that has failed before is
    /// asked for nothing but what is in memory.
    async fn look(&self, key: &[u8], patience: &mut Patience) -> Option<Arc<Blob>> {
        if self.distrusts && !self.blobs.hears() {
            patience.fails();
            return None;
        }
        patience.hear(self.blobs.get(key)).await.flatten()
    }

    fn is_fresh(&self, key: &[u8], wanted: &Wanted) -> bool {
        let blob = now(self.blobs.get(key));
        let answer = blob.as_ref().and_then(answer);
        answer.is_some_and(|answer| {
            answer.life.at(answer.age(Instant::now()), wanted) == State::Fresh
        })
    }

    /// The key of the request under way that this one may wait for, and whether it is not that of
    /// all. Those with credentials that their key does not tell apart have their own: what comes
    /// of them is mostly for nobody else, and they are not to decide for those without.
    fn flight<'k>(&self, exchange: &Exchange, key: &'k [u8]) -> (Cow<'k, [u8]>, bool) {
        match self.is_authorized(exchange) {
            true => (apart(key).into(), true),
            false => (key.into(), false),
        }
    }

    /// Whether it is known that waiting for others with credentials brings nothing. Of all others
    /// what is kept in an answer's place says so.
    fn is_vain(&self, flight: &[u8]) -> bool {
        now(self.blobs.get(flight)).is_some()
    }

    /// Leads over the other gateways too, or waits for the one that does. `None` when there is
    /// something new to look at.
    async fn over_all(
        &self,
        found: &Found,
        mut lead: Lead,
        until: Option<Instant>,
        patience: &mut Patience,
    ) -> Option<Lead> {
        while !patience.has_failed() {
            let known = match &found.kept {
                Kept::Answer(blob) => Some(&**blob),
                Kept::Nothing | Kept::Never => None,
            };
            match patience.hear(self.blobs.turn(&found.key, known)).await {
                Some(Maker::Alone) => break,
                Some(Maker::Leads(over_all)) => {
                    lead.over_all(over_all);
                    break;
                }
                Some(Maker::Made) => return None,
                Some(Maker::Waits(time)) if until.is_none_or(|end| Instant::now() + time < end) => {
                    sleep(time).await;
                    patience.rested();
                }
                // It has waited for as long as it may, or the store has failed.
                Some(Maker::Waits(_)) | None => break,
            }
        }
        Some(lead)
    }

    /// Who fetches a new answer while a stale one is given.
    async fn refresh(
        &self,
        exchange: &Exchange,
        found: &Found,
        blob: &Blob,
        patience: &mut Patience,
    ) -> Refresh {
        let (flight, own) = self.flight(exchange, &found.key);
        if own && self.is_vain(&flight) {
            return Refresh::Others;
        }
        let Place::Leads(mut lead) = self.flights.join(&flight, self.wait) else {
            return Refresh::Others;
        };
        if patience.has_failed() || own {
            return Refresh::Leads(lead);
        }
        match patience.hear(self.blobs.turn(&found.key, Some(blob))).await {
            Some(Maker::Alone) | None => {}
            Some(Maker::Leads(over_all)) => lead.over_all(over_all),
            Some(Maker::Waits(_)) => return Refresh::Others,
            Some(Maker::Made) => return Refresh::Made,
        }
        Refresh::Leads(lead)
    }

    /// What may be given of an answer that is kept, if anything; `Some(None)` when there is a newer
    /// one by now.
    async fn offer(
        &self,
        exchange: &mut Exchange,
        key: &[u8],
        found: &Found,
        blob: &Arc<Blob>,
        wanted: &Wanted,
        (looks, patience): (usize, &mut Patience),
    ) -> Option<Option<Verdict>> {
        let answer = answer(blob)?;
        let now = Instant::now();
        let age = answer.age(now);
        let collapsed = looks > 1;
        let held = answer.held_until.is_some_and(|until| until > now);
        match answer.life.at(age, wanted) {
            State::Fresh | State::StaleAsAsked => {}
            State::StaleMeanwhile => {
                let refresh = match held {
                    true => Refresh::Others,
                    false => self.refresh(exchange, found, blob, patience).await,
                };
                if matches!(refresh, Refresh::Made) && looks <= MOST_LOOKS {
                    return Some(None);
                }
                let response = self.give(exchange, blob, answer, age, collapsed);
                if let Refresh::Leads(lead) = refresh {
                    let behind = self.behind(exchange, key, found, blob, lead);
                    return Some(Some(Verdict::AnswerAnd(response, behind)));
                }
                return Some(Some(Verdict::Answer(response)));
            }
            State::Validate => {
                if !held || wanted.no_cache || !answer.life.serves_errors(age) {
                    return None;
                }
            }
        }
        Some(Some(Verdict::Answer(self.give(exchange, blob, answer, age, collapsed))))
    }
}

/// Why a request is no matter for a cache, if it is not.
fn passes(exchange: &Exchange, plain: bool) -> Option<Forward> {
    if !matches!(exchange.head.method, Method::GET | Method::HEAD) {
        return Some(Forward::Method);
    }
    let other = exchange.upgrade
        || exchange.grpc
        || !exchange.body.is_empty()
        || !plain && conditions::is_for_origin(&exchange.head.headers);
    other.then_some(Forward::Bypass)
}

/// Whether another's answer would do for this request.
fn waits_for_others(exchange: &Exchange, found: &Found, wanted: &Wanted) -> bool {
    let fit = exchange.head.method == Method::GET && !wanted.no_store && !wanted.no_cache;
    fit && match &found.kept {
        Kept::Never => false,
        Kept::Nothing => !exchange.head.headers.contains_key(RANGE),
        // What is never fresh is asked for by everyone.
        Kept::Answer(blob) => answer(blob).is_some_and(|answer| {
            answer.life.lifetime > answer.life.initial_age && !answer.life.validate
        }),
    }
}

/// The whole request must be over.
struct Late;

/// What is waited for, unless the whole request must be over before.
async fn before(
    deadline: Option<Instant>,
    landing: impl Future<Output = Option<Landing>>,
) -> Result<Option<Landing>, Late> {
    match deadline {
        None => Ok(landing.await),
        Some(deadline) => timeout_at(deadline, landing).await.map_err(|_| Late),
    }
}

/// Makes of a whole answer what the client asks for.
pub(super) fn suit(asked: &HeaderMap, method: &Method, response: &mut Response<Body>) {
    if !response.status().is_success() {
        return;
    }
    if conditions::is_unchanged(asked, response.headers()) {
        conditions::not_modified(response);
    } else if *method == Method::GET {
        conditions::cut(asked, response);
    }
}

/// The key of what is under way for those with credentials.
pub(super) fn apart(key: &[u8]) -> Vec<u8> {
    [key, b"+credentials"].concat()
}

/// What a store has in memory.
fn now<T, E>(step: Step<'_, Result<Option<T>, E>>) -> Option<T> {
    match step {
        Step::Now(Ok(found)) => found,
        Step::Now(Err(_)) | Step::Later(_) => None,
    }
}

fn word(fresh: bool) -> &'static str {
    if fresh { "a fresh answer" } else { "a stale answer" }
}
