//! What `when` holds, and which part it names when it does not.

use http::Request;
use http::request::Parts;
use indexmap::IndexMap;
use lockgate_config::model::{self, Match};
use lockgate_core::Seen;
use proptest::prelude::*;

use crate::route::Condition;

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn seen(head: &Parts) -> Seen<'_> {
    Seen {
        head,
        host: "api.test",
        secure: true,
        ip: "192.0.2.1".parse().unwrap(),
        consumer: None,
        route: None,
        captures: None,
    }
}

fn one(name: &str, wanted: Match) -> IndexMap<String, Match> {
    IndexMap::from([(name.to_owned(), wanted)])
}

fn header(wanted: Match) -> Condition {
    let header = one("x-version", wanted);
    Condition::new(&model::Condition { header, ..Default::default() }).unwrap()
}

fn query(name: &str, wanted: Match) -> Condition {
    let query = one(name, wanted);
    Condition::new(&model::Condition { query, ..Default::default() }).unwrap()
}

fn cookie(wanted: Match) -> Condition {
    let cookie = one("beta", wanted);
    Condition::new(&model::Condition { cookie, ..Default::default() }).unwrap()
}

fn told(condition: &Condition, head: &Parts) -> String {
    condition.holds(&seen(head)).map_or_else(ToString::to_string, |()| "holds".into())
}

#[test]
fn each_match_holds_and_says_why_not() {
    let has = |value| head("/", &[("x-version", value), ("x-version", "other")]);
    let without = head("/", &[]);
    let table = [
        (Match::Present, "2", None, Some("header x-version is missing")),
        (Match::Absent, "2", Some("header x-version is there"), None),
        (Match::Exact("2".into()), "2", None, Some("header x-version is not `2`")),
        (Match::Exact("2".into()), "22", Some("header x-version is not `2`"), None),
        (
            Match::Prefix("v2.".into()),
            "v2.7",
            None,
            Some("header x-version does not begin with `v2.`"),
        ),
        (
            Match::Prefix("v2.".into()),
            "v3",
            Some("header x-version does not begin with `v2.`"),
            None,
        ),
        (Match::Regex("2|3".into()), "3", None, Some("header x-version does not match `2|3`")),
        (Match::Regex("2|3".into()), "23", Some("header x-version does not match `2|3`"), None),
        (Match::Regex("(?i)V\\d".into()), "v7", None, None),
    ];
    for (wanted, value, failed, missing) in table {
        let condition = header(wanted.clone());
        assert_eq!(told(&condition, &has(value)), failed.unwrap_or("holds"), "{wanted:?}");
        if let Some(missing) = missing {
            assert_eq!(told(&condition, &without), missing, "{wanted:?}");
        }
    }
}

#[test]
fn a_query_is_compared_decoded_and_by_its_first_value() {
    let exact = |text: &str| Match::Exact(text.into());
    let fits = |name, wanted, uri| query(name, wanted).holds(&seen(&head(uri, &[]))).is_ok();
    assert!(fits("a", exact("b c"), "/?a=b%20c"));
    assert!(fits("a", exact("b c"), "/?a=b+c&a=other"));
    assert!(!fits("a", exact("b c"), "/?a=other&a=b+c"));
    assert!(fits("a b", exact("ü"), "/?x=1&%61%20b=%C3%BC"));
    assert!(fits("a", exact(""), "/?a"));
    assert!(fits("a", exact("%zz"), "/?a=%zz"));
    assert!(fits("a", Match::Present, "/?a"));
    assert!(!fits("a", Match::Present, "/?b=a"));
    assert!(!fits("a", Match::Present, "/"));
    assert!(!fits("a", Match::Absent, "/?%61=1"));
    assert!(fits("a", Match::Absent, "/?b"));
}

#[test]
fn a_cookie_is_found_among_others() {
    let yes = cookie(Match::Exact("1".into()));
    assert!(yes.holds(&seen(&head("/", &[("cookie", "a=b; beta=1; c=d")]))).is_ok());
    assert!(yes.holds(&seen(&head("/", &[("cookie", "a=b"), ("cookie", "beta=1")]))).is_ok());
    assert!(yes.holds(&seen(&head("/", &[("cookie", "xbeta=1; beta=2")]))).is_err());
    assert!(yes.holds(&seen(&head("/", &[]))).is_err());
    assert!(cookie(Match::Absent).holds(&seen(&head("/", &[("cookie", "beta")]))).is_ok());
}

#[test]
fn all_parts_must_hold_and_get_covers_head() {
    let condition = model::Condition {
        header: one("x-version", Match::Present),
        method: vec!["GET".into(), "POST".into()],
        ..Default::default()
    };
    let condition = Condition::new(&condition).unwrap();
    let mut asked = head("/", &[("x-version", "1")]);
    assert_eq!(told(&condition, &asked), "holds");
    asked.method = http::Method::HEAD;
    assert_eq!(told(&condition, &asked), "holds");
    asked.method = http::Method::PUT;
    assert_eq!(told(&condition, &asked), "the method is not GET or POST");
    asked.method = http::Method::POST;
    asked.headers.clear();
    assert_eq!(told(&condition, &asked), "header x-version is missing");
    assert!(!condition.always());
    let always = Condition::new(&model::Condition::default()).unwrap();
    assert!(always.always() && always.holds(&seen(&asked)).is_ok());
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    let refused = |condition: model::Condition| Condition::new(&condition).unwrap_err();
    let regex = |text: String| {
        let header = one("x-version", Match::Regex(text));
        refused(model::Condition { header, ..Default::default() })
    };
    assert!(regex("(".into()).contains("the header x-version's regex"));
    assert!(regex("a)(b".into()).contains("unopened"));
    assert!(regex("(\\w{100}){100}{100}".into()).contains("too large"));
    assert!(regex(format!("{}a{}", "(".repeat(99), ")".repeat(99))).contains("nest"));
    let header = one("x y", Match::Present);
    assert!(refused(model::Condition { header, ..Default::default() }).contains("`x y`"));
    let method = vec!["get".into()];
    assert!(refused(model::Condition { method, ..Default::default() }).contains("upper case"));
}

proptest! {
    #[test]
    fn any_request_holds_or_not(query_text in "[a-z%+=&0-9]{0,30}", line in "[ -~]{0,40}") {
        let head = head(&format!("/?{query_text}"), &[("cookie", &line), ("x-version", &line)]);
        let _ = query("a", Match::Exact("b".into())).holds(&seen(&head));
        let _ = cookie(Match::Regex(".*".into())).holds(&seen(&head));
        prop_assert!(header(Match::Regex(".*".into())).holds(&seen(&head)).is_ok());
    }
}

#[test]
fn an_expression_holds_when_it_is_true_and_not_when_it_cannot_be_told() {
    let cel = |text: &str| {
        Condition::new(&model::Condition { cel: Some(text.into()), ..Default::default() })
    };
    let text = "request.host == 'api.test' && request.headers['x-version'] == '2'";
    let version = cel(text).unwrap();
    assert!(!version.always());
    assert_eq!(told(&version, &head("/", &[("x-version", "2")])), "holds");
    let why = format!("`{text}` is not true");
    assert_eq!(told(&version, &head("/", &[("x-version", "3")])), why);
    assert_eq!(told(&version, &head("/", &[])), why);
    let not = cel("request.headers['x-version'] != '2'").unwrap();
    assert!(not.holds(&seen(&head("/", &[]))).is_err(), "a header that is not there");
    for wrong in ["consumer.name == 'a'", "request.hots == 'a'", "(", "route == '/'"] {
        assert!(cel(wrong).unwrap_err().contains("`cel` cannot be used"), "{wrong}");
    }
}
