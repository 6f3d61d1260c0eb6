//! What a gateway knows of its upstreams, as lines of JSON for its successor: one of the whole,
//! with operators' overrides, then one for each upstream. What does not fit is learned again.

use lockgate_proxy::Snapshot;
use lockgate_upstream::{Known, Ordered};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::handover::MOST_KNOWN;
use crate::kept::{ordered, understood};

/// The first line.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Whole<T> {
    /// Whether there are routes.
    routes: bool,
    overrides: Vec<T>,
}

/// What has been told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) routes: bool,
    pub(super) overrides: Vec<Ordered>,
    pub(super) upstreams: Vec<Known>,
}

/// What is known now.
pub(crate) fn tell(snapshot: &Snapshot) -> Vec<u8> {
    let overrides = ordered(&snapshot.upstreams);
    let whole = Whole { routes: !snapshot.is_empty(), overrides };
    let mut text = serde_json::to_vec(&whole).unwrap_or_default();
    for (name, upstream) in snapshot.upstreams.iter() {
        let line = serde_json::to_vec(&upstream.known()).unwrap_or_default();
        if text.len() + 1 + line.len() > MOST_KNOWN {
            tracing::warn!(upstream = %name, "too much is known: a successor learns it again");
            continue;
        }
        text.push(b'\n');
        text.extend(line);
    }
    text
}

impl Told {
    /// # Errors
    /// When it is not what [`tell`] says. A line that is not understood is passed over.
    pub(super) fn read(text: &[u8]) -> serde_json::Result<Self> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let whole: Whole<Value> = serde_json::from_slice(lines.next().unwrap_or_default())?;
        let upstreams = lines.filter_map(|line| {
            serde_json::from_slice(line)
                .inspect_err(|error| tracing::warn!(%error, "something known is left out"))
                .ok()
        });
        let upstreams = upstreams.collect();
        Ok(Self { routes: whole.routes, overrides: understood(whole.overrides), upstreams })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_says_is_taken_as_far_as_it_is_understood() {
        let text = b"{\"routes\": true, \"moon\": 1, \"overrides\": [{\"upstream\": \"a\", \
            \"endpoint\": \"x:1\", \"override\": \"down\"}, {\"override\": 1}]}\n\
            {\"upstream\": \"a\", \"tide\": {}}\nnot even JSON\n{\"upstream\": \"b\"}";
        let told = Told::read(text).unwrap();
        assert!(told.routes);
        assert_eq!(told.overrides.len(), 1, "{told:?}");
        let names: Vec<&str> = told.upstreams.iter().map(|one| one.upstream.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(!Told::read(b"{}").unwrap().routes);
        assert!(Told::read(b"").is_err());
    }
}
