//! What operators have said of endpoints, beyond the end of the process. What holds is with the
//! upstreams; this has it on the disk before the operator is answered, and is the one place where
//! orders are taken: a process that has handed over takes none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_admin::{Refused, Steered};
use lockgate_upstream::{Ordered, Override, Upstreams};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dir::{Dir, MOST_BYTES};
use super::right::Right;

const FILE: &str = "overrides.json";

/// What is kept of overrides, and where.
pub(crate) struct Overrides {
    dir: Option<Dir>,
    /// Only who has it writes into the directory.
    right: Arc<Right>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The file as this process knows it.
    text: String,
    /// Whether this process takes orders: it serves, and no successor knows what was ordered.
    takes: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Document<T> {
    overrides: Vec<T>,
}

impl Overrides {
    /// Keeps nothing.
    pub(super) fn nowhere(right: Arc<Right>) -> Self {
        Self { dir: None, right, state: Mutex::default() }
    }

    /// Those of a directory.
    ///
    /// # Errors
    /// When they cannot be read: what was ordered must not be forgotten silently.
    pub(super) fn of(dir: Dir, right: Arc<Right>) -> Result<Self, String> {
        let text = read(&dir)?;
        parse(&text).map_err(|why| format!("{}: {why}", dir.path(FILE).display()))?;
        let state = Mutex::new(State { text, takes: false });
        Ok(Self { dir: Some(dir), right, state })
    }

    /// Puts in force what was kept, or what the gateway says whose place this one takes.
    pub(crate) fn put_in_force(&self, upstreams: &Upstreams, handed: Option<Vec<Ordered>>) {
        let kept = || parse(&self.state().text).unwrap_or_default();
        order_again(upstreams, &handed.unwrap_or_else(kept));
    }

    /// Takes orders from now on, and keeps what is in force.
    pub(crate) fn begin(&self, upstreams: &Upstreams) {
        let mut state = self.state();
        state.takes = true;
        self.keep(&mut state, upstreams);
    }

    /// Takes no orders any more, as a successor is told now what was ordered.
    pub(crate) fn end(&self) {
        self.state().takes = false;
    }

    /// Keeps what a new configuration has left of them.
    pub(crate) fn settle(&self, upstreams: &Upstreams) {
        self.keep(&mut self.state(), upstreams);
    }

    /// Takes over what another gateway has kept here; what was ordered of this one stays beside.
    pub(crate) fn take_over(&self, upstreams: &Upstreams) {
        let Some(dir) = &self.dir else { return };
        let mut state = self.state();
        match read(dir).and_then(|text| Ok((parse(&text)?, text))) {
            // Nobody has written since.
            Ok((_, text)) if text == state.text => {}
            Ok((mut all, text)) => {
                let is_same = |a: &Ordered, b: &Ordered| {
                    (&a.upstream, &a.endpoint, a.address) == (&b.upstream, &b.endpoint, b.address)
                };
                // What was read here at the start is not this one's own, and may be cleared since.
                let read = parse(&state.text).unwrap_or_default();
                let mut beside = ordered(upstreams);
                beside.retain(|own| !read.contains(own) && !all.iter().any(|b| is_same(own, b)));
                all.extend(beside);
                order_again(upstreams, &all);
                state.text = text;
            }
            Err(why) => {
                tracing::error!("overrides that another gateway has kept are not taken: {why}");
                return;
            }
        }
        self.keep(&mut state, upstreams);
    }

    /// Gives an order to all endpoints that a name stands for: an upstream's, or an endpoint's.
    /// Waits for the disk.
    ///
    /// # Errors
    /// When this process takes none.
    pub(crate) fn order(
        &self,
        upstreams: &Upstreams,
        service: &str,
        order: Override,
    ) -> Result<Steered, Refused> {
        let mut state = self.state();
        if !state.takes {
            let text = "another process is taking over: ask again in a moment";
            return Err(Refused::new(503, "upgrading", text));
        }
        let changed = give(upstreams, service, order);
        // Nothing said is what is known without a directory too.
        let is_to_keep = changed > 0 && (order != Override::None || self.dir.is_some());
        let kept = if is_to_keep { self.write(&mut state, upstreams) } else { Ok(()) };
        Ok(Steered { changed, not_kept: kept.err() })
    }

    fn keep(&self, state: &mut State, upstreams: &Upstreams) {
        if self.dir.is_some()
            && self.right.is_own()
            && let Err(why) = self.write(state, upstreams)
        {
            tracing::error!("overrides are forgotten with the process: {why}");
        }
    }

    fn write(&self, state: &mut State, upstreams: &Upstreams) -> Result<(), String> {
        let Some(dir) = &self.dir else {
            return Err("there is no `admin.state_dir` to keep it in".to_owned());
        };
        if !self.right.is_own() {
            let why = self.right.why_not().map(|why| why.to_string());
            return Err(why.unwrap_or_else(|| "`admin.state_dir` is another gateway's".to_owned()));
        }
        let text = text_of(ordered(upstreams))?;
        if text != state.text {
            let told = |error| format!("{}: {error}", dir.path(FILE).display());
            dir.write(FILE, &text).map_err(told)?;
            state.text = text;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that was ordered and is in force.
pub(crate) fn ordered(upstreams: &Upstreams) -> Vec<Ordered> {
    let mut all: Vec<Ordered> = upstreams.values().flat_map(|one| one.ordered()).collect();
    all.sort_by(|a, b| {
        (&a.upstream, &a.endpoint, a.address).cmp(&(&b.upstream, &b.endpoint, b.address))
    });
    all
}

/// Those that this version understands.
pub(crate) fn understood(all: Vec<Value>) -> Vec<Ordered> {
    let understand = |one: Value| {
        let told = one.to_string();
        serde_json::from_value(one)
            .inspect_err(|error| tracing::warn!(%error, "an override is left out: {told}"))
            .ok()
    };
    all.into_iter().filter_map(understand).collect()
}

fn order_again(upstreams: &Upstreams, all: &[Ordered]) {
    for (name, upstream) in upstreams {
        upstream.order_again(all.iter().filter(|one| one.upstream == *name));
    }
    for gone in all.iter().filter(|one| !upstreams.contains_key(&one.upstream)) {
        gone.dropped();
    }
}

fn give(upstreams: &Upstreams, service: &str, order: Override) -> usize {
    let mut changed = 0;
    for (name, upstream) in upstreams {
        if name == service {
            changed +=
                upstream.names().iter().map(|name| upstream.order(name, order)).sum::<usize>();
        } else {
            changed += upstream.order(service, order);
        }
    }
    changed
}

fn read(dir: &Dir) -> Result<String, String> {
    let text = dir.read(FILE).map_err(|error| format!("{}: {error}", dir.path(FILE).display()))?;
    Ok(text.unwrap_or_default())
}

fn parse(text: &str) -> Result<Vec<Ordered>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let document: Document<Value> =
        serde_json::from_str(text).map_err(|error| format!("this is no list: {error}"))?;
    Ok(understood(document.overrides))
}

fn text_of(overrides: Vec<Ordered>) -> Result<String, String> {
    if overrides.is_empty() {
        return Ok(String::new());
    }
    let text = serde_json::to_string_pretty(&Document { overrides });
    let text = text.map_err(|error| error.to_string())?;
    match text.len() as u64 > MOST_BYTES {
        true => Err("there are too many overrides".to_owned()),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_has_written_is_taken_as_far_as_it_is_understood() {
        let text = r#"{"since": 2, "overrides": [
            {"upstream": "a", "endpoint": "x:1", "override": "drain", "who": "ann"},
            {"upstream": "a", "endpoint": "x:2", "override": "rest"},
            7
        ]}"#;
        let all = parse(text).unwrap();
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.endpoint.as_str(), one.word), ("x:1", Override::Drain));
        assert_eq!(parse(&text_of(all.clone()).unwrap()).unwrap(), all);
        assert!(parse("[broken").is_err());
        assert!(parse("").unwrap().is_empty() && text_of(Vec::new()).unwrap().is_empty());
    }
}
