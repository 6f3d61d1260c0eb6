//! What expressions may say, what they see, and that they cost no more than they should.

use super::*;
use crate::{Captures, Consumer};
use http::Request;
use http::request::Parts;

fn head() -> Parts {
    let request = Request::builder()
        .method("POST")
        .uri("/accounts/7?a=1&b=x%20y+z&a=2&c")
        .header("x-tenant", "acme")
        .header("accept", "text/html")
        .header("accept", "text/plain")
        .header("cookie", "beta=1; theme=dark");
    request.body(()).unwrap().into_parts().0
}

fn seen(head: &Parts) -> Seen<'_> {
    Seen {
        head,
        host: "",
        secure: false,
        ip: "192.0.2.1".parse().unwrap(),
        consumer: None,
        route: None,
        captures: None,
    }
}

fn consumer() -> Consumer {
    let claims = serde_json::json!({
        "sub": "alice", "level": 3, "amr": ["pwd", "otp"], "org": { "id": "x" }, "share": 0.5,
    });
    Consumer {
        name: "alice".into(),
        identity: "idp".into(),
        roles: Box::new(["teller".into()]),
        scopes: Box::new(["read".into(), "write".into()]),
        claims: claims.as_object().unwrap().clone(),
        ..Consumer::default()
    }
}

fn holds_for(text: &str, consumer: Option<&Consumer>) -> Result<bool, String> {
    let expression = Expression::new(text, Scope::Route).unwrap_or_else(|e| panic!("{text}: {e}"));
    let head = head();
    let captures =
        Captures::new(["id".into()].into(), vec![(10, 11)], "/accounts/7".parse().unwrap());
    expression.holds(&Seen {
        head: &head,
        host: "api.example.com",
        secure: true,
        ip: "192.0.2.1".parse().unwrap(),
        consumer,
        route: Some("/accounts/{id}"),
        captures: Some(&captures),
    })
}

#[test]
fn an_expression_sees_the_request_the_route_and_the_consumer() {
    let alice = consumer();
    for text in [
        "request.method == 'POST' && request.path.startsWith('/accounts/')",
        "request.host == 'api.example.com' && request.scheme == 'https'",
        "request.ip == '192.0.2.1'",
        "request.query.a == '1' && request.query['b'] == 'x y z' && request.query.c == ''",
        "request.headers['x-tenant'] == 'acme' && request.headers.accept == 'text/html, text/plain'",
        "request.cookies.theme == 'dark' && !('cookie' in request.headers)",
        "has(request.headers.accept) && !has(request.headers.nothing)",
        "'a' in request.query && size(request.query) == 3",
        "consumer.name == 'alice' && consumer.identity == 'idp'",
        "'teller' in consumer.roles && consumer.scopes.all(s, s in ['read', 'write'])",
        "consumer.plan == null && size(consumer.tags) == 0",
        "consumer != null",
        "claims.sub == consumer.name && claims.level >= 3 && claims.org.id == 'x'",
        "claims.amr.exists(m, m == 'otp') && claims.share < 0.6",
        "claims.?nothing.orValue('none') == 'none'",
        "route == '/accounts/{id}' && captures.id == '7'",
        "request['method'] == 'POST' && size(request) == 8",
        "request.headers['x-tenant'].matches('^ac') && 'abc'.matches('b')",
        "request.headers.filter(h, h.startsWith('x-')).size() == 1",
        "type(claims.level) == int",
    ] {
        assert_eq!(holds_for(text, Some(&alice)), Ok(true), "{text}");
    }
    for text in ["consumer == null", "size(claims) == 0", "!has(claims.sub)"] {
        assert_eq!(holds_for(text, None), Ok(true), "{text}");
        assert_eq!(holds_for(text, Some(&alice)), Ok(false), "{text}");
    }
}

#[test]
fn what_cannot_be_said_is_an_error_without_a_value() {
    let alice = consumer();
    for (text, says) in [
        ("claims.nothing == 'x'", "there is no `nothing`"),
        ("claims[request.headers['x-tenant']] == 'x'", "no such key"),
        ("request.path", "neither true nor false"),
        ("consumer.name + 1 == 'x'", ""),
        ("claims.level > consumer.name", ""),
        ("int(request.headers['x-tenant']) > 1", ""),
    ] {
        let error = holds_for(text, Some(&alice)).expect_err(text);
        assert!(error.contains(says), "{text}: {error}");
        assert!(!error.contains("acme") && !error.contains("alice"), "{text}: {error}");
    }
    assert!(holds_for("consumer.name == 'alice'", None).is_err());
}

#[test]
fn what_makes_no_sense_is_refused_when_it_is_compiled() {
    let deep = format!("{}true{}", "!(".repeat(120), ")".repeat(120));
    let sum = format!("1{} > 0", " + 1".repeat(200));
    let long = "x".repeat(MAX_TEXT + 1);
    for (text, says) in [
        ("request.metod == 'GET'", "did you mean `method`?"),
        ("requests.method == 'GET'", "did you mean `request`?"),
        ("user.name == 'x'", "there is no variable `user`"),
        ("consumer.nmae == 'x'", "did you mean `name`?"),
        ("request.path.startswith('/')", "did you mean `startsWith`?"),
        ("request.path.matches('(')", "the pattern `(` cannot be used"),
        ("request.path.matches(request.host)", "must be a text"),
        ("request.path.matches('(a{1000}){1000}')", "cannot be used"),
        ("request.headers.all(a, request.headers.all(b, a != b))", "a loop in a loop"),
        ("request.method ==", "cannot be parsed"),
        ("request.method == 'a' 'b'", "cannot be parsed"),
        ("", "cannot be parsed"),
        (&deep, "brackets more than"),
        (&sum, "nested more than"),
        (&long, "at most 2048 bytes"),
    ] {
        let error = Expression::new(text, Scope::Route).expect_err(text);
        assert!(error.contains(says), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let error = Expression::new("consumer.name == 'x'", Scope::Request).unwrap_err();
    assert!(error.contains("not known yet"), "{error}");
}

#[test]
fn a_flood_of_parameters_is_refused_and_does_not_make_it_true() {
    let expression = Expression::new("!('x' in request.query)", Scope::Request).unwrap();
    let query: Vec<String> = (0..1_500).map(|n| format!("p{n}")).collect();
    let uri = format!("/?{}", query.join("&"));
    let head = Request::builder().uri(uri).body(()).unwrap().into_parts().0;
    assert!(expression.holds(&seen(&head)).unwrap_err().contains("more than"));
}

/// A generated parser goes deep: no length of a chain may end the process.
#[test]
fn no_chain_is_too_long_to_be_read() {
    let nots = format!("{}true", "!".repeat(2_000));
    let minuses = format!("1 {} 1", "-".repeat(2_000));
    let choices = format!("{}true", "true?true:".repeat(200));
    let fields = format!("request{}", ".a".repeat(1_000));
    let calls = format!("1{}", ".size()".repeat(280));
    for text in [nots, minuses, choices, fields, calls] {
        if let Ok(expression) = Expression::new(&text, Scope::Route) {
            let head = head();
            let _ = expression.holds(&seen(&head));
        }
    }
}
