//! `defaults`: what upstreams and routes inherit, and how they keep out of it.

use std::time::Duration;

use lockgate_core::{Percent, Time};

use crate::fake::{errors, good};

fn ms(count: u64) -> Time {
    Time(Duration::from_millis(count))
}

#[test]
fn upstreams_inherit_key_by_key() {
    let text = "defaults:\n  timeout: { connect: 1s, headers: 3s }\n  retry: { attempts: 2, budget: \
                50% }\n  health: { path: /up, interval: 1s }\n  breaker: { trials: 9 }\nupstreams:\n  \
                a: { endpoints: a:1 }\n  b: { endpoints: b:1, timeout: 5s, retry: { attempts: 3 }, \
                health: /b, breaker: off }\n  c: { endpoints: c:1, timeout: { connect: 7s }, retry: \
                off, health: off }\n";
    let document = good(text).document;
    let (a, b, c) = (&document.upstreams["a"], &document.upstreams["b"], &document.upstreams["c"]);
    assert_eq!((a.timeout.connect, a.timeout.headers), (ms(1000), ms(3000)));
    assert_eq!(a.timeout.request, ms(30_000));
    assert_eq!((b.timeout.connect, b.timeout.request), (ms(1000), ms(5000)));
    assert_eq!((c.timeout.connect, c.timeout.headers), (ms(7000), ms(3000)));
    assert_eq!((b.retry.attempts, b.retry.budget), (3, Percent(0.5)));
    assert_eq!((a.retry.attempts, c.retry.attempts), (2, 0));
    let health = b.health.as_ref().unwrap();
    assert_eq!((health.path.as_str(), health.interval), ("/b", ms(1000)));
    assert_eq!((c.health.as_ref(), b.breaker.as_ref()), (None, None));
    assert_eq!(a.breaker.as_ref().unwrap().trials, 9);
}

#[test]
fn upstreams_of_urls_inherit_all_but_health() {
    let text = "defaults: { timeout: 3s, health: /up, http2: true }\nroutes: { /x: { to: \
                http://a:1 } }\n";
    let upstream = &good(text).document.upstreams["http://a:1"];
    assert_eq!(
        (upstream.timeout.request, upstream.http2),
        (ms(3000), lockgate_config::model::Http2Use::On)
    );
    assert_eq!(upstream.health, None);
}

#[test]
fn a_routes_retry_inherits_too() {
    let text = "defaults: { retry: { attempts: 5, budget: 1% } }\nroutes:\n  /x: { to: http://a:1, \
                retry: { budget: 9% } }\n  /y: { to: http://a:1 }\n  /z:\n    - { to: http://a:1, \
                retry: off }\n";
    let document = good(text).document;
    let retry = document.routes["/x"].routes[0].retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.budget), (5, Percent(0.09)));
    assert_eq!(document.routes["/y"].routes[0].retry, None);
    assert_eq!(document.routes["/z"].routes[0].retry.as_ref().unwrap().attempts, 0);
}

#[test]
fn routes_inherit_policies_unless_they_name_them() {
    let text = "defaults: { cors: { a: 1 }, cache: 60s, concurrency: off }\nroutes:\n  /a: { to: \
                http://a:1, strict: {} }\n  /b: { to: http://a:1, cors: off }\n  /c: { to: \
                http://a:1, cors: { b: 2 } }\n";
    let document = good(text).document;
    let names = |pattern: &str| {
        let policies = &document.routes[pattern].routes[0].policies;
        policies.iter().map(|policy| policy.path.join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(names("/a"), ["defaults cors", "defaults cache", "routes /a strict"]);
    assert_eq!(names("/b"), ["defaults cache"]);
    assert_eq!(names("/c"), ["defaults cache", "routes /c cors"]);
}

#[test]
fn what_is_wrong_in_defaults_is_told_there_and_once() {
    let text = "defaults:\n  timeout: { conect: 1s }\n  retry: { attempts: 50 }\n  health: { path: up \
                }\nupstreams: { a: { endpoints: a:1 }, b: { endpoints: b:1 } }\n";
    assert_eq!(
        errors(text),
        [
            "2:14 unknown key `conect` [did you mean `connect`?]",
            "3:3 `attempts` is at most 10",
            "4:19 a health path begins with `/`",
        ]
    );
}
