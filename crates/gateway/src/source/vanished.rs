//! What a source must not do by an accident: lose its routes. Part of it may have vanished, a file
//! or a key, and what is left can be read; but an empty table answers every request with 404.

use lockgate_config::{Problem, Report, Severity, Source};

use crate::gateway::Checked;

/// Most files that are named.
const MOST_NAMED: usize = 3;

/// Refuses what has nothing in it: a file that is about to be written in place, or was emptied.
pub(super) fn not_blank(checked: Checked) -> Result<Checked, Report> {
    let source = &checked.loaded.source;
    if source.is_blank() {
        let report = Report::unreadable(source.name(), "there is nothing in it (any more, or yet)");
        return Err(report.with_files(checked.loaded.files));
    }
    Ok(checked)
}

/// Refuses what has no routes any more, and does not say that none are meant. `before`: where those
/// stand that are in force, or were. Changes over the files are left out: who takes the last route
/// away by the admin interface means it.
pub(super) fn not_routeless(checked: Checked, before: Option<&Source>) -> Result<Checked, Report> {
    match before.and_then(|before| lost(&checked.loaded.source, before)) {
        Some(problem) => Err(Report::new(vec![problem]).with_files(checked.loaded.files)),
        None => Ok(checked),
    }
}

/// Refuses an empty table in place of what a gateway serves that is to be succeeded, unless it is
/// said that none are meant.
pub(super) fn not_empty(checked: Checked) -> Result<Checked, Report> {
    if !checked.loaded.document.routes.is_empty() || !says_nothing_of_routes(&checked) {
        return Ok(checked);
    }
    let name = checked.loaded.source.name();
    let found = problem(name, &format!("`{name}` has no routes, and a gateway serves already"));
    Err(Report::new(vec![found]).with_files(checked.loaded.files))
}

/// Whether it has no routes, and does not say that none are meant.
pub(super) fn says_nothing_of_routes(checked: &Checked) -> bool {
    checked.loaded.source.routes_stand_in().is_none()
}

fn lost(source: &Source, before: &Source) -> Option<Problem> {
    if source.routes_stand_in().is_some() {
        return None;
    }
    let stood = before.routes_stand_in().filter(|files| !files.is_empty())?;
    let mut files: Vec<String> =
        stood.iter().take(MOST_NAMED).map(|file| format!("`{file}`")).collect();
    match stood.len().saturating_sub(MOST_NAMED) {
        0 => {}
        more => files.push(format!("{more} more")),
    }
    let (name, files) = (source.name(), files.join(", "));
    Some(problem(name, &format!("`{name}` has no routes any more: they stood in {files}")))
}

fn problem(name: &str, what: &str) -> Problem {
    let message = format!(
        "{what}. Put back what has vanished, or write `routes: {{}}` if it is to have none"
    );
    let (severity, file) = (Severity::Error, name.into());
    let (line, column, width) = (0, 0, 0);
    Problem { severity, file, line, column, width, message, help: None, excerpt: None }
}
