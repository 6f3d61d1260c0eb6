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
    snapshot.explain(asked, &locate, live)
}
