//! What differs between two texts, line by line, in the unified form that `diff -u` has.

use similar::TextDiff;

/// Lines around each difference.
const AROUND: usize = 3;
/// How long the shortest difference is looked for; after that any will do.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);

/// The difference; empty when there is none.
pub(crate) fn unified(before: &str, after: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, after);
    diff.unified_diff().context_radius(AROUND).header(old, new).to_string()
}
