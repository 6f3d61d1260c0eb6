//! What cases cannot say: how a target reads and writes itself, whatever it is made of.

use super::target::Target;

#[test]
fn a_target_is_described_as_it_was_written() {
    for text in ["/a", "/a/{id}{query}", "https://x.example{path}{query}", "{path}{query}"] {
        let target = Target::parse(text, "GET /b/{id}").unwrap();
        assert_eq!(target.to_string(), text);
    }
    assert_eq!(Target::https(443).to_string(), "https://{host}{path}{query}");
    assert_eq!(Target::https(8443).to_string(), "https://{host}:8443{path}{query}");
}

#[test]
fn hosts_that_a_browser_reads_otherwise_are_refused() {
    for text in [
        "https://",
        "https:///x",
        "https://:80/",
        "https://a@b/",
        "https:/a",
        "https:\\\\a",
        "/\\a",
        "HTTPS://{id}",
        "https://a{id}.example/",
        "https://{query}",
        "",
        "{query}",
        "{id}/x",
        "http://{path}",
    ] {
        assert!(Target::parse(text, "/b/{id}").is_err(), "{text}");
    }
}

#[test]
fn only_named_captures_can_be_used() {
    assert!(Target::parse("/new/{rest}", "/old/{rest...}").is_ok());
    assert!(Target::parse("/new/{*}", "/old/*").is_err());
}
