//! What is told of the patterns that won, lost or nearly fitted.

use proptest::prelude::*;

use super::{request, router};
use crate::route::{Candidate, Router, Verdict};

fn explain(router: &Router, asked: &str) -> Vec<Candidate> {
    let (method, host, path) = request(asked);
    router.explain(&method, host, path)
}

fn verdicts(router: &Router, asked: &str) -> Vec<(String, Verdict)> {
    let told = explain(router, asked).into_iter();
    told.map(|candidate| (candidate.pattern.to_string(), candidate.verdict)).collect()
}

#[test]
fn the_winner_comes_first_then_what_it_beat_then_what_missed() {
    let router = router(&[
        "/*",
        "/orders/{id}",
        "api.example.com/orders/7",
        "POST /orders/7",
        "other.com/orders/*",
        "/order/{id}",
        "/completely/different/{id}/thing",
    ]);
    let than = std::sync::Arc::<str>::from("api.example.com/orders/7");
    let lost = |than: &std::sync::Arc<str>| Verdict::LessSpecific { than: than.clone() };
    assert_eq!(
        verdicts(&router, "GET api.example.com/orders/7"),
        [
            ("api.example.com/orders/7".into(), Verdict::Matched),
            ("/orders/{id}".into(), lost(&than)),
            ("/*".into(), lost(&than)),
            ("POST /orders/7".into(), Verdict::Method { takes: "POST" }),
            ("other.com/orders/*".into(), Verdict::Host { takes: "other.com".into() }),
            (
                "/order/{id}".into(),
                Verdict::Path {
                    segment: 1,
                    wants: Some("order".into()),
                    has: Some("orders".into()),
                },
            ),
        ]
    );
    let indices: Vec<usize> =
        explain(&router, "GET api.example.com/orders/7").iter().map(|c| c.index).collect();
    assert_eq!(indices, [2, 1, 0, 3, 4, 5]);
}

#[test]
fn a_miss_says_at_which_segment() {
    let router = router(&["/users/{id}/posts", "/users/{id}", "/zzz"]);
    let path = |asked: &str| verdicts(&router, asked).remove(0);
    let miss = |segment, wants: Option<&str>, has: Option<&str>| Verdict::Path {
        segment,
        wants: wants.map(Into::into),
        has: has.map(Into::into),
    };
    let cases = [
        ("/usres/7", "/users/{id}", miss(1, Some("users"), Some("usres"))),
        ("/users/7/post", "/users/{id}/posts", miss(3, Some("posts"), Some("post"))),
        ("/users", "/users/{id}", miss(2, Some("{id}"), None)),
        ("/users/", "/users/{id}", miss(2, Some("{id}"), Some(""))),
        ("/users/7/", "/users/{id}", miss(3, None, Some(""))),
    ];
    for (asked, pattern, verdict) in cases {
        assert_eq!(path(asked), (pattern.to_owned(), verdict), "{asked}");
    }
}

#[test]
fn what_is_told_is_bounded() {
    let texts: Vec<String> = (0..500).map(|i| format!("/users{i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(explain(&router(&texts), "/user").len(), 4);
    let texts: Vec<String> = (0..500).map(|i| format!("h{i}.x/a")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(explain(&router(&texts), "/a").len(), 10);
}

proptest! {
    #[test]
    fn any_request_is_explained(host in "[a-z.]{0,8}", path in ".{0,40}") {
        let router = router(&["/*", "GET /a/{x}", "*.x/a/{r...}", "a.b/c%2Fd"]);
        let told = router.explain(&http::Method::GET, &host, &path);
        prop_assert!(told.len() <= 10);
        let found = matches!(
            router.find(&http::Method::GET, &host, &path),
            crate::route::Found::Route { .. }
        );
        let matched = told.iter().filter(|c| c.verdict == Verdict::Matched).count();
        prop_assert_eq!(matched, usize::from(found));
    }
}
