//! The header names that a configuration lets the gateway alone state, beside those that it always
//! states: what `auth` and its identities tell targets of a consumer. Clients' own words under them
//! are taken away on every route, as a service behind several routes cannot tell by which of them a
//! request came. Refuses nothing that HTTP itself lets clients say.

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderName;
use lockgate_core::Identities;

use crate::snapshot::{RouteSet, Snapshot};

/// What clients say by HTTP itself, and could not do without on the routes where nobody states it:
/// there it is theirs.
const CLIENTS: [&str; 26] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "baggage",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "cookie",
    "date",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "range",
    "referer",
    "traceparent",
    "tracestate",
    "user-agent",
];

/// Routes whose names are kept together, so that a reload looks at those alone that it changed.
const PART: usize = 256;

/// A set of names that takes `_` and `-` for the same. Most names that are asked for are not in it,
/// and are told by their length.
pub(crate) struct Reserved {
    /// One bit for each length that some name has; the last is for all that are longer.
    lengths: u64,
    /// By length, then by bytes; with `-` for every `_`.
    names: Box<[Box<str>]>,
    /// What the routes state, part by part.
    parts: Vec<Arc<[HeaderName]>>,
}

impl Reserved {
    /// What these identities and routes may state; the routes may be those of the snapshot before.
    pub(crate) fn of<'s>(
        identities: &Identities,
        mut sets: impl Iterator<Item = &'s Arc<RouteSet>>,
        before: Option<&Snapshot>,
    ) -> Self {
        let mut old = before.into_iter().flat_map(|before| before.sets.iter());
        let known = before.map(|before| &*before.reserved.parts).unwrap_or_default();
        let mut parts = Vec::new();
        loop {
            let part: Vec<&Arc<RouteSet>> = sets.by_ref().take(PART).collect();
            let beside: Vec<&Arc<RouteSet>> = old.by_ref().take(PART).collect();
            if part.is_empty() {
                break;
            }
            let is_same = part.len() == beside.len()
                && part.iter().zip(&beside).all(|(one, other)| Arc::ptr_eq(one, other));
            parts.push(match known.get(parts.len()).filter(|_| is_same) {
                Some(same) => Arc::clone(same),
                None => stated_by(&part),
            });
        }
        let identities = identities.values().flat_map(|identity| identity.states());
        Self::new(parts, identities)
    }

    /// Nothing more than usual.
    pub(crate) fn none() -> Self {
        Self::new(Vec::new(), std::iter::empty())
    }

    fn new<'n>(
        parts: Vec<Arc<[HeaderName]>>,
        identities: impl Iterator<Item = &'n HeaderName>,
    ) -> Self {
        // Many may state the same few.
        let mut all: HashSet<&str> = identities.map(HeaderName::as_str).collect();
        all.extend(parts.iter().flat_map(|part| part.iter()).map(HeaderName::as_str));
        let folded = all.into_iter().map(|name| name.replace('_', "-").into_boxed_str());
        let mut names: Vec<Box<str>> = folded.filter(|name| !CLIENTS.contains(&&**name)).collect();
        names.sort_unstable_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
        names.dedup();
        let lengths = names.iter().fold(0, |lengths, name| lengths | bit(name.len()));
        Self { lengths, names: names.into(), parts }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether a name, in lower case, is one of them in some spelling.
    pub(crate) fn has(&self, name: &str) -> bool {
        if self.lengths & bit(name.len()) == 0 {
            return false;
        }
        let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
        let found = self.names.binary_search_by(|own| {
            let by_length = own.len().cmp(&name.len());
            by_length.then_with(|| own.bytes().cmp(name.bytes().map(fold)))
        });
        found.is_ok()
    }
}

fn bit(length: usize) -> u64 {
    1 << length.min(63)
}

/// What the policies of these routes state, each name once.
fn stated_by(sets: &[&Arc<RouteSet>]) -> Arc<[HeaderName]> {
    let routes = sets.iter().flat_map(|set| &set.routes);
    let stated = routes.flat_map(|route| &route.entries).flat_map(|entry| entry.policy.states());
    let all: HashSet<&HeaderName> = stated.collect();
    all.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(names: &[&str]) -> Reserved {
        let names: Vec<HeaderName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let (routes, identities) = names.split_at(names.len() / 2);
        Reserved::new(vec![routes.into()], identities.iter())
    }

    #[test]
    fn a_name_is_found_in_every_spelling_and_no_other_is() {
        let long = format!("x-{}", "a".repeat(100));
        let all = reserved(&["X-Org", "x_tenant-id", "X-Plan", &long, "x-org"]);
        for name in ["x-org", "x_org", "x-tenant-id", "x_tenant_id", "x-tenant_id", "x-plan"] {
            assert!(all.has(name), "{name}");
        }
        assert!(all.has(&long) && all.has(&long.replace('-', "_")));
        for name in ["x-orgs", "xorg", "x-pla", "x-orh", "y-org", "", "x--org", &long[..101]] {
            assert!(!all.has(name), "{name}");
        }
        assert_eq!(all.names.len(), 4);
    }

    #[test]
    fn what_http_lets_clients_say_stays_theirs() {
        let none = reserved(&["Authorization", "Cookie", "content_type"]);
        for name in ["authorization", "cookie", "content-type", "content_type", "x-org", ""] {
            assert!(!none.has(name), "{name}");
        }
        let all = reserved(&["Authorization", "X-Org"]);
        assert!(all.has("x-org") && !all.has("authorization"));
    }
}
