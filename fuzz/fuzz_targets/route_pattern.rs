//! Patterns, one a line, and a request's host and path on the last: whatever they are, nothing
//! panics, a path's normal form is final, and `explain` agrees with `find`.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use lockgate_proxy::route::{Found, Pattern, Router, Verdict, normalise};

fuzz_target!(|text: &str| {
    let (patterns, target) = text.rsplit_once('\n').unwrap_or(("", text));
    let mut parsed: Vec<(Pattern, usize)> = Vec::new();
    for (index, line) in patterns.lines().take(64).enumerate() {
        match line.parse::<Pattern>() {
            Ok(pattern) => parsed.push((pattern, index)),
            Err(error) => assert!(error.at <= line.len()),
        }
    }
    let (host, path) = target.split_at(target.find('/').unwrap_or(0));
    let Ok(path) = normalise(path) else { return };
    assert_eq!(normalise(&path).ok().as_deref(), Some(&*path));
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
    let Ok(router) = Router::build(parsed) else { return };
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
        let told = router.explain(&method, host, &path);
        let matched = told.iter().find(|one| one.verdict == Verdict::Matched);
        match router.find(&method, host, &path) {
            Found::Route { index, ranges } => {
                assert_eq!(matched.map(|one| one.index), Some(index));
                for (from, to) in ranges {
                    assert!(path.get(from as usize..to as usize).is_some());
                }
            }
            _ => assert!(matched.is_none()),
        }
    }
});
