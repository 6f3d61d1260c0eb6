//! `serialize` over real sockets: three gateways over one Redis, and a service that counts who is
//! there at once. Gateways stand still, die and lose their store in the middle.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::{Answer, Echo, Gateway, Wire, request, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::support::{cli_on, start};

fn config(redis: &RedisServer, address: SocketAddr, more: &str) -> String {
    let store = redis.url();
    format!(
        "stores: {{ shared: {{ url: \"{store}\", timeout: 5s }} }}\nroutes:\n  /*:\n    \
         serialize: {{ by: \"header:X-Account\", wait: 25s, ttl: 1s, store: shared{more} }}\n    \
         retry: {{ attempts: 2, on: [connect, 503] }}\n    to: \"http://{address}\"\n"
    )
}

async fn three(redis: &RedisServer, address: SocketAddr, more: &str) -> [Gateway; 3] {
    let config = config(redis, address, more);
    [start(&config).await, start(&config).await, start(&config).await]
}

async fn sent(gateway: &Gateway, path: &str, account: &str) -> Wire {
    let mut wire = gateway.wire().await;
    wire.send(request("POST", path, &[("X-Account", account)], "")).await;
    wire
}

async fn asks(gateway: &Gateway, path: &str, account: &str) -> Answer {
    within("an answer", gateway.ask("POST", path, &[("X-Account", account)], "")).await
}

/// One that stays at the endpoint until its gate opens.
async fn at_endpoint(gateway: &Gateway, echo: &Echo, account: &str) -> Wire {
    let before = echo.hits();
    let wire = sent(gateway, "/wait", account).await;
    until("the endpoint has it", async || echo.hits() > before).await;
    wire
}

fn fence(echo: &Echo, place: usize) -> u64 {
    echo.seen()[place].header("lockgate-fence").unwrap().parse().unwrap()
}

/// A service with accounts: who is at work on each, and the largest number it was told.
struct Ledger {
    address: SocketAddr,
    accounts: Arc<Mutex<HashMap<String, Account>>>,
    task: AbortHandle,
}

#[derive(Default, Clone, Copy)]
struct Account {
    now: u32,
    most: u32,
    last: u64,
    done: u32,
}

impl Ledger {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accounts: Arc<Mutex<HashMap<String, Account>>> = Arc::default();
        let all = Arc::clone(&accounts);
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all)));
            }
        };
        Self { address, accounts, task: tokio::spawn(accept).abort_handle() }
    }

    fn accounts(&self) -> HashMap<String, Account> {
        self.accounts.lock().unwrap().clone()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, accounts: Arc<Mutex<HashMap<String, Account>>>) {
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(read.drain(..end + 4).collect()).unwrap().to_lowercase();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
        };
        let (name, number): (_, u64) =
            (field("x-account"), field("lockgate-fence").parse().unwrap());
        {
            let mut accounts = accounts.lock().unwrap();
            let account = accounts.entry(name.clone()).or_default();
            account.now += 1;
            account.most = account.most.max(account.now);
            assert!(number > account.last, "the number has not grown");
            account.last = number;
        }
        sleep(Duration::from_millis(5)).await;
        {
            let mut accounts = accounts.lock().unwrap();
            let account = accounts.get_mut(&name).unwrap();
            account.now -= 1;
            account.done += 1;
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn three_gateways_let_one_at_a_time_through() {
    const ROUNDS: u32 = 8;
    let (redis, ledger) = (RedisServer::start().await, Ledger::start().await);
    let gateways = three(&redis, ledger.address, "").await;
    let mut clients = Vec::new();
    for (gateway, account) in gateways.iter().flat_map(|gateway| {
        ["red", "green", "blue"].into_iter().flat_map(move |account| [(gateway, account); 2])
    }) {
        let address = gateway.web();
        clients.push(tokio::spawn(async move {
            let mut wire = Wire::connect(address).await;
            for _ in 0..ROUNDS {
                let asked = request("POST", "/", &[("X-Account", account)], "");
                assert_eq!(wire.ask(asked).await.status, 200);
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let accounts = ledger.accounts();
    assert_eq!(accounts.len(), 3);
    for (name, account) in accounts {
        assert_eq!((account.most, account.done), (1, 6 * ROUNDS), "{name}");
    }
    let metrics = gateways[0].metrics().await;
    assert_eq!(metrics.sum("lockgate_serialize_turns_total", &[]), f64::from(6 * ROUNDS));
    assert_eq!(metrics.sum("lockgate_serialize_held", &[]), 0.0);
}

#[tokio::test]
async fn different_keys_pass_while_one_is_held_and_a_turn_is_handed_on_at_once() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    // Nobody has to look: what hands the turn on is the word of the gateway that had it.
    let config = config(&redis, echo.address(), "").replace("ttl: 1s", "ttl: 30s");
    let (one, other) = (start(&config).await, start(&config).await);
    let mut first = at_endpoint(&one, &echo, "red").await;
    assert_eq!(asks(&other, "/", "blue").await.status, 200);
    let mut second = sent(&other, "/wait", "red").await;
    let waits = async || other.metrics().await.sum("lockgate_serialize_waiting", &[]) == 1.0;
    until("it waits", waits).await;
    assert_eq!(echo.hits(), 2);
    echo.open(2);
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(second.answer().await.status, 200);
    assert!(fence(&echo, 2) > fence(&echo, 0));
    let refused = asks(&one, "/", "").await;
    assert_eq!((refused.status, refused.reason()), (400, Some("serialize_key_missing")));
}

#[tokio::test]
async fn who_waited_for_too_long_is_told_so() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let config = config(&redis, echo.address(), ", retry_after: 7s").replace("25s", "300ms");
    let (one, other) = (start(&config).await, start(&config).await);
    let mut first = at_endpoint(&one, &echo, "red").await;
    let refused = asks(&other, "/", "red").await;
    assert_eq!((refused.status, refused.reason()), (409, Some("serialize_busy")));
    assert_eq!(refused.header("retry-after"), Some("7"));
    echo.open(1);
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(echo.hits(), 1);
}

/// The gateway stands still past its lease: the next one goes on with a larger number, and the
/// answer that had come meanwhile is not passed on as if nothing were.
#[tokio::test]
async fn a_gateway_that_stood_still_fails_what_it_held() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let [one, other, _] = three(&redis, echo.address(), "").await;
    let mut first = at_endpoint(&one, &echo, "red").await;
    one.signal("STOP");
    let mut second = at_endpoint(&other, &echo, "red").await;
    assert!(fence(&echo, 1) > fence(&echo, 0));
    echo.open(2);
    assert_eq!(within("the second", second.answer()).await.status, 200);
    one.signal("CONT");
    let answer = within("the first", first.answer()).await;
    assert_eq!((answer.status, answer.reason()), (503, Some("lease_lost")));
    assert_eq!(echo.hits(), 2, "nothing was sent again");
    let line = one.logged(|line| line["status"] == 503).await;
    assert_eq!(line["reason"], "lease_lost", "{line}");
    let lost = one.metrics().await.sum("lockgate_serialize_lost_total", &[("how", "lost")]);
    assert_eq!(lost, 1.0);
    let said = async || one.said().contains("a lease was lost");
    until("the log says so", said).await;
    assert_eq!(asks(&one, "/", "red").await.status, 200);
}

#[tokio::test]
async fn or_flags_it() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let [one, other, _] = three(&redis, echo.address(), ", on_lost: flag").await;
    let mut first = at_endpoint(&one, &echo, "red").await;
    one.signal("STOP");
    let mut second = at_endpoint(&other, &echo, "red").await;
    echo.open(2);
    let second = within("the second", second.answer()).await;
    assert_eq!((second.status, second.header("lockgate-lease")), (200, None));
    one.signal("CONT");
    let answer = within("the first", first.answer()).await;
    assert_eq!((answer.status, answer.header("lockgate-lease")), (200, Some("lost")));
    let line = one.logged(|line| line["reason"] == "lease_lost").await;
    assert_eq!(line["status"], 200, "{line}");
}

/// A request that ran once and whose turn was lost in the middle does not run again by itself.
#[tokio::test]
async fn what_was_lost_in_the_middle_is_not_repeated_blindly() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let config = config(&redis, echo.address(), "")
        .replace("    retry:", "    idempotency: { store: shared }\n    retry:");
    let (one, other) = (start(&config).await, start(&config).await);
    let headers = [("X-Account", "red"), ("Idempotency-Key", "k-1")];
    let mut first = one.wire().await;
    first.send(request("POST", "/wait", &headers, "")).await;
    until("the endpoint has it", async || echo.hits() == 1).await;
    one.signal("STOP");
    let mut second = at_endpoint(&other, &echo, "red").await;
    echo.open(2);
    assert_eq!(within("the second", second.answer()).await.status, 200);
    one.signal("CONT");
    let answer = within("the first", first.answer()).await;
    assert_eq!((answer.status, answer.reason()), (503, Some("lease_lost")));
    let repeat = other.ask("POST", "/wait", &headers, "").await;
    assert_eq!((repeat.status, repeat.reason()), (409, Some("unknown_outcome")));
    assert_eq!(echo.hits(), 2);
}

#[tokio::test]
async fn a_gateway_that_dies_is_followed() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let [one, other, _] = three(&redis, echo.address(), "").await;
    let _first = at_endpoint(&one, &echo, "red").await;
    one.signal("KILL");
    echo.open(2);
    assert_eq!(asks(&other, "/", "red").await.status, 200);
    assert!(fence(&echo, 1) > fence(&echo, 0));
}

#[tokio::test]
async fn a_client_that_goes_gives_its_turn_to_the_next() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let config = config(&redis, echo.address(), "").replace("ttl: 1s", "ttl: 60s");
    let (one, other) = (start(&config).await, start(&config).await);
    let first = at_endpoint(&one, &echo, "red").await;
    drop(first);
    assert_eq!(asks(&other, "/", "red").await.status, 200);
    until("the endpoint has heard of it", async || echo.cancelled() == 1).await;
    // One that goes while it waits leaves the queue.
    let mut holds = at_endpoint(&one, &echo, "blue").await;
    let waits = sent(&other, "/", "blue").await;
    let waiting = async || other.metrics().await.sum("lockgate_serialize_waiting", &[]);
    until("it waits", async || waiting().await == 1.0).await;
    drop(waits);
    until("it has left", async || waiting().await == 0.0).await;
    echo.open(1);
    assert_eq!(holds.answer().await.status, 200);
    assert_eq!(asks(&other, "/", "blue").await.status, 200);
}

#[tokio::test]
async fn a_store_that_is_lost_in_the_middle() {
    let (mut redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let [one, other, _] = three(&redis, echo.address(), "").await;
    let mut first = at_endpoint(&one, &echo, "red").await;
    redis.kill();
    let answer = within("the loss", first.answer()).await;
    assert_eq!((answer.status, answer.reason()), (503, Some("lease_lost")));
    let refused = asks(&other, "/", "red").await;
    assert_eq!((refused.status, refused.reason()), (503, Some("store_unavailable")));
    assert!(refused.header("retry-after").is_some());
    redis.restart().await;
    until("turns are given again", async || asks(&other, "/", "red").await.status == 200).await;
    // It has forgotten the last number, and the next is larger all the same.
    let last = echo.seen().len() - 1;
    assert!(fence(&echo, last) > fence(&echo, 0));
}

#[tokio::test]
async fn a_turn_ends_at_the_latest_after_its_hold() {
    let (redis, echo) = (RedisServer::start().await, Echo::start("a").await);
    let [one, other, _] = three(&redis, echo.address(), ", hold: 700ms").await;
    let begun = Instant::now();
    let mut first = at_endpoint(&one, &echo, "red").await;
    assert_eq!(asks(&other, "/", "red").await.status, 200);
    let answer = within("the end", first.answer()).await;
    assert_eq!((answer.status, answer.reason()), (504, Some("lease_expired")));
    assert!(begun.elapsed() >= Duration::from_millis(700));
    until("the endpoint has heard of it", async || echo.cancelled() == 1).await;
}

#[tokio::test]
async fn turns_that_several_gateways_do_not_share_are_warned_of() {
    let route = |store: &str| {
        format!(
            "replicas: 3\nstores: {{ shared: \"redis://127.0.0.1:1\" }}\nroutes:\n  /*: {{ \
             serialize: {{ by: ip, store: {store}, on_store_error: local }}, to: \
             \"http://127.0.0.1:9\" }}\n"
        )
    };
    let warned = cli_on(&route("memory"), &["check", "lockgate.yaml"]).await;
    assert!(warned.text().contains("together they let 3 pass at once"), "{}", warned.text());
    let fine = cli_on(&route("shared"), &["check", "lockgate.yaml"]).await;
    let fine = fine.text();
    assert!(!fine.contains("together they let up") && !fine.contains("by leases in"), "{fine}");
    // They share it as long as it answers.
    assert!(fine.contains("while its store does not answer, each of the 3 replicas"), "{fine}");
    let denies = route("shared").replace("local", "deny");
    let denies = cli_on(&denies, &["check", "lockgate.yaml"]).await.text();
    assert!(!denies.contains("replicas"), "{denies}");
}

/// What is let pass without the store is never mistaken for what had its turn there.
#[tokio::test]
async fn turns_without_the_store_are_flagged_and_counted() {
    let echo = Echo::start("a").await;
    let mut redis = RedisServer::prepared(&[]);
    for (word, flag) in [("local", "local"), ("allow", "none")] {
        let more = format!(", on_store_error: {word}");
        let gateway = start(&config(&redis, echo.address(), &more)).await;
        let answer = asks(&gateway, "/", "red").await;
        assert_eq!((answer.status, answer.header("lockgate-lease")), (200, Some(flag)));
        let seen = echo.seen();
        let number = seen.last().and_then(|seen| seen.header("lockgate-fence"));
        assert_eq!(number.is_some(), word == "local");
        let metrics = gateway.metrics().await;
        let name = "lockgate_serialize_store_errors_total";
        assert_eq!(metrics.sum(name, &[("went", word)]), 1.0);
        redis.restart().await;
        until("turns of the store", async || {
            asks(&gateway, "/", "red").await.header("lockgate-lease").is_none()
        })
        .await;
        redis.kill();
    }
}

#[tokio::test]
async fn one_gateway_needs_no_store() {
    let ledger = Ledger::start().await;
    let address = ledger.address;
    let config = format!(
        "workers: 2\nroutes:\n  /*:\n    serialize: {{ by: \"header:X-Account\", wait: 25s }}\n    \
         to: \"http://{address}\"\n"
    );
    let gateway = start(&config).await;
    let web = gateway.web();
    let clients: Vec<_> = (0..12)
        .map(|_| {
            tokio::spawn(async move {
                let mut wire = Wire::connect(web).await;
                for _ in 0..5 {
                    let asked = request("POST", "/", &[("X-Account", "red")], "");
                    assert_eq!(wire.ask(asked).await.status, 200);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let account = ledger.accounts()["red"];
    assert_eq!((account.most, account.done), (1, 60));
}
