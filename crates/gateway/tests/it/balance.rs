//! How requests are spread over endpoints, and how clients are kept on one.

use std::collections::BTreeMap;

use lockgate_testkit::{Echo, Gateway, Wire, request, until};

use crate::support::{pool, start};

async fn endpoints(count: usize) -> Vec<Echo> {
    let mut all = Vec::new();
    for n in 0..count {
        all.push(Echo::start(&n.to_string()).await);
    }
    all
}

fn addresses(all: &[Echo]) -> Vec<std::net::SocketAddr> {
    all.iter().map(Echo::address).collect()
}

fn hits(all: &[Echo]) -> Vec<usize> {
    all.iter().map(Echo::hits).collect()
}

async fn ask(wire: &mut Wire, headers: &[(&str, &str)]) -> String {
    let answer = wire.ask(request("GET", "/", headers, "")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.endpoint().to_owned()
}

#[tokio::test]
async fn two_to_one_is_exactly_two_to_one() {
    let all = endpoints(2).await;
    let config = format!(
        "upstreams:\n  pool:\n    endpoints: {{ \"{}\": 2, \"{}\": 1 }}\n    health: off\n\
         routes:\n  /*: {{ to: pool }}\n",
        all[0].address(),
        all[1].address()
    );
    let gateway = start(&config).await;
    let mut wire = gateway.wire().await;
    let mut order = String::new();
    for _ in 0..300 {
        order.push_str(&ask(&mut wire, &[]).await);
    }
    assert_eq!(hits(&all), [200, 100]);
    assert!(!order.contains("000") && !order.contains("11"), "smoothly: {order}");
}

#[tokio::test]
async fn two_to_one_holds_for_many_clients_and_workers() {
    let all = endpoints(2).await;
    let config = format!(
        "workers: 2\nupstreams:\n  pool:\n    endpoints: {{ \"{}\": 2, \"{}\": 1 }}\n    \
         health: off\nroutes:\n  /*: {{ to: pool }}\n",
        all[0].address(),
        all[1].address()
    );
    let gateway = start(&config).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let mut wire = gateway.wire().await;
        tasks.spawn(async move {
            for _ in 0..30 {
                ask(&mut wire, &[]).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let hits = hits(&all);
    assert!(hits[0].abs_diff(200) <= 2 && hits[1].abs_diff(100) <= 2, "{hits:?}");
}

#[tokio::test]
async fn the_one_with_fewest_requests_is_next() {
    let all = endpoints(2).await;
    let gateway = start(&pool(&addresses(&all), "balance: least_connections")).await;
    let mut held = gateway.wire().await;
    held.send(request("GET", "/wait", &[], "")).await;
    until("the held request", async || hits(&all).iter().sum::<usize>() == 1).await;
    let busy = usize::from(all[1].hits() == 1);
    let mut wire = gateway.wire().await;
    for _ in 0..10 {
        ask(&mut wire, &[]).await;
    }
    assert_eq!(all[busy].hits(), 1);
    assert_eq!(all[1 - busy].hits(), 10);
    all[busy].open(1);
    assert_eq!(held.answer().await.status, 200);
}

#[tokio::test]
async fn every_balancer_uses_every_endpoint() {
    for balance in ["round_robin", "random", "p2c", "peak_ewma", "{ maglev: \"header:X-User\" }"] {
        let all = endpoints(3).await;
        let gateway = start(&pool(&addresses(&all), &format!("balance: {balance}"))).await;
        let mut wire = gateway.wire().await;
        for n in 0..150 {
            ask(&mut wire, &[("X-User", &format!("user-{n}"))]).await;
        }
        let hits = hits(&all);
        // A slow first answer keeps peak_ewma away for a while, and rightly so.
        let few = if balance == "peak_ewma" { 1 } else { 10 };
        assert!(hits.iter().all(|hits| *hits >= few), "{balance}: {hits:?}");
    }
}

/// Which endpoint serves each of a hundred users.
async fn map(gateway: &Gateway, keyed: impl Fn(usize) -> (String, String)) -> Vec<String> {
    let mut wire = gateway.wire().await;
    let mut map = Vec::new();
    for n in 0..100 {
        let (path, header) = keyed(n);
        let headers = [("X-User", header.as_str()), ("Cookie", &format!("user={header}"))];
        let answer = wire.ask(request("GET", &path, &headers, "")).await;
        map.push(answer.endpoint().to_owned());
    }
    map
}

#[tokio::test]
async fn maglev_keeps_keys_where_they_are() {
    let all = endpoints(4).await;
    let balance = "balance: { maglev: \"header:X-User\" }";
    let user = |n| ("/".to_owned(), format!("user-{n}"));
    let gateway = start(&pool(&addresses(&all), balance)).await;
    let first = map(&gateway, user).await;
    assert_eq!(map(&gateway, user).await, first);
    let other = start(&pool(&addresses(&all), balance)).await;
    assert_eq!(map(&other, user).await, first, "another gateway agrees");
    let fewer = start(&pool(&addresses(&all)[..3], balance)).await;
    let moved = map(&fewer, user).await.iter().zip(&first).filter(|(a, b)| a != b).count();
    let owned = first.iter().filter(|endpoint| *endpoint == "3").count();
    assert!(moved <= owned + 12, "{moved} moved, {owned} had to");
}

#[tokio::test]
async fn maglev_takes_its_key_from_anywhere() {
    let all = endpoints(3).await;
    for (key, path) in [("cookie:user", "/x"), ("query:q", "/?q={}"), ("path:id", "/k/{}")] {
        let config = pool(&addresses(&all), &format!("balance: {{ maglev: \"{key}\" }}"))
            .replace("/*:", if key == "path:id" { "/k/{id}:" } else { "/*:" });
        let gateway = start(&config).await;
        let keyed = |n: usize| (path.replace("{}", &format!("u{n}")), format!("u{n}"));
        let first = map(&gateway, keyed).await;
        assert_eq!(map(&gateway, keyed).await, first, "{key}");
        let used: BTreeMap<_, usize> = first.iter().fold(BTreeMap::new(), |mut used, endpoint| {
            *used.entry(endpoint).or_default() += 1;
            used
        });
        assert_eq!(used.len(), 3, "{key}: {used:?}");
    }
}

#[tokio::test]
async fn a_sticky_cookie_keeps_a_client() {
    let all = endpoints(3).await;
    let gateway = start(&pool(&addresses(&all), "sticky: cookie")).await;
    let mut wire = gateway.wire().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let answer = wire.ask(request("GET", "/", &[], "")).await;
        let set = answer.header("set-cookie").expect("a cookie").to_owned();
        assert!(set.contains("HttpOnly"), "{set}");
        assert!(set.starts_with("lockgate_sticky="), "{set}");
        let cookie = set.split(';').next().unwrap().to_owned();
        clients.push((cookie, answer.endpoint().to_owned()));
    }
    let used: std::collections::BTreeSet<_> = clients.iter().map(|(_, at)| at).collect();
    assert_eq!(used.len(), 3, "new clients are spread");
    for _ in 0..3 {
        for (cookie, endpoint) in &clients {
            assert_eq!(&ask(&mut wire, &[("Cookie", cookie)]).await, endpoint);
        }
    }
    let (cookie, _) = &clients[0];
    for forged in [format!("{cookie}x"), "lockgate_sticky=0".into(), "lockgate_sticky=".into()] {
        let answer = wire.ask(request("GET", "/", &[("Cookie", &forged)], "")).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("set-cookie").is_some(), "a forged one is replaced: {forged}");
    }
    for echo in &all {
        let sent = echo.seen().iter().any(|seen| {
            seen.header("cookie").is_some_and(|cookie| cookie.contains(&echo.address().to_string()))
        });
        assert!(!sent, "a cookie does not tell addresses");
    }
}

#[tokio::test]
async fn a_sticky_client_moves_when_its_endpoint_is_gone() {
    let mut all = endpoints(2).await;
    let gateway = start(&pool(&addresses(&all), "sticky: { cookie: stay }")).await;
    let mut wire = gateway.wire().await;
    let answer = wire.ask(request("GET", "/", &[], "")).await;
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("stay="), "{set}");
    let cookie = set.split(';').next().unwrap().to_owned();
    let place: usize = answer.endpoint().parse().unwrap();
    drop(all.remove(place));
    for _ in 0..3 {
        let other = ask(&mut wire, &[("Cookie", &cookie)]).await;
        assert_eq!(other, (1 - place).to_string());
    }
}

#[tokio::test]
async fn a_sticky_header_keeps_a_client() {
    let all = endpoints(3).await;
    let gateway = start(&pool(&addresses(&all), "sticky: { header: X-User }")).await;
    let user = |n| ("/".to_owned(), format!("user-{n}"));
    let first = map(&gateway, user).await;
    assert_eq!(map(&gateway, user).await, first);
    assert!(hits(&all).iter().all(|hits| *hits > 0), "{:?}", hits(&all));
}
