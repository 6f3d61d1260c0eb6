//! The router against a matcher that is slow, simple and written from the reference page: it
//! holds every request of a small world against every pattern, and judges conflicts by comparing
//! the sets of requests themselves.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use http::Method;
use proptest::prelude::*;

use crate::route::{ConflictKind, Found, Pattern, Router};

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PUT"];
const HOSTS: [&str; 5] = ["h.x", "g.x", "f.g.x", "x", "o"];

/// A pattern as its parts, told apart without the parser under test.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    method: &'static str,
    host: &'static str,
    segments: Vec<&'static str>,
    open: bool,
}

impl Plain {
    fn text(&self) -> String {
        let gap = if self.method.is_empty() { "" } else { " " };
        let mut text = format!("{}{gap}{}", self.method, self.host);
        for (place, segment) in self.segments.iter().enumerate() {
            let segment =
                if *segment == "{}" { format!("{{c{place}}}") } else { segment.to_string() };
            text.push_str(&format!("/{segment}"));
        }
        text + if self.open { "/*" } else { "" }
    }

    fn takes_method(&self, asked: &str) -> bool {
        self.method.is_empty() || self.method == asked || (self.method == "GET" && asked == "HEAD")
    }

    fn takes_host(&self, host: &str) -> bool {
        match self.host.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => self.host.is_empty() || self.host == host,
        }
    }

    /// `bare`: whether `/a/*` takes `/a` too.
    fn takes_path(&self, path: &str, bare: bool) -> bool {
        let path: Vec<&str> = path.split('/').skip(1).collect();
        let count = self.segments.len();
        let long_enough = match self.open {
            false => path.len() == count,
            true => path.len() > count || (bare && path.len() == count),
        };
        long_enough
            && self.segments.iter().zip(&path).all(|(want, has)| match *want {
                "{}" => !has.is_empty(),
                text => text == *has,
            })
    }

    /// The requests it takes, without the bare path of a rest.
    fn set(&self, paths: &[String]) -> BTreeSet<(usize, usize)> {
        let mut set = BTreeSet::new();
        for (m, method) in METHODS.iter().enumerate() {
            for (p, path) in paths.iter().enumerate() {
                if self.takes_method(method) && self.takes_path(path, false) {
                    set.insert((m, p));
                }
            }
        }
        set
    }

    /// Which of two that both take a request is chosen.
    fn compare(&self, other: &Self) -> Ordering {
        let host = |plain: &Self| match plain.host {
            "" => 1000,
            host if host.starts_with('*') => 100 - host.len(),
            _ => 0,
        };
        let shape = |plain: &Self| -> Vec<u8> {
            let segments = plain.segments.iter().map(|s| if *s == "{}" { 1 } else { 0 });
            segments.chain([if plain.open { 3 } else { 2 }]).collect()
        };
        let method = |plain: &Self| match plain.method {
            "HEAD" => 0,
            "" => 2,
            _ => 1,
        };
        (host(self), shape(self), method(self)).cmp(&(host(other), shape(other), method(other)))
    }
}

/// Every path over three letters, one of which no pattern has, to four segments.
fn world() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut from = 0;
    for _ in 0..4 {
        let until = paths.len();
        for at in from..until {
            for letter in ["a", "b", "z"] {
                let longer = format!("{}/{letter}", paths[at]);
                paths.push(longer);
            }
        }
        from = until;
    }
    let slashed: Vec<String> = paths.iter().map(|path| format!("{path}/")).collect();
    paths.remove(0);
    paths.extend(slashed);
    paths
}

fn plain() -> impl Strategy<Value = Plain> {
    let method = prop::sample::select(vec!["", "", "", "GET", "HEAD", "POST"]);
    let host = prop::sample::select(vec!["", "", "", "h.x", "*.x", "*.g.x"]);
    let segment = prop::sample::select(vec!["a", "a", "b", "{}"]);
    (method, host, prop::collection::vec(segment, 0..4), 0..3u8).prop_map(
        |(method, host, mut segments, end)| {
            if end == 1 || (end == 0 && segments.is_empty()) {
                segments.push("");
            }
            Plain { method, host, segments, open: end == 2 }
        },
    )
}

fn build(plains: &[Plain]) -> Result<Router, Vec<crate::route::Conflict>> {
    let parse = |(index, plain): (usize, &Plain)| (plain.text().parse::<Pattern>().unwrap(), index);
    Router::build(plains.iter().enumerate().map(parse).collect())
}

fn conflict(a: &BTreeSet<(usize, usize)>, b: &BTreeSet<(usize, usize)>) -> Option<ConflictKind> {
    if a == b {
        return Some(ConflictKind::SameSet);
    }
    let settled = a.is_disjoint(b) || a.is_subset(b) || b.is_subset(a);
    (!settled).then_some(ConflictKind::Overlap)
}

fn check_conflicts(plains: &[Plain], paths: &[String]) -> Result<(), TestCaseError> {
    let sets: Vec<_> = plains.iter().map(|plain| plain.set(paths)).collect();
    let mut expected = Vec::new();
    for a in 0..plains.len() {
        for b in a + 1..plains.len() {
            if plains[a].host == plains[b].host
                && let Some(kind) = conflict(&sets[a], &sets[b])
            {
                expected.push((a, b, kind));
            }
        }
    }
    let told = build(plains).err().unwrap_or_default();
    let got: Vec<_> = told.iter().map(|one| (one.a, one.b, one.kind)).collect();
    prop_assert_eq!(got, expected);
    for one in &told {
        let example = if one.example.contains(' ') {
            one.example.clone()
        } else {
            format!("PUT {}", one.example)
        };
        let (method, host, path) = super::request(&example);
        for plain in [&plains[one.a], &plains[one.b]] {
            let takes = plain.takes_method(method.as_str())
                && plain.takes_host(host)
                && plain.takes_path(path, false);
            prop_assert!(takes, "{} and {}", plain.text(), one.example);
        }
    }
    Ok(())
}

fn check_lookups(plains: &[Plain], paths: &[String]) -> Result<(), TestCaseError> {
    let router = build(plains).unwrap();
    for host in HOSTS {
        for path in paths {
            let fits: Vec<&Plain> = plains
                .iter()
                .filter(|plain| plain.takes_host(host) && plain.takes_path(path, true))
                .collect();
            for method in METHODS {
                let best = fits
                    .iter()
                    .filter(|plain| plain.takes_method(method))
                    .min_by(|a, b| a.compare(b));
                let found = router.find(&method.parse::<Method>().unwrap(), host, path);
                match (best, found) {
                    (Some(best), Found::Route { index, .. }) => {
                        prop_assert_eq!(&plains[index], *best, "{} {}{}", method, host, path);
                    }
                    (None, Found::MethodNotAllowed { allow }) => {
                        let mut expected: BTreeSet<&str> = fits.iter().map(|p| p.method).collect();
                        prop_assert!(!expected.is_empty());
                        if expected.contains("GET") {
                            expected.insert("HEAD");
                        }
                        expected.insert("OPTIONS");
                        let allow: BTreeSet<&str> = allow.split(", ").collect();
                        prop_assert_eq!(allow, expected, "{} {}{}", method, host, path);
                    }
                    (None, Found::None) => prop_assert!(fits.is_empty()),
                    (best, found) => {
                        prop_assert!(false, "{method} {host}{path}: {best:?}, {found:?}");
                    }
                }
            }
        }
    }
    Ok(())
}

/// Leaves out every pattern that conflicts with one before it.
fn without_conflicts(plains: Vec<Plain>, paths: &[String]) -> Vec<Plain> {
    let mut kept: Vec<(Plain, BTreeSet<(usize, usize)>)> = Vec::new();
    for plain in plains {
        let set = plain.set(paths);
        let clash = kept.iter().any(|(p, s)| p.host == plain.host && conflict(s, &set).is_some());
        if !clash {
            kept.push((plain, set));
        }
    }
    kept.into_iter().map(|(plain, _)| plain).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn conflicts_are_those_of_the_sets(plains in prop::collection::vec(plain(), 1..9)) {
        check_conflicts(&plains, &world())?;
    }

    #[test]
    fn lookups_find_what_the_slow_matcher_finds(plains in prop::collection::vec(plain(), 1..24)) {
        let paths = world();
        let plains = without_conflicts(plains, &paths);
        check_lookups(&plains, &paths)?;
    }
}
