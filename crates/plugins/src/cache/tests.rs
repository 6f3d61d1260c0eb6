//! Freshness beside another implementation of the same rules, and keys for any query.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Request, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};
use lockgate_core::{Connection, Origin};
use proptest::prelude::*;
use serde_json::json;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::freshness::{AskedBy, Life};
use super::settings::Query;
use super::*;
use crate::cases;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// How long an answer is fresh by our rules; not at all when it is not kept.
fn ours(status: StatusCode, headers: &HeaderMap, authorized: bool) -> Duration {
    let asked = AskedBy { authorized, delay: Duration::ZERO };
    match Life::of(&Terms::default(), status, headers, asked, now()) {
        Ok(life) if !life.validate => life.lifetime.saturating_sub(life.initial_age),
        _ => Duration::ZERO,
    }
}

/// The same by the other's.
fn theirs(status: StatusCode, headers: &HeaderMap, authorized: bool) -> Duration {
    let mut request = Request::get("http://a.test/").body(()).unwrap();
    if authorized {
        request.headers_mut().insert("authorization", "Basic YQ==".parse().unwrap());
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().clone_from(headers);
    let options = CacheOptions {
        cache_heuristic: 0.0,
        immutable_min_time_to_live: Duration::ZERO,
        ..CacheOptions::default()
    };
    let policy = CachePolicy::new_options(&request, &response, now(), options);
    if policy.is_storable() { policy.time_to_live(now()) } else { Duration::ZERO }
}

fn directive() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("public".to_owned()),
        Just("private".to_owned()),
        Just("no-store".to_owned()),
        Just("no-cache".to_owned()),
        Just("must-revalidate".to_owned()),
        (0_u32..1000).prop_map(|seconds| format!("max-age={seconds}")),
        (0_u32..1000).prop_map(|seconds| format!("S-MaxAge={seconds}")),
        Just("stale-while-revalidate=9".to_owned()),
        Just("x-unknown=\"no-store\"".to_owned()),
    ]
}

proptest! {
    #[test]
    fn freshness_is_as_another_implementation_has_it(
        directives in proptest::collection::vec(directive(), 0..5),
        age in proptest::option::of(0_u32..500),
        expires in proptest::option::of(0_u64..1000),
        authorized: bool,
        status in prop_oneof![Just(200_u16), Just(404), Just(302), Just(206), Just(500)],
    ) {
        let mut headers = HeaderMap::new();
        // One of each name: what two of them mean is not agreed upon.
        let mut seen = Vec::new();
        let directives: Vec<String> = directives.into_iter().filter(|one| {
            let name = one.split('=').next().unwrap_or_default().to_owned();
            let new = !seen.contains(&name);
            seen.push(name);
            new
        }).map(|one| one.replace("S-MaxAge", "s-maxage")).collect();
        if !directives.is_empty() {
            headers.insert("cache-control", directives.join(", ").parse().unwrap());
        }
        if let Some(age) = age {
            headers.insert("age", age.into());
        }
        if let Some(expires) = expires {
            let date = httpdate::fmt_http_date(now() + Duration::from_secs(expires));
            headers.insert("expires", date.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        prop_assert_eq!(ours(status, &headers, authorized), theirs(status, &headers, authorized));
    }

    #[test]
    fn the_order_of_parameters_is_no_matter_and_everything_else_is(
        pairs in proptest::collection::btree_map("[a-c]{1,2}", "[a-c=]{0,2}", 0..6),
        others in proptest::collection::btree_map("[a-c]{1,2}", "[a-c=]{0,2}", 0..6),
        seed: u64,
    ) {
        let text = |pairs: Vec<(&String, &String)>| {
            pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
        };
        let mut mixed: Vec<_> = pairs.iter().collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut mixed);
        let one = key(&text(pairs.iter().collect()));
        prop_assert_eq!(&one, &key(&text(mixed)));
        prop_assert_eq!(pairs == others, one == key(&text(others.iter().collect())));
    }

    /// What comes from outside is read without a panic.
    #[test]
    fn any_header_is_read(
        name in prop_oneof![
            Just("cache-control"), Just("cdn-cache-control"), Just("vary"), Just("expires"),
            Just("if-none-match"), Just("range"), Just("if-range"), Just("etag"), Just("age"),
        ],
        value in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'='), 32_u8..127], 0..40),
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = http::HeaderValue::from_bytes(&value) {
            headers.append(name, value);
        }
        fuzz(&headers);
    }
}

#[tokio::test(start_paused = true)]
async fn of_those_that_wait_for_long_one_more_asks_at_a_time() {
    let policy = cases::policy("cache", &json!({ "ttl": "60s", "wait": "5s" })).unwrap();
    let (asked, given) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (local, begun) = (LocalSet::new(), Instant::now());
    for _ in 0..60 {
        let (policy, asked, given) = (Arc::clone(&policy), Rc::clone(&asked), Rc::clone(&given));
        local.spawn_local(async move {
            let mut exchange = cases::request(&json!("GET /"));
            match wait(policy.request(&mut exchange)).await {
                Ok(Verdict::Pass) => asked.set(asked.get() + 1),
                Ok(_) => return given.set(given.get() + 1),
                Err(fault) => panic!("{fault}"),
            }
            sleep(Duration::from_secs(12)).await;
            exchange.origin = Origin::Upstream;
            let mut response = Response::new(Body::from("one"));
            wait(policy.response(&mut exchange, &mut response)).await.unwrap();
        });
    }
    let (seen, done) = (Rc::clone(&given), Duration::from_secs(12));
    local.run_until(async { sleep(done + Duration::from_millis(1)).await }).await;
    assert_eq!((asked.get(), seen.get()), (3, 57), "at once, after 5 s, and after 10 s");
    local.await;
    assert_eq!(begun.elapsed().as_secs(), 22, "those that asked later heard later");
}

async fn wait<T>(step: Step<'_, T>) -> T {
    match step {
        Step::Now(value) => value,
        Step::Later(value) => value.await,
    }
}

/// The key of a request with this query.
fn key(query: &str) -> Vec<u8> {
    let keying = key::Keying::new("/*", "", None, false, &Query::default()).unwrap();
    keying.of(&exchange(&format!("/x?{query}")))
}

fn exchange(target: &str) -> Exchange {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let connection = Connection::plain(SocketAddr::new(ip, 40_000), SocketAddr::new(ip, 8080));
    let head = Request::get(target).body(()).unwrap().into_parts().0;
    Exchange { host: "a.test".into(), ..Exchange::begun(head, Rc::new(connection)) }
}
