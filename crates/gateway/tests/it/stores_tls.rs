//! Stores of several servers that speak TLS alone to gateways, which are a user of ACLs there: all
//! that is kept in a store is, through the death of a server too, and nothing is asked for that the
//! user may not.

use std::net::SocketAddr;

use lockgate_testkit::redis::{Cluster, MASTER, RedisServer, Sentinels, ask};
use lockgate_testkit::{Answer, Authority, Echo, Gateway, until, until_is};

use crate::support::launch;

/// As the guide says it.
const USER: [&str; 11] = [
    "--user",
    "gate",
    "on",
    ">hunter2",
    "~own:*",
    "&own:*",
    "+@all",
    "-@dangerous",
    "+info",
    "+role",
    "+cluster|info",
];
const SLOTS: &str = "+cluster|slots";

/// A gateway that keeps one of each in a store.
async fn gateway(store: &str, authority: &Authority, echo: &Echo) -> Gateway {
    let to = format!("to: \"http://{}\"", echo.address());
    let limit = "limit: 1000/h, by: ip, precision: exact, store: shared, on_store_error: deny";
    let config = format!(
        "stores:\n  shared: {{ {store}, prefix: own, ca: ca.pem, cert: cert.pem, key: key.pem, \
         timeout: 5s }}\nroutes:\n  /limited: {{ rate_limit: {{ {limit} }}, to: {{ respond: {{}} }} \
         }}\n  /kept/*: {{ cache: {{ ttl: 60s, store: shared }}, {to} }}\n  POST /pay:\n    \
         idempotency: {{ store: shared }}\n    serialize: {{ by: \"header:X-Account\", store: shared \
         }}\n    {to}\n"
    );
    let client = authority.client("gateway");
    let launch = launch().env("STORE_PASSWORD", "hunter2");
    let launch = launch.file("ca.pem", &authority.pem).file("cert.pem", &client.cert);
    launch.file("key.pem", &client.key).start(&config).await
}

async fn pay(gateway: &Gateway, key: &str) -> Answer {
    let headers = [("Idempotency-Key", key), ("X-Account", key)];
    gateway.ask("POST", "/pay", &headers, "7").await
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// What one gateway does in the store, the other finds there. Keys of a round are its own.
async fn each_finds_what_the_other_does(one: &Gateway, other: &Gateway, round: &str) {
    for gateway in [one, other] {
        let limited = async || gateway.get("/limited").await.status;
        until_is("a limit to be counted", limited, |status| *status == 200).await;
    }
    for n in 0..8 {
        let key = format!("{round}-{n}");
        let first = async || pay(one, &key).await;
        until_is("a request to run", first, |answer| answer.status == 200).await;
        let again = async || pay(other, &key).await;
        let again = until_is("its answer to be known", again, |answer| answer.status == 200).await;
        assert!(replayed(&again), "{again:?}");
        let path = format!("/kept/{key}");
        let hit = |answer: &Answer| {
            answer.header("cache-status").is_some_and(|status| status.contains("; hit;"))
        };
        let kept = async || one.get(&path).await;
        until_is("an answer to be kept", kept, |answer| answer.status == 200).await;
        until_is("it to be given", async || other.get(&path).await, hit).await;
    }
    let put = [("store", "shared"), ("use", "blobs"), ("outcome", "answered")];
    assert!(other.metrics().await.sum("lockgate_store_calls_total", &put) >= 8.0);
}

/// Nobody was refused anything, and gateways were who they say they are; how many of their
/// connections there are.
async fn nothing_was_forbidden(servers: &[SocketAddr]) -> usize {
    let mut known = 0;
    for server in servers {
        let log = ask(*server, &[], &["ACL", "LOG"]).await;
        assert!(log.list().is_empty(), "{log:?}");
        let clients = ask(*server, &[], &["CLIENT", "LIST"]).await.text();
        known += clients.matches("user=gate").count();
        for line in clients.lines().filter(|line| line.contains("cmd=evalsha")) {
            assert!(line.contains("user=gate"), "{line}");
        }
    }
    known
}

async fn told_nothing_secret(gateways: [&Gateway; 2]) {
    for gateway in gateways {
        assert!(!gateway.said().contains("hunter2"));
        let config = gateway.admin("GET", "/admin/config", "").await.text();
        assert!(!config.contains("hunter2"), "{config}");
    }
}

#[tokio::test]
async fn a_cluster_over_tls_serves_a_user_of_acls_through_a_failover() {
    let (authority, echo) = (Authority::new("the store's"), Echo::start("a").await);
    let user: Vec<&str> = USER.iter().copied().chain([SLOTS]).collect();
    let mut all = Cluster::start_with(Some(&authority), &user).await;
    let seeds: Vec<String> =
        all.secure_addresses().iter().map(|at| format!("\"rediss://{at}\"")).collect();
    let store = format!(
        "redis_cluster: [{}], username: gate, password: \"${{env:STORE_PASSWORD}}\"",
        seeds.join(", ")
    );
    let one = gateway(&store, &authority, &echo).await;
    let other = gateway(&store, &authority, &echo).await;
    each_finds_what_the_other_does(&one, &other, "a").await;
    assert!(nothing_was_forbidden(&all.addresses()).await >= 2, "two gateways");
    all.fail_over(0).await;
    each_finds_what_the_other_does(&other, &one, "b").await;
    for n in 0..8 {
        assert!(replayed(&pay(&one, &format!("a-{n}")).await), "it is remembered");
    }
    assert!(nothing_was_forbidden(&all.addresses()).await >= 2, "two gateways");
    let slot = 8_000;
    all.migrate_slot(slot).await;
    each_finds_what_the_other_does(&one, &other, "c").await;
    told_nothing_secret([&one, &other]).await;
}

#[tokio::test]
async fn sentinels_over_tls_lead_a_user_of_acls_to_the_next_master() {
    let (authority, echo) = (Authority::new("the store's"), Echo::start("a").await);
    // The gateway is another to the sentinels, who may do there what it needs alone.
    let watcher = "user watcher on >hunter2 -@all +auth +hello +client \
                   +sentinel|get-master-addr-by-name\n";
    let mut all = Sentinels::start_with(Some(&authority), &USER, watcher).await;
    let sentinels: Vec<String> =
        all.secure_sentinels().iter().map(|at| format!("\"{at}\"")).collect();
    let password = "\"${env:STORE_PASSWORD}\"";
    let store = format!(
        "redis_sentinel: {{ master: {MASTER}, sentinels: [{}], tls: true, username: watcher, \
         password: {password} }}, username: gate, password: {password}",
        sentinels.join(", ")
    );
    let one = gateway(&store, &authority, &echo).await;
    let other = gateway(&store, &authority, &echo).await;
    each_finds_what_the_other_does(&one, &other, "a").await;
    let before = all.master().await;
    assert!(nothing_was_forbidden(&[all.server(before).address()]).await >= 2, "two gateways");
    let now = all.fail_over().await;
    assert_ne!(before, now);
    each_finds_what_the_other_does(&other, &one, "b").await;
    for n in 0..8 {
        assert!(replayed(&pay(&one, &format!("a-{n}")).await), "it is remembered");
    }
    // Whoever is the master by now: on a busy machine it may be the next again.
    until("both gateways to be at the master", async || {
        let master = all.settled().await;
        nothing_was_forbidden(&[all.server(master).address()]).await >= 2
    })
    .await;
    told_nothing_secret([&one, &other]).await;
    // Whoever cannot be verified is not asked.
    let stranger = Authority::new("another");
    let lost = gateway(&store, &stranger, &echo).await;
    let away = async || lost.get("/limited").await;
    let answer = until_is("the distrust", away, |answer| answer.status != 200).await;
    assert_eq!((answer.status, answer.reason()), (503, Some("store_unavailable")));
}

/// The connections that a server has, by their numbers.
async fn connections(server: &RedisServer) -> Vec<String> {
    let all = server.ask(&["CLIENT", "LIST"]).await.text();
    let numbers = all.lines().filter_map(|line| line.split(' ').next().map(str::to_owned));
    numbers.collect()
}

#[tokio::test]
async fn another_certificate_takes_routes_that_stay_to_another_connection() {
    let authority = Authority::new("the store's");
    let server = RedisServer::start_secure(&authority, &[]).await;
    let client = authority.client("one");
    let launch = launch().file("ca.pem", &authority.pem);
    let launch = launch.file("cert.pem", &client.cert).file("key.pem", &client.key);
    let limit = "limit: 1000/h, by: ip, precision: exact, store: shared, on_store_error: deny";
    let config = format!(
        "stores:\n  shared: {{ url: \"rediss://{}\", ca: ca.pem, cert: cert.pem, \
         key: key.pem, timeout: 5s }}\nroutes:\n  /limited: {{ rate_limit: {{ {limit} }}, \
         to: {{ respond: {{}} }} }}\n",
        server.secure_address()
    );
    let gateway = launch.start(&config).await;
    let limited = async || gateway.get("/limited").await.status;
    until_is("a limit to be counted", limited, |status| *status == 200).await;
    let old = connections(&server).await;
    let client = authority.client("other");
    gateway.dir().write("key.pem", &client.key);
    gateway.dir().write("cert.pem", &client.cert);
    until("the old connections to be gone", async || {
        let is_counted = limited().await == 200;
        let now = connections(&server).await;
        is_counted && now.iter().all(|one| !old.contains(one))
    })
    .await;
    let calls = [("store", "shared"), ("use", "counters"), ("outcome", "answered")];
    assert!(gateway.metrics().await.sum("lockgate_store_calls_total", &calls) >= 1.0);
}
