//! Just enough of the route patterns to give a case its captures. The real rules are the router's:
//! this refuses to judge which of several patterns is the most specific.

use http::uri::PathAndQuery;
use lockgate_core::Captures;

/// The captures of `path` by the pattern's path, or `None` when it does not match.
pub(super) fn captures(pattern: &str, target: &PathAndQuery) -> Option<Captures> {
    let path = target.path();
    let pattern = pattern.get(pattern.find('/')?..)?;
    let (mut names, mut ranges): (Vec<Box<str>>, _) = (Vec::new(), Vec::new());
    let mut at = 0;
    for part in pattern.split_inclusive('/') {
        let word = part.trim_end_matches('/');
        if let Some(name) = rest_name(word) {
            names.push(name.into());
            ranges.push((u32::try_from(at).ok()?, u32::try_from(path.len()).ok()?));
            return Some(Captures::new(names.into(), ranges, target.clone()));
        }
        let rest = path.get(at..)?;
        if let Some(name) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            let len = rest.find('/').unwrap_or(rest.len());
            names.push(name.into());
            ranges.push((u32::try_from(at).ok()?, u32::try_from(at + len).ok()?));
            at += len + (part.len() - word.len());
        } else if rest.starts_with(part) {
            at += part.len();
        } else {
            return None;
        }
    }
    (at == path.len()).then(|| Captures::new(names.into(), ranges, target.clone()))
}

fn rest_name(word: &str) -> Option<&str> {
    if word == "*" {
        return Some("");
    }
    word.strip_prefix('{')?.strip_suffix("...}")
}

#[test]
fn captures_are_cut_out_of_the_path() {
    let get = |pattern: &str, path: &'static str, name: &str| {
        let found = captures(pattern, &PathAndQuery::from_static(path));
        found.map(|captures| captures.get(name).unwrap_or("none").to_owned())
    };
    assert_eq!(get("GET /a/{id}", "/a/7?x", "id").as_deref(), Some("7"));
    assert_eq!(get("/a/{id}/b", "/a/7/b", "id").as_deref(), Some("7"));
    assert_eq!(get("h.example/a/{r...}", "/a/b/c", "r").as_deref(), Some("b/c"));
    assert_eq!(get("/*", "/b/c", "*").as_deref(), Some("none"));
    assert_eq!(get("/a/{id}", "/b/7", "id"), None);
    assert_eq!(get("/a/{id}", "/a/7/8", "id"), None);
}
