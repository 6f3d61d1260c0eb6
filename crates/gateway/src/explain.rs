//! `explain`, with the places of the configuration in force.

use lockgate_config::Folded;
use lockgate_proxy::{Asked, Explanation, Snapshot};

/// Explains a request. `live`: this process serves the snapshot.
pub(crate) fn explain(
    snapshot: &Snapshot,
    source: &Folded,
    asked: &Asked,
    live: bool,
) -> Explanation {
    let places = source.unfold();
    let locate =
        |path: &[&str]| places.locate(path).map(|place| format!("{}:{}", place.file, place.line));
    hidden(source, snapshot.explain(asked, &locate, live))
}

/// Tells what holds for the routes under a pattern.
pub(crate) fn explain_pattern(
    snapshot: &Snapshot,
    source: &Folded,
    pattern: &str,
) -> Vec<Explanation> {
    let places = source.unfold();
    let locate =
        |path: &[&str]| places.locate(path).map(|place| format!("{}:{}", place.file, place.line));
    let told = snapshot.explain_pattern(pattern, &locate).into_iter();
    told.map(|one| hidden(source, one)).collect()
}

/// Without what references stand for.
fn hidden(source: &Folded, mut told: Explanation) -> Explanation {
    let hide = |text: &mut String| *text = source.without_secrets(std::mem::take(text));
    told.candidates.iter_mut().for_each(|one| hide(&mut one.verdict));
    told.policies.iter_mut().for_each(|one| hide(&mut one.values));
    told.rewrite.iter_mut().chain(&mut told.target).chain(&mut told.answer).for_each(hide);
    told
}
