//! Why a request goes where it goes: the pattern that won, those it won against, and the nearest
//! ones that failed, each with the part that failed. For people at a prompt, not for requests: it
//! looks at every pattern.

use std::sync::Arc;

use http::Method;

use super::method::MethodId;
use super::pattern::{End, Host, Pattern, Segment};
use super::router::Router;

/// No more than these are told.
const MOST: usize = 10;
/// No more than these of another path.
const MOST_NEAR: usize = 4;
/// Longer texts are compared by their begin.
const COMPARED: usize = 128;

/// A pattern that took a request, or nearly did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The pattern as written.
    pub pattern: Arc<str>,
    /// Its route index.
    pub index: usize,
    /// How it fared.
    pub verdict: Verdict,
}

/// How a pattern fared with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one.
    Matched,
    /// It fits, but this one is more specific.
    LessSpecific {
        /// The pattern that won.
        than: Arc<str>,
    },
    /// Host and path fit; it takes this method only.
    Method {
        /// The pattern's method.
        takes: &'static str,
    },
    /// The path fits; it takes this host only.
    Host {
        /// The pattern's host.
        takes: String,
    },
    /// The path does not fit.
    Path {
        /// The first segment that does not, counted from 1.
        segment: usize,
        /// What the pattern wants there; `None`: the path should have ended before.
        wants: Option<String>,
        /// What the path has there; `None`: it has ended before.
        has: Option<String>,
    },
}

impl Router {
    /// The patterns that fit a request or nearly do, the chosen one first, ten at most. `host` and
    /// `path` are as for [`find`](Self::find).
    pub fn explain(&self, method: &Method, host: &str, path: &str) -> Vec<Candidate> {
        if !path.starts_with('/') {
            return Vec::new();
        }
        let asked = MethodId::of(method);
        let winner = self.winner(method, host, path).map(|entry| entry.text.clone());
        let host = host.strip_suffix('.').unwrap_or(host);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let mut ranked: Vec<(Rank, Candidate)> = Vec::new();
        for entry in &self.entries {
            // Every text here has been parsed before.
            let Ok(pattern) = entry.text.parse::<Pattern>() else { continue };
            let miss = path_miss(&pattern, &segments);
            let (class, verdict) = match (miss, pattern.host.takes(host), pattern.method()) {
                (None, true, Some(takes)) if !pattern.method.takes(asked) => {
                    (Class::Method, Verdict::Method { takes })
                }
                (None, true, _) => match &winner {
                    Some(won) if *won != entry.text => {
                        (Class::Fits, Verdict::LessSpecific { than: won.clone() })
                    }
                    _ => (Class::Matched, Verdict::Matched),
                },
                (None, false, _) => {
                    (Class::Host, Verdict::Host { takes: pattern.host.to_string() })
                }
                (Some(verdict), true, _) => {
                    let far = distance(&pattern, &segments);
                    if far >= path.len() {
                        continue;
                    }
                    (Class::Path(far), verdict)
                }
                (Some(_), false, _) => continue,
            };
            let candidate =
                Candidate { pattern: entry.text.clone(), index: entry.index as usize, verdict };
            ranked.push((Rank { class, order: order(&pattern) }, candidate));
        }
        ranked.sort_by(|a, b| a.0.cmp(&b.0));
        let near = ranked.iter().position(|(rank, _)| matches!(rank.class, Class::Path(_)));
        ranked.truncate(near.map_or(MOST, |near| MOST.min(near + MOST_NEAR)));
        ranked.into_iter().map(|(_, candidate)| candidate).collect()
    }
}

/// What is told first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: Class,
    order: (usize, Vec<u8>, MethodId),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Matched,
    Fits,
    Method,
    Host,
    Path(usize),
}

/// The order in which the router would try patterns that all fit.
fn order(pattern: &Pattern) -> (usize, Vec<u8>, MethodId) {
    let host = match &pattern.host {
        Host::Exact(_) => 0,
        Host::Under(parent) => 256 - parent.split('.').count().min(255),
        Host::Any => 256,
    };
    let segments = pattern.segments.iter().map(|segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Capture => 1,
    });
    let end = if pattern.end == End::Exact { 2 } else { 3 };
    (host, segments.chain([end]).collect(), pattern.method)
}

/// Where a path stops to fit.
fn path_miss(pattern: &Pattern, path: &[&str]) -> Option<Verdict> {
    let wanted = pattern.segments.len();
    for (place, segment) in pattern.segments.iter().enumerate() {
        let has = path.get(place).copied();
        if !has.is_some_and(|has| fits(segment, has)) {
            let wants = Some(wants(pattern, place));
            return Some(Verdict::Path { segment: place + 1, wants, has: has.map(Into::into) });
        }
    }
    let more = path.get(wanted).filter(|_| pattern.end == End::Exact)?;
    Some(Verdict::Path { segment: wanted + 1, wants: None, has: Some((*more).into()) })
}

fn fits(segment: &Segment, has: &str) -> bool {
    match segment {
        Segment::Literal(text) => {
            super::escape::decode(text.as_bytes()) == super::escape::decode(has.as_bytes())
        }
        Segment::Capture => !has.is_empty(),
    }
}

fn wants(pattern: &Pattern, place: usize) -> String {
    match pattern.segments.get(place) {
        Some(Segment::Literal(text)) => text.to_string(),
        _ => {
            let before = pattern.segments.iter().take(place);
            let nth = before.filter(|segment| **segment == Segment::Capture).count();
            let captures = pattern.captures();
            format!("{{{}}}", captures.get(nth).map_or("", |name| name))
        }
    }
}

/// How many letters a path is away from fitting.
fn distance(pattern: &Pattern, path: &[&str]) -> usize {
    let mut far = 0;
    for place in 0..pattern.segments.len().max(path.len()) {
        let has = path.get(place).map(|has| begin_of(has));
        far += match (pattern.segments.get(place), has) {
            (Some(Segment::Literal(text)), Some(has)) => strsim::levenshtein(begin_of(text), has),
            (Some(Segment::Literal(text)), None) => text.len() + 1,
            (Some(Segment::Capture), Some("")) | (Some(Segment::Capture), None) => 1,
            (Some(Segment::Capture), Some(_)) | (None, None) => 0,
            (None, Some(has)) if pattern.end == End::Exact => has.len() + 1,
            (None, Some(_)) => 0,
        };
    }
    far
}

/// Canonical segments are ASCII.
fn begin_of(text: &str) -> &str {
    text.get(..COMPARED).unwrap_or(text)
}
