//! Which pattern wins, which conflict, and what is answered when none fits.

use super::{check, found, router, try_router};
use crate::route::{ConflictKind, Found};
use http::Method;

#[test]
fn the_more_specific_path_wins() {
    check(
        &["/", "/*", "/a", "/a/", "/a/*", "/a/{x}", "/a/b", "/a/{x}/{rest...}", "/f/{p...}"],
        &[
            ("/", "/"),
            ("/zz", "/*"),
            ("/zz/y/", "/*"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a/b", "/a/b"),
            ("/a/c", "/a/{x} [c]"),
            ("/a/c/", "/a/{x}/{rest...} [c] []"),
            ("/a/c/d/e", "/a/{x}/{rest...} [c] [d/e]"),
            ("/f", "/f/{p...} []"),
            ("/f/", "/f/{p...} []"),
            ("/f/g/", "/f/{p...} [g/]"),
        ],
    );
}

#[test]
fn a_trailing_slash_makes_another_path() {
    check(&["/a", "/b/"], &[("/a", "/a"), ("/a/", "404"), ("/b/", "/b/"), ("/b", "404")]);
    check(&["/a/{x}"], &[("/a/", "404"), ("/a/b/", "404"), ("/a", "404")]);
}

#[test]
fn a_final_star_serves_the_bare_path_unless_another_pattern_does() {
    let both = ["/orders/*", "/orders"];
    check(&both, &[("/orders", "/orders"), ("/orders/", "/orders/*"), ("/ordersx", "404")]);
    check(&both[..1], &[("/orders", "/orders/*"), ("/orders/7", "/orders/*")]);
    // Left to right, a literal beats a capture, and the bare path conflicts with nothing.
    check(&["/orders/*", "/{page}"], &[("/orders", "/orders/*"), ("/x", "/{page} [x]")]);
    check(
        &["GET /orders/*", "/orders"],
        &[
            ("/orders", "/orders"),
            ("POST /orders", "/orders"),
            ("POST /orders/1", "405 GET, HEAD, OPTIONS"),
        ],
    );
    check(
        &["/orders/*", "GET /orders"],
        &[("/orders", "GET /orders"), ("POST /orders", "/orders/*")],
    );
}

#[test]
fn a_branch_that_leads_nowhere_is_left_again() {
    check(
        &["/a/b/c", "/a/{x}/d", "/{y}/b/e", "/a/b/{z}/f", "/*"],
        &[
            ("/a/b/c", "/a/b/c"),
            ("/a/b/d", "/a/{x}/d [b]"),
            ("/a/b/e", "/{y}/b/e [a]"),
            ("/a/b/q", "/*"),
            ("/q/b/e", "/{y}/b/e [q]"),
            ("/a/b/c/f", "/a/b/{z}/f [c]"),
            ("/a/b/c/g", "/*"),
        ],
    );
}

#[test]
fn methods_choose_last_and_fall_back() {
    check(
        &["/a/*", "POST /a/b", "GET /a/b", "HEAD /a/b", "DELETE /c", "GET /c", "GET h.x/c"],
        &[
            ("GET /a/b", "GET /a/b"),
            ("HEAD /a/b", "HEAD /a/b"),
            ("POST /a/b", "POST /a/b"),
            ("PUT /a/b", "/a/*"),
            ("HEAD /c", "GET /c"),
            ("PUT /c", "405 DELETE, GET, HEAD, OPTIONS"),
            ("OPTIONS /c", "405 DELETE, GET, HEAD, OPTIONS"),
            ("BREW /c", "405 DELETE, GET, HEAD, OPTIONS"),
            ("DELETE h.x/c", "DELETE /c"),
            ("BREW /a/b", "/a/*"),
            ("PUT /d", "404"),
        ],
    );
}

#[test]
fn a_405_gathers_the_methods_of_all_patterns_that_fit() {
    check(
        &["GET /a/{x}", "PUT /a/b", "DELETE /a/*", "PATCH h.x/a/b", "POST *.x/*"],
        &[
            ("QUERY h.x/a/b", "405 DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
            ("QUERY y/a/b", "405 DELETE, GET, HEAD, OPTIONS, PUT"),
            ("QUERY y/a", "405 DELETE, OPTIONS"),
            ("GET h.x/a/b", "GET /a/{x} [b]"),
        ],
    );
}

#[test]
fn the_more_specific_host_wins() {
    check(
        &["/a", "api.example.com/a", "*.example.com/a", "*.eu.example.com/*", "GET x.y/a"],
        &[
            ("other.com/a", "/a"),
            ("example.com/a", "/a"),
            ("api.example.com/a", "api.example.com/a"),
            ("api.example.com./a", "api.example.com/a"),
            ("www.example.com/a", "*.example.com/a"),
            ("a.b.example.com/a", "*.example.com/a"),
            ("w.eu.example.com/a", "*.eu.example.com/*"),
            ("eu.example.com/a", "*.example.com/a"),
            ("notexample.com/a", "/a"),
            (".example.com/a", "/a"),
            (".x.example.com/a", "*.example.com/a"),
            ("POST x.y/a", "/a"),
            ("/a", "/a"),
            ("[::1]/a", "/a"),
        ],
    );
}

#[test]
fn escapes_compare_by_what_they_stand_for() {
    check(
        &["/a!b", "/gr%C3%B6%C3%9Fe", "/übung", "/x%2Fy", "/x/y", "/%7Eme", "/f/{p}"],
        &[
            ("/a!b", "/a!b"),
            ("/a%21b", "/a!b"),
            ("/gr%C3%B6%C3%9Fe", "/gr%C3%B6%C3%9Fe"),
            ("/%C3%BCbung", "/übung"),
            ("/x%2Fy", "/x%2Fy"),
            ("/x/y", "/x/y"),
            ("/~me", "/%7Eme"),
            ("/f/x%2Fy", "/f/{p} [x%2Fy]"),
        ],
    );
}

#[test]
fn options_for_the_whole_server_tells_all_methods() {
    let some = router(&["GET /a", "h.x/b", "PURGE *.y/c"]);
    let all = "405 DELETE, GET, HEAD, OPTIONS, PATCH, POST, PURGE, PUT";
    assert_eq!(found(&some, "OPTIONS *"), all);
    assert_eq!(found(&some, "GET *"), "404");
    assert_eq!(found(&router(&["PUT /a"]), "OPTIONS *"), "405 OPTIONS, PUT");
    assert_eq!(some.find(&Method::GET, "", "x"), Found::None);
    assert_eq!(some.find(&Method::GET, "", ""), Found::None);
}

#[test]
fn a_route_without_captures_allocates_no_ranges() {
    let Found::Route { ranges, .. } = router(&["/a/*"]).find(&Method::GET, "", "/a/b") else {
        panic!("not found")
    };
    assert_eq!(ranges.capacity(), 0);
}

#[test]
fn paths_deeper_than_any_pattern_end_in_the_rest() {
    let deep = "/a".repeat(3000);
    check(&["/a/{r...}"], &[(&deep, &format!("/a/{{r...}} [{}]", &deep[3..]))]);
    let text = format!("{}/{{last}}", "/{x}".repeat(63));
    let text = (0..63).fold(text, |t, i| t.replacen("{x}", &format!("{{x{i}}}"), 1));
    let path = format!("{}/end", "/v".repeat(63));
    assert!(found(&router(&[&text]), &path).ends_with(" [v] [end]"));
}

#[test]
fn conflicts_name_both_and_give_a_request() {
    use ConflictKind::{Overlap, SameSet};
    #[rustfmt::skip]
    let table = [
        ("/{a}", "/{b}", SameSet, "/x"),
        ("GET /a/*", "GET /a/{rest...}", SameSet, "GET /a/x"),
        ("/%61", "/a", SameSet, "/a"),
        ("/a/{x}", "/{y}/b", Overlap, "/a/b"),
        ("GET /a/*", "/a/b", Overlap, "GET /a/b"),
        ("HEAD /{x}", "GET /a", Overlap, "HEAD /a"),
        ("/a/{x}/*", "/{y}/b", Overlap, ""),
        ("/a/*", "/{y}/b", Overlap, "/a/b"),
        ("GET *.h.com/a/*", "*.h.com/{y}/b/*", Overlap, "GET x.h.com/a/b/x"),
        ("GET h/*", "h/a/", Overlap, "GET h/a/"),
        ("/a/{x}/c/{y}", "/a/b/{z}/d", Overlap, "/a/b/c/d"),
        ("/{x}/*", "GET /{x}/{rest...}", Overlap, ""),
    ];
    for (a, b, kind, example) in table {
        for (first, second) in [(a, b), (b, a)] {
            let built = try_router(&[first, second]);
            if example.is_empty() {
                assert!(built.is_ok(), "{first} and {second}");
                continue;
            }
            let conflicts = built.unwrap_err();
            let [one] = conflicts.as_slice() else { panic!("{conflicts:?}") };
            assert_eq!((one.a, one.b, one.kind), (0, 1, kind), "{one}");
            assert_eq!(one.example, example);
            let told = one.to_string();
            assert!(told.contains(first) && told.contains(second), "{told}");
        }
    }
}

#[test]
fn what_only_looks_like_a_conflict_is_none() {
    let table: &[&[&str]] = &[
        &["GET /a/*", "POST /a/b"],
        &["/a/", "/{x}", "/a"],
        &["h/a/{x}", "/{y}/b"],
        &["*.h/a/{x}", "h/{y}/b", "*.x.h/{y}/b"],
        &["/a/{x}/1", "/{y}/b/2"],
        &["/{tenant}/users", "/health", "/health/live"],
        &["GET /{x}", "/a/*"],
        &["/{a}/b/*", "/x/{b}"],
        &["HEAD /a", "GET /a", "/a"],
    ];
    for patterns in table {
        assert!(try_router(patterns).is_ok(), "{patterns:?}");
    }
}

#[test]
fn no_more_than_a_hundred_conflicts_are_told() {
    let patterns: Vec<String> = (0..2000).map(|i| format!("/{{x{i}}}/*")).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    assert_eq!(try_router(&patterns).unwrap_err().len(), 100);
}

/// Shapes in which comparing each pattern with each other would take minutes in a debug build.
#[test]
fn large_sets_of_every_shape_are_built() {
    let shapes: [fn(usize) -> String; 5] = [
        |i| format!("/service{i}/*"),
        |i| format!("GET /{{tenant}}/kind{i}/{{id}}"),
        |i| if i % 2 == 0 { format!("/{{a}}/x{i}") } else { format!("/y{i}/z{i}") },
        |i| format!("host{i}.example.com/{{a}}/*"),
        |i| format!("/v1/{{a}}/{{b}}/{{c}}/leaf{i}/{{d}}"),
    ];
    for shape in shapes {
        let texts: Vec<String> = (0..10_000).map(shape).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(router(&texts).len(), 10_000);
    }
}

#[test]
fn five_thousand_routes_take_less_than_two_megabytes() {
    let texts: Vec<String> =
        (0..5000).map(|i| format!("GET /service{}/v1/kind{i}/{{id}}/*", i % 50)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let bytes = router(&texts).memory();
    assert!(bytes < 2_000_000, "{bytes}");
}
