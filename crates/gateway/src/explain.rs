//! `explain`, with the places of the configuration in force.

use lockgate_config::Source;
use lockgate_proxy::{Asked, Explanation, Snapshot};

/// Explains a request. `live`: this process serves the snapshot.
pub(crate) fn explain(
    snapshot: &Snapshot,
    source: &Source,
    asked: &Asked,
    live: bool,
) -> Explanation {
    let locate =
        |path: &[&str]| source.locate(path).map(|place| format!("{}:{}", place.file, place.line));
    hidden(source, snapshot.explain(asked, &locate, live))
}

/// Tells what holds for the routes under a pattern.
pub(crate) fn explain_pattern(
    snapshot: &Snapshot,
    source: &Source,
    pattern: &str,
) -> Vec<Explanation> {
    let locate =
        |path: &[&str]| source.locate(path).map(|place| format!("{}:{}", place.file, place.line));
    let told = snapshot.explain_pattern(pattern, &locate).into_iter();
    told.map(|one| hidden(source, one)).collect()
}

/// Without what references stand for.
fn hidden(source: &Source, mut told: Explanation) -> Explanation {
    let hide = |text: &mut String| *text = source.without_secrets(std::mem::take(text));
    told.candidates.iter_mut().for_each(|one| hide(&mut one.verdict));
    told.policies.iter_mut().for_each(|one| hide(&mut one.values));
    told.rewrite.iter_mut().chain(&mut told.target).chain(&mut told.answer).for_each(hide);
    told
}
