//! Tests of the router: tables for what the reference page promises, and a slow, simple matcher
//! that the fast one must agree with.

mod condition;
mod explain;
mod normalise;
mod pattern;
mod reference;
mod router;

use http::Method;

use super::{Found, Pattern, Router};

fn router(patterns: &[&str]) -> Router {
    try_router(patterns).unwrap_or_else(|conflicts| panic!("{conflicts:?}"))
}

fn try_router(patterns: &[&str]) -> Result<Router, Vec<super::Conflict>> {
    let parse = |(index, text): (usize, &&str)| (text.parse::<Pattern>().unwrap(), index);
    Router::build(patterns.iter().enumerate().map(parse).collect())
}

/// A request such as `GET host/path`, or `/path` for GET on no host that any pattern names.
fn request(text: &str) -> (Method, &str, &str) {
    let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
    let (host, path) = target.split_at(target.find(['/', '*']).unwrap());
    (method.parse().unwrap(), host, path)
}

/// What a request finds, in words: the pattern and its captures, `405 ALLOW`, or `404`.
fn found(router: &Router, text: &str) -> String {
    let (method, host, path) = request(text);
    match router.find(&method, host, path) {
        Found::Route { index, ranges } => {
            let mut out = router.entries[index].text.to_string();
            for (from, to) in ranges {
                out.push_str(&format!(" [{}]", &path[from as usize..to as usize]));
            }
            out
        }
        Found::MethodNotAllowed { allow } => format!("405 {allow}"),
        Found::None => "404".into(),
    }
}

/// Checks lines of `REQUEST -> what it finds`.
fn check(patterns: &[&str], lines: &[(&str, &str)]) {
    let router = router(patterns);
    for (asked, expected) in lines {
        assert_eq!(found(&router, asked), *expected, "{asked}");
    }
}
