//! The RFC's own vectors, and every way of passing off a request that was not signed.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::structured::Member;
use super::*;
use crate::cases;

/// RFC 9421, appendix B.1.5.
const SHARED: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
/// RFC 9421, appendix B.1.4.
const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";
const SHA512: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNN\
    yealdVLvRwEmTHWXvJwew==:";
const BODY: &str = "{\"hello\": \"world\"}";

fn build(more: Value) -> Arc<dyn Identity> {
    let mut config = json!({ "keys": {
        "test-shared-secret": { "secret_base64": SHARED, "consumer": "alice" },
        "test-key-ed25519": { "public_key": ED25519, "consumer": "bob" },
    } });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    cases::identity("hmac", &config).unwrap()
}

/// The request of appendix B.2, with more headers.
fn request(more: &[(&str, &str)]) -> Exchange {
    let mut exchange = cases::request(&json!({
        "line": "POST /foo?param=Value&Pet=dog",
        "headers": {
            "Host": "Example.com:80",
            "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
            "Content-Type": "application/json",
            "Content-Digest": SHA512,
        },
        "body": BODY,
    }));
    for (name, value) in more {
        let name: HeaderName = name.parse().unwrap();
        exchange.head.headers.append(name, value.parse().unwrap());
    }
    exchange
}

async fn ask(identity: &Arc<dyn Identity>, exchange: &mut Exchange) -> Result<String, String> {
    let proof = match identity.identify(exchange) {
        Step::Now(proof) => proof,
        Step::Later(proof) => proof.await,
    };
    match proof {
        Ok(Proof::Consumer(consumer)) => Ok(consumer.name.to_string()),
        Ok(Proof::Invalid(rejection)) => Err(rejection.reason.code.to_owned()),
        Ok(Proof::Absent) => Err("absent".to_owned()),
        Ok(Proof::Answer(..)) => Err("an answer".to_owned()),
        Err(fault) => Err(fault.reason().code.to_owned()),
    }
}

/// Signs what stands in an input, as a client would.
fn sign(exchange: &mut Exchange, input: &str) {
    let dictionary = structured::dictionary(&format!("sig={input}")).unwrap();
    let [(_, Member::Inner(items, parameters))] = dictionary.as_slice() else { panic!("no list") };
    let message =
        Message { head: &exchange.head, secure: exchange.secure, length: exchange.body.len() };
    let base = message.base(items, parameters).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(SHARED).unwrap());
    let signature = STANDARD.encode(hmac::sign(&key, base.as_bytes()));
    let headers = &mut exchange.head.headers;
    headers.insert("signature-input", format!("sig={input}").parse().unwrap());
    headers.insert("signature", format!("sig=:{signature}:").parse().unwrap());
}

/// What is changed, how, and why that is refused.
type Change = (&'static str, fn(&mut Exchange), &'static str);

const ALL: &str = r#"("@method" "@authority" "@path" "@query" "content-digest")"#;

fn usual(parameters: &str) -> String {
    let created = clock::now();
    format!("{ALL};created={created};keyid=\"test-shared-secret\"{parameters}")
}

#[tokio::test(start_paused = true)]
async fn the_vectors_of_the_rfc_hold() {
    let identity = build(json!({
        "required": ["date", "@authority", "content-type"],
        "digest": false, "nonce": false, "max_age": "3650d",
    }));
    for (input, signature, name) in [
        (
            r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
            "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
            "alice",
        ),
        (
            r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
            "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
            "bob",
        ),
    ] {
        let mut signed = request(&[("signature-input", input), ("signature", signature)]);
        assert_eq!(ask(&identity, &mut signed).await.as_deref(), Ok(name));
        signed.head.headers.insert("date", "Tue, 20 Apr 2021 02:07:56 GMT".parse().unwrap());
        assert_eq!(ask(&identity, &mut signed).await.unwrap_err(), "signature_mismatch");
    }
}

#[tokio::test(start_paused = true)]
async fn a_signed_request_passes_once_with_its_body() {
    let identity = build(json!({}));
    let mut exchange = request(&[]);
    sign(&mut exchange, &usual(";nonce=\"n1\";alg=\"hmac-sha256\""));
    assert_eq!(ask(&identity, &mut exchange).await.as_deref(), Ok("alice"));
    assert_eq!(std::mem::take(&mut exchange.body).collect(100).await.unwrap(), BODY);
    exchange.body = BODY.to_owned().into();
    assert_eq!(ask(&identity, &mut exchange).await.unwrap_err(), "signature_replayed");
    let mut other = request(&[]);
    sign(&mut other, &usual(";nonce=\"n2\""));
    assert_eq!(ask(&identity, &mut other).await.as_deref(), Ok("alice"));
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_on_the_way_is_refused() {
    let identity = build(json!({}));
    let changes: [Change; 9] = [
        ("method", |e| e.head.method = http::Method::PUT, "signature_mismatch"),
        (
            "path",
            |e| e.head.uri = "/bar?param=Value&Pet=dog".parse().unwrap(),
            "signature_mismatch",
        ),
        ("query", |e| e.head.uri = "/foo?param=Value".parse().unwrap(), "signature_mismatch"),
        ("host", |e| put(e, "host", "evil.example"), "signature_mismatch"),
        ("body", |e| e.body = "{}".into(), "signature_digest"),
        ("no body", |e| e.body = Body::Empty, "signature_digest"),
        ("digest", |e| put(e, "content-digest", "sha-256=:AAAA:"), "signature_mismatch"),
        ("input gone", |e| drop(e.head.headers.remove("signature-input")), "signature_malformed"),
        ("signature gone", |e| drop(e.head.headers.remove("signature")), "signature_malformed"),
    ];
    for (what, change, reason) in changes {
        let mut exchange = request(&[]);
        sign(&mut exchange, &usual(";nonce=\"same\""));
        change(&mut exchange);
        assert_eq!(ask(&identity, &mut exchange).await.unwrap_err(), reason, "{what}");
    }
    let mut exchange = request(&[]);
    sign(&mut exchange, &usual(";nonce=\"same\""));
    assert_eq!(ask(&identity, &mut exchange).await.as_deref(), Ok("alice"), "none used the nonce");
    let mut bare = request(&[]);
    assert_eq!(ask(&identity, &mut bare).await.unwrap_err(), "absent");
}

fn put(exchange: &mut Exchange, name: &'static str, value: &str) {
    exchange.head.headers.insert(name, value.parse().unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_covers_or_says_too_little_or_too_much_is_refused() {
    let identity = build(json!({ "tag": "app" }));
    let now = clock::now();
    let id = "keyid=\"test-shared-secret\";tag=\"app\"";
    let with = |items: &str, rest: &str| format!("({items});created={now};{id}{rest}");
    let all = r#""@method" "@authority" "@path" "@query" "content-digest""#;
    for (input, reason) in [
        (
            with(r#""@authority" "@path" "@query" "content-digest""#, ";nonce=\"a\""),
            "signature_uncovered",
        ),
        (
            with(r#""@method" "@path" "@query" "content-digest""#, ";nonce=\"a\""),
            "signature_uncovered",
        ),
        (
            with(r#""@method" "@authority" "@query" "content-digest""#, ";nonce=\"a\""),
            "signature_uncovered",
        ),
        (
            with(r#""@method" "@authority" "@path" "content-digest""#, ";nonce=\"a\""),
            "signature_uncovered",
        ),
        (with(r#""@method" "@authority" "@path" "@query""#, ";nonce=\"a\""), "signature_uncovered"),
        (with(all, ""), "signature_malformed"),
        (with(all, ";nonce=\"\""), "signature_malformed"),
        (with(all, ";nonce=\"a\";context=\"x\""), "signature_malformed"),
        (with(all, ";nonce=5"), "signature_malformed"),
        (with(all, ";nonce=\"a\";alg=\"ed25519\""), "signature_key_unknown"),
        (with(all, ";nonce=\"a\";alg=\"none\""), "signature_key_unknown"),
        (format!("({all});created={now};nonce=\"a\";tag=\"app\""), "signature_malformed"),
        (format!("({all});nonce=\"a\";{id}"), "signature_malformed"),
        (
            format!("({all});created={now};nonce=\"a\";keyid=\"test-shared-secret\""),
            "signature_malformed",
        ),
        (
            format!("({all});created={now};nonce=\"a\";keyid=\"other\";tag=\"app\""),
            "signature_key_unknown",
        ),
        (
            format!("({all});created={now};nonce=\"a\";keyid=\"test-key-ed25519\";tag=\"app\""),
            "signature_mismatch",
        ),
        (format!("({all});created={};nonce=\"a\";{id}", now + 31), "signature_time"),
        (format!("({all});created={};nonce=\"a\";{id}", now - 331), "signature_time"),
        (with(all, &format!(";nonce=\"a\";expires={}", now - 31)), "signature_time"),
    ] {
        let mut exchange = request(&[]);
        sign(&mut exchange, &input);
        assert_eq!(ask(&identity, &mut exchange).await.unwrap_err(), reason, "{input}");
    }
    for (nonce, input) in [
        ("b", with(all, "")),
        ("c", with(r#""@method" "@target-uri" "content-digest""#, "")),
        ("d", with(r#""@method" "@authority" "@request-target" "content-digest" "date""#, "")),
        ("e", format!("({all});created={};{id}", now + 30)),
        ("f", format!("({all});created={};{id}", now - 330)),
    ] {
        let mut exchange = request(&[]);
        sign(&mut exchange, &format!("{input};nonce=\"{nonce}\""));
        assert_eq!(ask(&identity, &mut exchange).await.as_deref(), Ok("alice"), "{input}");
    }
}

#[tokio::test(start_paused = true)]
async fn components_that_are_not_plain_or_not_there_are_refused() {
    let identity = build(json!({ "nonce": false }));
    for item in [
        "\"@status\"",
        "\"@query-param\";name=\"Pet\"",
        "\"date\";sf",
        "\"date\";bs",
        "\"date\";req",
        "\"x-none\"",
        "\"@path\"",
        "\"Date\"",
        "date",
        "\"\"",
        "\"@none\"",
    ] {
        let input = usual("").replace("(\"@method\"", &format!("(\"@method\" {item}"));
        let lines =
            [("signature-input", format!("sig={input}")), ("signature", "sig=:AAAA:".to_owned())];
        let mut exchange = request(&lines.each_ref().map(|(name, value)| (*name, value.as_str())));
        assert_eq!(
            ask(&identity, &mut exchange).await.unwrap_err(),
            "signature_uncovered",
            "{item}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_signatures_none_is_guessed() {
    let (any, named) =
        (build(json!({ "nonce": false })), build(json!({ "nonce": false, "label": "sig" })));
    let more = |exchange: &mut Exchange, name: &'static str, add: &str| {
        let before = exchange.head.headers[name].to_str().unwrap().to_owned();
        put(exchange, name, &format!("{before}, {add}"));
    };
    let mut exchange = request(&[]);
    sign(&mut exchange, &usual(""));
    more(&mut exchange, "signature-input", "other=(\"@method\");created=1");
    more(&mut exchange, "signature", "other=:AAAA:");
    assert_eq!(ask(&any, &mut exchange).await.unwrap_err(), "signature_malformed");
    assert_eq!(ask(&named, &mut exchange).await.as_deref(), Ok("alice"));
    for name in ["signature-input", "signature"] {
        let mut exchange = request(&[]);
        sign(&mut exchange, &usual(""));
        let again = exchange.head.headers[name].to_str().unwrap().to_owned();
        more(&mut exchange, name, &again);
        assert_eq!(ask(&named, &mut exchange).await.unwrap_err(), "signature_malformed", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_has_so_many_nonces_and_a_body_so_many_bytes() {
    let identity = build(json!({ "max_nonces": 2, "max_body": "64B" }));
    for (nonce, expected) in
        [("x1", Ok("alice")), ("x2", Ok("alice")), ("x3", Err("signature_nonces"))]
    {
        let mut exchange = request(&[]);
        sign(&mut exchange, &usual(&format!(";nonce=\"{nonce}\"")));
        let got = ask(&identity, &mut exchange).await;
        assert_eq!(got.as_deref().map_err(String::as_str), expected);
    }
    let mut exchange = request(&[]);
    sign(&mut exchange, &usual(";nonce=\"x4\""));
    exchange.body = "x".repeat(65).into();
    assert_eq!(ask(&identity, &mut exchange).await.unwrap_err(), "too_large");
}

#[test]
fn digests_are_all_checked_and_one_is_needed() {
    let sha256 =
        STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, BODY.as_bytes()));
    let good = format!("sha-256=:{sha256}:");
    for (stated, holds) in [
        (good.clone(), true),
        (SHA512.to_owned(), true),
        (format!("{good}, {SHA512}"), true),
        (format!("md5=:AAAA:, {good}"), true),
        (format!("{good}, sha-512=:AAAA:"), false),
        ("md5=:AAAA:".to_owned(), false),
        ("sha-256=AAAA".to_owned(), false),
        (format!("{good}, {good}"), false),
        (String::new(), false),
    ] {
        assert_eq!(digest::check(&stated, BODY.as_bytes()).is_ok(), holds, "{stated}");
    }
}

#[test]
fn nothing_secret_is_told() {
    let identity = build(json!({}));
    assert!(!identity.describe().contains("secret"));
    let short = json!({ "keys": { "k": { "secret": "hunter2" } } });
    let error = cases::identity("hmac", &short).err().unwrap().to_string();
    assert!(error.contains("32 bytes") && !error.contains("hunter2"), "{error}");
}
