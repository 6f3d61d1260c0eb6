//! The normal form of paths, and what has none.

use std::borrow::Cow;

use lockgate_core::reasons;
use proptest::prelude::*;

use crate::route::normalise;

#[test]
fn paths_get_their_normal_form() {
    #[rustfmt::skip]
    let table = [
        ("/", "/"),
        ("/a/b/", "/a/b/"),
        ("//", "/"),
        ("///a///b//", "/a/b/"),
        ("/a/./b", "/a/b"),
        ("/a/b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a/..", "/"),
        ("/a/../b", "/b"),
        ("/a//../b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a/%2E%2e/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/%7euser", "/~user"),
        ("/%61%2D%5f", "/a-_"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2Fb", "/a%2Fb"),
        ("/%c3%bc", "/%C3%BC"),
        ("/100%25", "/100%25"),
        ("/%252e%252e/x", "/%252e%252e/x"),
        ("/a!b", "/a!b"),
        ("/a%21b", "/a%21b"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/.../..x/x..", "/.../..x/x.."),
        ("/a^|b", "/a^|b"),
        ("*", "*"),
    ];
    for (path, expected) in table {
        assert_eq!(normalise(path).unwrap(), expected, "{path}");
    }
}

#[test]
fn what_two_readers_might_read_differently_is_refused() {
    let table = [
        "",
        "a",
        "http://x/",
        "**",
        "/..",
        "/../a",
        "/a/../..",
        "/%2e%2e",
        "/a/../../b",
        "/%",
        "/%2",
        "/%zz",
        "/%2g/",
        "/a%00",
        "/a\\b",
        "/a%5cb",
        "/a%5Cb",
        "/ü",
        "/a b",
        "/a\tb",
        "/a\x7f",
        "/a\r\nb",
        "/a?b",
        "/a#b",
        "/..;/b",
        "/a/..;x=1/b",
        "/a/.;/b",
        "/a/..%3b/b",
        "/..%2fa",
        "/a%2F..",
        "/a%2f..%2fb",
        "/a/.%2Fb",
        "/%2e%2e;/b",
        "/a%2F..;x",
        "/a%2f.%2fb",
    ];
    for path in table {
        let fault = normalise(path).expect_err(path);
        assert_eq!(fault.reason(), &reasons::BAD_TARGET, "{path}");
        assert!(!fault.story().is_empty());
    }
}

#[test]
fn normal_paths_are_not_copied() {
    for path in ["/", "/a/b", "/a/", "/.well-known/x", "/a%20b", "/%C3%BC/..x", "/a/.x", "*"] {
        assert!(matches!(normalise(path).unwrap(), Cow::Borrowed(_)), "{path}");
    }
}

/// What a careless service makes of a path: it decodes all of it, takes a backslash for a slash,
/// and cuts off parameters.
fn careless(path: &str) -> Vec<Vec<u8>> {
    let bytes = super::super::escape::decode(path.as_bytes()).into_owned();
    let segments = bytes.split(|byte| matches!(byte, b'/' | b'\\'));
    segments.map(|s| s.split(|byte| *byte == b';').next().unwrap().to_vec()).collect()
}

proptest! {
    #[test]
    fn any_text_is_normalised_or_refused(path in ".{0,60}") {
        let _ = normalise(&path);
    }

    #[test]
    fn the_normal_form_is_final_and_has_nothing_to_resolve(
        path in "(/|%2[fFeE5]|%5[cC]|%3[bB]|%00|\\.|;|[ab~]|%[46][1c]|\\\\){0,14}",
    ) {
        let path = format!("/{path}");
        let Ok(normal) = normalise(&path) else { return Ok(()) };
        prop_assert_eq!(&normalise(&normal).unwrap(), &normal);
        prop_assert!(normal.starts_with('/') && !normal.contains("//"), "{}", normal);
        for segment in careless(&normal) {
            prop_assert!(segment != b"." && segment != b"..", "{} -> {}", path, normal);
        }
    }

    #[test]
    fn an_escaped_letter_is_the_letter(
        letters in prop::collection::vec(("[a-zA-Z0-9._~/-]", 0..3u8), 0..20),
    ) {
        let plain: String = letters.iter().map(|(letter, _)| letter.as_str()).collect();
        let escaped: String = letters
            .iter()
            .map(|(letter, how)| match (letter.as_bytes()[0], how) {
                (b'/', _) | (_, 0) => letter.clone(),
                (byte, 1) => format!("%{byte:02x}"),
                (byte, _) => format!("%{byte:02X}"),
            })
            .collect();
        let (plain, escaped) = (format!("/{plain}"), format!("/{escaped}"));
        prop_assert_eq!(normalise(&plain).ok(), normalise(&escaped).ok());
    }
}
