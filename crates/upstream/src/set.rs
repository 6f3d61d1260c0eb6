//! The endpoints of an upstream at one moment, with everything prepared that picks need. It never
//! changes: a new one takes its place.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use lockgate_config::model::{self, Sticky};
use tokio::time::Instant;

use crate::balance::{Ask, Level, Position};
use crate::endpoint::{Doubt, Endpoint, Out};
use crate::sticky::{Cookie, StickyCookie, claimed_id};

/// No upstream has more endpoints; what DNS names beyond it is left out, with a warning.
pub(crate) const MOST_ENDPOINTS: usize = 4096;

/// Endpoints named in the detail of a fault.
const MOST_NAMED: usize = 16;

/// The endpoints of an upstream at one moment.
#[derive(Debug)]
pub struct EndpointSet {
    generation: u64,
    endpoints: Box<[Arc<Endpoint>]>,
    /// By ascending priority; members of weight 0 are in none.
    levels: Box<[Level]>,
    /// Sorted by the endpoint's id; empty without a sticky cookie.
    cookies: Box<[(u64, Arc<Endpoint>, Cookie)]>,
    slow_start: Duration,
    panic_threshold: f64,
}

impl EndpointSet {
    pub(crate) fn new(
        generation: u64,
        endpoints: Vec<Arc<Endpoint>>,
        settings: &model::Upstream,
        sticky: Option<&StickyCookie>,
    ) -> Self {
        let mut priorities: Vec<u32> = endpoints.iter().map(|e| e.priority()).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let keyed = matches!(settings.balance, model::Balance::Maglev(_))
            || matches!(settings.sticky, Some(Sticky::Header { .. }));
        let level = |priority: u32| {
            let members = endpoints.iter().filter(|e| e.priority() == priority && e.weight() > 0);
            Level::new(members.cloned().collect(), &settings.balance, keyed)
        };
        let levels = priorities.into_iter().map(level).filter(|l| !l.members.is_empty()).collect();
        let mut cookies: Vec<_> = sticky
            .iter()
            .flat_map(|sticky| endpoints.iter().map(|e| (e.id(), Arc::clone(e), sticky.cookie(e))))
            .collect();
        cookies.sort_by_key(|(id, ..)| *id);
        Self {
            generation,
            levels,
            cookies: cookies.into(),
            slow_start: settings.slow_start.0,
            panic_threshold: settings.panic_threshold.0,
            endpoints: endpoints.into(),
        }
    }

    /// Grows with every change of the set.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// All endpoints, the unusable too, in the order of the configuration.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Chooses an endpoint. Lower priorities come first. `tried` ones are avoided while any other
    /// is left; doubtful ones are used when no level has a better one, unless that is switched
    /// off by a panic threshold of 0.
    pub(crate) fn choose(
        &self,
        position: &Position,
        key: Option<u64>,
        tried: &[Arc<Endpoint>],
        now: Instant,
    ) -> Option<&Arc<Endpoint>> {
        let last_resort = if self.panic_threshold > 0.0 { Doubt::Unproven } else { Doubt::None };
        for tried in [tried, &[]] {
            for overlook in [None, Some(last_resort)] {
                for level in &self.levels {
                    let ask = Ask {
                        level,
                        position,
                        tried,
                        now,
                        slow_start: self.slow_start,
                        panic_threshold: self.panic_threshold,
                        overlook: Cell::new(overlook),
                    };
                    if let Some(place) = ask.choose(key) {
                        return level.members.get(place);
                    }
                }
            }
            if tried.is_empty() {
                break;
            }
        }
        None
    }

    /// The endpoint that a cookie holds a client to, if it is signed right and usable.
    pub(crate) fn stuck(&self, sent: &str, now: Instant) -> Option<&Arc<Endpoint>> {
        let id = claimed_id(sent)?;
        let at = self.cookies.binary_search_by_key(&id, |(id, ..)| *id).ok()?;
        let (_, endpoint, cookie) = self.cookies.get(at)?;
        (cookie.is(sent) && endpoint.usable(now).is_ok()).then_some(endpoint)
    }

    pub(crate) fn cookie(&self, endpoint: &Endpoint) -> Option<&Cookie> {
        let at = self.cookies.binary_search_by_key(&endpoint.id(), |(id, ..)| *id).ok()?;
        self.cookies.get(at).map(|(.., cookie)| cookie)
    }

    /// Why each endpoint is out, in words; and whether any is merely busy.
    pub(crate) fn why_none(&self, now: Instant) -> (String, bool) {
        let (mut story, mut busy) = (String::new(), false);
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            // One that may be used after all has had its last place freed just now.
            let out = endpoint.usable(now).err().unwrap_or(Out::AtLimit);
            busy |= out == Out::AtLimit;
            if place == MOST_NAMED {
                story.push_str("; …");
            }
            if place >= MOST_NAMED {
                continue;
            }
            if !story.is_empty() {
                story.push_str("; ");
            }
            story.push_str(&format!("{}: {}", endpoint.label(), endpoint.why(out)));
        }
        (story, busy)
    }
}
