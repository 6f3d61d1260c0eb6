//! Sticky cookies, from the request that gets one to the one that brings it back.

use std::sync::Arc;

use lockgate_config::model::{self, Balance, Sticky};
use lockgate_core::Exchange;

use crate::endpoint::Override;
use crate::testing::{after, endpoint, exchange, idle, many};
use crate::upstream::Upstream;

fn settings(count: u16, secret: Option<&str>) -> model::Upstream {
    let mut settings = many(count, Balance::RoundRobin);
    let secret = secret.map(str::to_owned);
    settings.sticky = Some(Sticky::Cookie { name: "stay".into(), secret });
    settings
}

/// The port chosen, and the cookie set, if any.
fn pick(upstream: &Arc<Upstream>, exchange: &Exchange) -> (u16, Option<String>) {
    let mut picked = upstream.pick(exchange, &[]).unwrap();
    let cookie = picked.set_cookie().map(|cookie| cookie.to_str().unwrap().to_owned());
    (picked.endpoint().address().port(), cookie)
}

fn value(cookie: &str) -> String {
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn a_client_stays_where_it_was_sent() {
    let upstream = idle(&settings(5, None));
    let (port, cookie) = pick(&upstream, &exchange(&[]));
    let cookie = cookie.unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains("10.0.0"), "no address is shown: {cookie}");
    let back = exchange(&[("cookie", &format!("a=b; {}; c=d", value(&cookie)))]);
    for _ in 0..10 {
        assert_eq!(pick(&upstream, &back), (port, None), "and no new cookie is needed");
    }
}

#[test]
fn over_tls_the_cookie_is_secure() {
    let upstream = idle(&settings(2, None));
    let mut exchange = exchange(&[]);
    exchange.secure = true;
    assert!(pick(&upstream, &exchange).1.unwrap().ends_with("; Secure"));
}

#[test]
fn what_is_not_signed_right_is_ignored() {
    let upstream = idle(&settings(2, None));
    let good = value(&pick(&upstream, &exchange(&[])).1.unwrap());
    let (name, token) = good.split_once('=').unwrap();
    let mut forged = token.to_owned();
    let last = if forged.pop() == Some('0') { '1' } else { '0' };
    forged.push(last);
    let (id, signature) = token.split_at(16);
    let mut tokens = vec![forged, String::new(), id.to_owned(), "ü".repeat(24), "x".repeat(48)];
    tokens.push(format!("{signature}{id}"));
    tokens.push(format!("{:+016x}{signature}", 1));
    tokens.push(token.to_ascii_uppercase());
    for token in tokens {
        let sent = exchange(&[]);
        let mut sent = sent;
        let line = format!("{name}={token}");
        let line = http::HeaderValue::from_bytes(line.as_bytes()).unwrap();
        sent.head.headers.insert("cookie", line);
        let ports = [pick(&upstream, &sent), pick(&upstream, &sent)];
        assert_ne!(ports[0].0, ports[1].0, "{token} held the client");
        assert!(ports.iter().all(|(_, cookie)| cookie.is_some()), "{token}: a fresh cookie");
    }
}

#[test]
fn an_endpoint_that_is_out_is_left_with_a_fresh_cookie() {
    let upstream = idle(&settings(3, None));
    let (port, cookie) = pick(&upstream, &exchange(&[]));
    let back = exchange(&[("cookie", &value(&cookie.unwrap()))]);
    endpoint(&upstream, usize::from(port) - 1).order(Override::Drain);
    let (other, fresh) = pick(&upstream, &back);
    assert_ne!(other, port);
    let moved = exchange(&[("cookie", &value(&fresh.unwrap()))]);
    assert_eq!(pick(&upstream, &moved), (other, None));
    let tried = [endpoint(&upstream, usize::from(other) - 1)];
    let again = upstream.pick(&moved, &tried).unwrap();
    assert_ne!(again.endpoint().address().port(), other, "a retry goes elsewhere");
}

#[test]
fn cookies_survive_endpoint_changes_and_agree_between_gateways() {
    let first = idle(&settings(3, Some("s3cret")));
    let (port, cookie) = pick(&first, &exchange(&[]));
    let back = exchange(&[("cookie", &value(&cookie.unwrap()))]);
    let larger = after(&settings(6, Some("s3cret")), Some(&first));
    assert_eq!(pick(&larger, &back), (port, None));
    let elsewhere = idle(&settings(3, Some("s3cret")));
    assert_eq!(pick(&elsewhere, &back), (port, None), "another gateway, the same secret");
    let other = idle(&settings(3, Some("another")));
    assert!(pick(&other, &back).1.is_some(), "another secret");
}

#[test]
fn a_random_key_holds_across_reloads_of_one_process() {
    let first = idle(&settings(3, None));
    let (port, cookie) = pick(&first, &exchange(&[]));
    let back = exchange(&[("cookie", &value(&cookie.unwrap()))]);
    let reloaded = after(&settings(4, None), Some(&first));
    assert_eq!(pick(&reloaded, &back), (port, None));
}
