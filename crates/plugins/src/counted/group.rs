//! Limits that are decided together: all of them let a request pass, or nothing is spent.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use lockgate_core::{
    Algorithm, Body, Counter, CounterName, Counters, Exchange, Fault, Grant, Kind, Limit,
    MOST_TAKES, Policy, Reason, Stage, Step, StoreError, Take, Verdict, reasons,
};
use tokio::time::Instant;

use super::rule::{Bound, Rule};
use super::{OnStoreError, shown};

pub(crate) struct Group {
    pub(super) reason: &'static Reason,
    pub(super) counters: Arc<dyn Counters>,
    /// Counts when the store does not.
    pub(super) local: Arc<dyn Counters>,
    pub(super) store: Box<str>,
    pub(super) on_store_error: OnStoreError,
    /// Requests for which the store did not answer.
    pub(super) store_errors: Arc<Counter>,
    pub(super) rules: Vec<Rule>,
}

/// Stands where nothing is taken.
static NOTHING: Limit =
    Limit { algorithm: Algorithm::FixedWindow, count: 1, window: Duration::from_secs(1), burst: 1 };
const NO_TAKE: Take<'static> = Take {
    key: &[],
    limit: &NOTHING,
    cost: 0,
    dry: true,
    listed: false,
    leased: false,
    returnable: false,
    at: None,
    stem: None,
};

thread_local! {
    /// Room for keys, so that a few limits allocate once for each worker.
    static KEYS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Room for a key of usual length, and what is kept for the next ones at most.
const ROOM: usize = 96;
const MOST_ROOM: usize = 1024;

/// What becomes of a request.
type Decided<'a> = Step<'a, Result<Verdict, Fault>>;

/// What one request asks for: which rules hold for it, each with its amount and its key's end.
#[derive(Clone)]
struct Asked {
    keys: Vec<u8>,
    parts: [Part; MOST_TAKES],
    count: usize,
    at: Instant,
}

#[derive(Clone, Copy, Default)]
struct Part {
    rule: usize,
    bound: usize,
    end: usize,
}

/// What may have to be given back when the answer is there.
struct Held {
    asked: Asked,
    grants: Vec<Grant>,
    /// It was the store that counted, or else the gateway for itself.
    by_store: bool,
}

/// What a store has said: nothing yet where it is to be waited for.
type Taken = Option<Result<bool, StoreError>>;

impl Asked {
    fn parts(&self) -> &[Part] {
        self.parts.get(..self.count).unwrap_or_default()
    }
}

impl Group {
    pub(super) fn stage(&self) -> Stage {
        self.rules.first().map_or(Stage::LimitIp, |rule| rule.by.stage())
    }

    fn ask(&self, exchange: &Exchange) -> Asked {
        let keys = Vec::with_capacity(self.rules.len() * ROOM);
        let at = exchange.lately();
        let mut asked = Asked { keys, parts: Default::default(), count: 0, at };
        for (rule, settings) in self.rules.iter().enumerate() {
            let Some(bound) = settings.bound(exchange) else { continue };
            settings.write_key(exchange, &mut asked.keys);
            if let Some(part) = asked.parts.get_mut(asked.count) {
                *part = Part { rule, bound, end: asked.keys.len() };
                asked.count += 1;
            }
        }
        asked
    }

    fn settings(&self, part: &Part) -> Option<(&Rule, &Bound)> {
        let rule = self.rules.get(part.rule)?;
        Some((rule, rule.bounds.get(part.bound)?))
    }

    fn takes<'a>(&'a self, asked: &'a Asked) -> [Take<'a>; MOST_TAKES] {
        let mut takes = [NO_TAKE; MOST_TAKES];
        let mut begin = 0;
        for (take, part) in takes.iter_mut().zip(asked.parts()) {
            let Some((rule, bound)) = self.settings(part) else { continue };
            let key = asked.keys.get(begin..part.end).unwrap_or_default();
            *take = rule.take(bound, key, asked.at);
            begin = part.end;
        }
        takes
    }

    /// Asks the store without waiting.
    fn take_now(
        &self,
        exchange: &Exchange,
        asked: &Asked,
        grants: &mut [Grant; MOST_TAKES],
    ) -> Taken {
        let takes = self.takes(asked);
        let takes = takes.get(..asked.count).unwrap_or_default();
        let naming = |place| self.counter_name(exchange, asked, place);
        self.counters.take_now(takes, grants, &naming)
    }

    /// Counts in this gateway's memory, by its share of the limits.
    fn take_here(
        &self,
        exchange: &Exchange,
        asked: &Asked,
        grants: &mut [Grant; MOST_TAKES],
    ) -> Taken {
        let takes = self.takes(asked);
        let gateways = self.counters.gateways();
        let shares = takes.map(|take| share(&take, gateways));
        let mut here = takes;
        for (take, share) in here.iter_mut().zip(&shares) {
            // The store may have been waited for, and its stems are none of the memory's.
            (take.limit, take.at, take.stem) = (share, None, None);
        }
        let here = here.get(..asked.count).unwrap_or_default();
        let naming = |place| self.counter_name(exchange, asked, place);
        self.local.take_now(here, grants, &naming)
    }

    async fn take(
        &self,
        exchange: &Exchange,
        asked: &Asked,
        grants: &mut [Grant; MOST_TAKES],
    ) -> Result<bool, StoreError> {
        let takes = self.takes(asked);
        let takes = takes.get(..asked.count).unwrap_or_default();
        let naming = |place| self.counter_name(exchange, asked, place);
        self.counters.take(takes, grants, &naming).await
    }

    fn counter_name(&self, exchange: &Exchange, asked: &Asked, place: usize) -> CounterName {
        let rule = asked.parts().get(place).and_then(|part| self.rules.get(part.rule));
        rule.map_or_else(no_name, |rule| rule.counter_name(exchange))
    }

    /// Whether some answers do not count.
    fn may_give_back(&self) -> bool {
        self.rules.iter().any(Rule::may_give_back)
    }

    fn conclude(
        &self,
        exchange: &mut Exchange,
        asked: &Asked,
        mut taken: Result<bool, StoreError>,
        grants: &mut [Grant; MOST_TAKES],
    ) -> Result<Verdict, Fault> {
        let by_store = taken.is_ok();
        if let Err(error) = &taken {
            exchange.note(|| format!("{}: {error}", self.reason.code));
            self.store_errors.add(exchange.connection.worker, 1);
            match self.on_store_error {
                OnStoreError::Allow => return Ok(Verdict::Pass),
                OnStoreError::Deny => {
                    return Err(
                        Fault::gateway(&reasons::STORE_UNAVAILABLE).detail(error.to_string())
                    );
                }
                OnStoreError::Local => {
                    let local = self.take_here(exchange, asked, grants);
                    taken = local.unwrap_or(Ok(true));
                }
            }
        }
        // Memory always answers.
        let all = taken.unwrap_or(true);
        let mut longest: Option<(Duration, usize)> = None;
        for (place, (part, grant)) in asked.parts().iter().zip(&*grants).enumerate() {
            let Some((rule, bound)) = self.settings(part) else { continue };
            shown::note(exchange, rule, bound, grant);
            if grant.allowed {
                continue;
            }
            rule.refusals.add(exchange.connection.worker, 1);
            if rule.dry_run {
                exchange.note(|| format!("limit {}: spent (dry run)", rule.name));
            } else {
                longest = longest.max(Some((grant.wait, place)));
            }
        }
        if let Some((wait, place)) = longest.filter(|_| !all) {
            let part = asked.parts().get(place);
            let rule = part.and_then(|part| self.rules.get(part.rule));
            exchange.kept.limit = rule.map(|rule| Arc::clone(&rule.name));
            let fault = self.refusal(asked, place, wait);
            return Err(if by_store { fault } else { fault.member("counted", "local") });
        }
        if self.may_give_back() {
            let grants = grants.get(..asked.count).unwrap_or_default().to_vec();
            exchange.kept.put(self, Held { asked: asked.clone(), grants, by_store });
        }
        Ok(Verdict::Pass)
    }

    fn refusal(&self, asked: &Asked, place: usize, wait: Duration) -> Fault {
        let fault = Fault::client(self.reason).retry_after(wait);
        let part = asked.parts().get(place);
        let Some((rule, bound)) = part.and_then(|part| self.settings(part)) else { return fault };
        fault
            .member("limit", &*rule.name)
            .member("allowed", bound.text.as_str())
            .detail(format!("{}: {} by {}", rule.name, bound.text, rule.by))
    }

    fn give_back(&self, exchange: &Exchange, response: &Response<Body>, held: &Held) {
        let counters = if held.by_store { &self.counters } else { &self.local };
        let refused = exchange.fault.as_ref().map(Fault::kind) == Some(Kind::TooManyRequests);
        // It has passed this one, so it was one after it. What another kind of limit refuses was
        // asked for all the same.
        let by_limit = exchange.fault.as_ref().map(Fault::reason) == Some(self.reason);
        let takes = self.takes(&held.asked);
        for ((part, mut take), grant) in held.asked.parts().iter().zip(takes).zip(&held.grants) {
            let Some((rule, _)) = self.settings(part) else { continue };
            let served = !(rule.only_served && refused || rule.yields && by_limit);
            let counts = rule.answers.as_ref().is_none_or(|all| all.has(exchange, response));
            if grant.allowed && !(served && counts) {
                take.stem = take.stem.filter(|_| held.by_store);
                counters.give_back(&take, grant);
            }
        }
    }
}

impl Group {
    /// Asks for a few limits that all hold for the request. When they let it pass, as most often,
    /// there is nothing more to it.
    #[inline]
    fn few<'a, const N: usize>(&'a self, exchange: &'a mut Exchange) -> Decided<'a> {
        let Ok(rules) = <&[Rule; N]>::try_from(&*self.rules) else {
            return self.at_length(exchange, None);
        };
        let mut keys = KEYS.take();
        keys.clear();
        let parts = rules.each_ref().map(|rule| {
            let bound = rule.bound(exchange).and_then(|place| rule.bounds.get(place))?;
            let from = keys.len();
            rule.write_key(exchange, &mut keys);
            Some((rule, bound, from..keys.len()))
        });
        if parts.iter().any(Option::is_none) {
            return self.at_length(exchange, None);
        }
        let at = exchange.lately();
        let takes = parts.each_ref().map(|part| {
            let Some((rule, bound, key)) = part else { return NO_TAKE };
            rule.take(bound, keys.get(key.clone()).unwrap_or_default(), at)
        });
        let mut grants = [Grant::default(); N];
        let naming = |place| {
            let rule: Option<&Rule> = rules.get(place);
            rule.map_or_else(no_name, |rule| rule.counter_name(exchange))
        };
        let taken = self.counters.take_now(&takes, &mut grants, &naming);
        if keys.capacity() <= MOST_ROOM {
            KEYS.set(keys);
        }
        let pass = matches!(taken, Some(Ok(true))) && grants.iter().all(|grant| grant.allowed);
        if pass && !self.may_give_back() {
            for ((rule, bound, _), grant) in parts.iter().flatten().zip(&grants) {
                shown::note(exchange, rule, bound, grant);
            }
            return Step::Now(Ok(Verdict::Pass));
        }
        self.at_length(exchange, Some((taken, &grants)))
    }

    /// The same for any limits, and what is to be done when they refuse, or may be given back.
    #[inline(never)]
    fn at_length<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        told: Option<(Taken, &[Grant])>,
    ) -> Decided<'a> {
        let asked = self.ask(exchange);
        if asked.count == 0 {
            return Step::Now(Ok(Verdict::Pass));
        }
        let mut grants = [Grant::default(); MOST_TAKES];
        let taken = match told {
            Some((taken, few)) => {
                grants.iter_mut().zip(few).for_each(|(grant, told)| *grant = *told);
                taken
            }
            None => self.take_now(exchange, &asked, &mut grants),
        };
        match taken {
            Some(taken) => Step::Now(self.conclude(exchange, &asked, taken, &mut grants)),
            None => Step::Later(Box::pin(async move {
                let mut grants = [Grant::default(); MOST_TAKES];
                let taken = self.take(exchange, &asked, &mut grants).await;
                self.conclude(exchange, &asked, taken, &mut grants)
            })),
        }
    }
}

fn no_name() -> CounterName {
    CounterName { limit: String::new(), key: String::new() }
}

/// One gateway's part of a limit, and never so little that a request could not pass.
fn share(take: &Take<'_>, gateways: u32) -> Limit {
    let part = |whole: u64| (whole / u64::from(gateways.max(1))).max(take.cost).max(1);
    Limit { count: part(take.limit.count), burst: part(take.limit.burst), ..take.limit.clone() }
}

impl Policy for Group {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Decided<'a> {
        match self.rules.len() {
            1 => self.few::<1>(exchange),
            2 => self.few::<2>(exchange),
            3 => self.few::<3>(exchange),
            4 => self.few::<4>(exchange),
            _ => self.at_length(exchange, None),
        }
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        if self.may_give_back()
            && let Some(held) = exchange.kept.take::<_, Held>(self)
        {
            self.give_back(exchange, response, &held);
        }
        shown::write(exchange, response.headers_mut());
        Step::Now(Ok(()))
    }

    fn describe(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(Rule::describe).collect();
        format!("{}; store {}", rules.join("; "), self.store)
    }
}
