//! What a pattern may say, and what the errors say.

use proptest::prelude::*;

use crate::route::{Host, Pattern};

#[test]
fn the_parts_are_read() {
    let pattern: Pattern = "POST *.Example.com/accounts/{id}/files/{rest...}".parse().unwrap();
    assert_eq!(pattern.method(), Some("POST"));
    assert_eq!(*pattern.host(), Host::Under("example.com".into()));
    let names: Vec<String> = pattern.captures().iter().map(|name| name.to_string()).collect();
    assert_eq!(names, ["id", "rest"]);
    assert_eq!(&**pattern.text(), "POST *.Example.com/accounts/{id}/files/{rest...}");

    let plain: Pattern = "/".parse().unwrap();
    assert_eq!((plain.method(), plain.host(), plain.captures().len()), (None, &Host::Any, 0));
    let six: Pattern = "GET \t [::1]/x".parse().unwrap();
    assert_eq!(*six.host(), Host::Exact("[::1]".into()));
}

#[test]
fn each_error_says_where_and_what_to_do() {
    #[rustfmt::skip]
    let table = [
        ("", 0, "add `/*`"),
        ("users", 0, "add `/*`"),
        ("GET users", 4, "add `/*`"),
        (" /x", 0, "remove it"),
        ("GTE /x", 0, "did you mean `GET`?"),
        ("get /x", 0, "did you mean `GET`?"),
        ("FETCHALL /x", 0, "leave the method out"),
        ("/a b", 2, "%20"),
        ("GET /a b", 6, "percent-encoded"),
        ("GET example.com:80/x", 15, "no port"),
        ("*/x", 0, "leave the host out"),
        ("a.*.com/x", 2, "leave the host out"),
        ("*.*.com/x", 2, "leave the host out"),
        ("{tenant}.example.com/x", 0, "`*.example.com`"),
        ("a..b/x", 2, "remove the dot"),
        ("a.b./x", 4, "remove the dot"),
        ("*./x", 2, "remove the dot"),
        ("münchen.de/x", 1, "`xn--`"),
        ("[::1/x", 0, "close it with `]`"),
        ("[::1]:80/x", 0, "leave out the port"),
        ("ex@mple/x", 2, "remove it"),
        ("/a//b", 3, "remove one"),
        ("//", 1, "remove one"),
        ("/a/./b", 3, "dot segment"),
        ("/a/%2E%2e", 3, "dot segment"),
        ("/a/..;x/b", 3, "dot segment"),
        ("/a/x%2f../b", 3, "dot segment"),
        ("/a/%zz", 3, "%25"),
        ("/a/b%2", 4, "%25"),
        ("/a/%00", 3, "never matches"),
        ("/a/%5c", 3, "never matches"),
        ("/a\\b", 2, "never matches"),
        ("/a?b=c", 2, "when: { query: .. }"),
        ("/a#b", 2, "%23"),
        ("/a/*/b", 3, "{name}"),
        ("/a*", 2, "%2A"),
        ("/a/**", 3, "%2A"),
        ("/a/{id", 3, "not balanced"),
        ("/a/id}", 5, "not balanced"),
        ("/a/{{id}}", 3, "whole segment"),
        ("/a/x{id}", 4, "whole segment"),
        ("/a/{id}.json", 3, "whole segment"),
        ("/a/{}", 4, "letters, digits"),
        ("/a/{1st}", 4, "letters, digits"),
        ("/a/{order-id}", 9, "letters, digits"),
        ("/a/{...}", 4, "letters, digits"),
        ("/a/{$}", 3, "leave out `{$}`"),
        ("/{id}/{id}", 7, "twice"),
        ("/{rest...}/x", 1, "must come last"),
        ("/{rest...}/", 1, "must come last"),
    ];
    for (text, at, advice) in table {
        let error = text.parse::<Pattern>().unwrap_err();
        assert!(error.what.contains(advice), "{text}: {error}");
        assert_eq!(error.at, at, "{text}: {error}");
    }
}

#[test]
fn lengths_are_limited() {
    let segments = |count: usize| "/x".repeat(count).parse::<Pattern>();
    assert!(segments(64).is_ok());
    assert!(segments(65).unwrap_err().what.contains("64 segments"));
    assert!(format!("/{}", "x".repeat(5000)).parse::<Pattern>().is_err());
    assert!(format!("{}.com/x", "a".repeat(64)).parse::<Pattern>().is_err());
    assert!(format!("{}com/x", "a.".repeat(130)).parse::<Pattern>().is_err());
}

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_refused(text in ".{0,80}") {
        if let Err(error) = text.parse::<Pattern>() {
            prop_assert!(error.at <= text.len());
        }
    }

    #[test]
    fn odd_mixtures_are_read_or_refused(
        text in "(GET |A )?[a-c*.:\\[\\]]{0,4}(/[a%2fF.;{}*$]{0,5}){0,4}",
    ) {
        if let Ok(pattern) = text.parse::<Pattern>() {
            prop_assert!(pattern.captures().len() <= 64);
            prop_assert_eq!(&**pattern.text(), text);
        }
    }
}
