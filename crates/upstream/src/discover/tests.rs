//! Names against a small DNS server of our own on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate_config::model::{self, Balance};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Resolver;
use crate::endpoint::Endpoint;
use crate::task::Spawn;
use crate::testing::{exchange, settings};
use crate::upstream::Upstream;

/// What the server says to a question for A.
#[derive(Clone)]
enum Say {
    Addresses(Vec<[u8; 4]>, u32),
    Refused,
    NoSuchName,
    Nothing,
}

struct Server {
    address: SocketAddr,
    say: Arc<Mutex<Say>>,
    asked: Arc<Mutex<usize>>,
    work: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Server {
    async fn start(say: Say) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (say, asked) = (Arc::new(Mutex::new(say)), Arc::new(Mutex::new(0)));
        let (script, count) = (Arc::clone(&say), Arc::clone(&asked));
        let work = tokio::spawn(async move {
            let mut room = [0; 1500];
            loop {
                let (length, peer) = socket.recv_from(&mut room).await.unwrap();
                let say = script.lock().unwrap().clone();
                if let Some(answer) = answer(&room[..length], &say, &count) {
                    socket.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        Self { address, say, asked, work }
    }

    fn say(&self, say: Say) {
        *self.say.lock().unwrap() = say;
    }
}

/// Header, the question echoed, and the answers (RFC 1035 §4).
fn answer(query: &[u8], say: &Say, asked: &Mutex<usize>) -> Option<Vec<u8>> {
    let name_end = 12 + query[12..].iter().position(|&b| b == 0)? + 1;
    let question = &query[12..name_end + 4];
    let for_a = question[question.len() - 4..][..2] == [0, 1];
    *asked.lock().unwrap() += usize::from(for_a);
    let (code, addresses, ttl) = match say {
        Say::Nothing => return None,
        Say::Refused => (2, vec![], 0),
        Say::NoSuchName => (3, vec![], 0),
        Say::Addresses(addresses, ttl) if for_a => (0, addresses.clone(), *ttl),
        Say::Addresses(..) => (0, vec![], 0),
    };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    out.extend(question);
    for address in addresses {
        out.extend([0xc0, 12, 0, 1, 0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend([0, 4]);
        out.extend(address);
    }
    Some(out)
}

fn upstream(settings: &model::Upstream, server: &Server) -> Arc<Upstream> {
    let here = Spawn::on(tokio::runtime::Handle::current());
    Upstream::start("orders", settings, None, &here, &Resolver::server(server.address))
}

fn named() -> model::Upstream {
    settings(&[("orders.internal.:8080", 1)], Balance::RoundRobin)
}

fn addresses(upstream: &Upstream) -> Vec<String> {
    upstream.set().endpoints().iter().map(|e| e.label().to_string()).collect()
}

async fn changed(upstream: &Upstream, to: &[&str]) {
    let mut changes = upstream.changes();
    let waiting = async {
        while addresses(upstream) != to {
            changes.changed().await.unwrap();
        }
    };
    let known = || format!("{:?} instead of {to:?}", addresses(upstream));
    timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("{}", known()));
}

const ONE: [u8; 4] = [10, 1, 1, 1];
const TWO: [u8; 4] = [10, 1, 1, 2];
const THREE: [u8; 4] = [10, 1, 1, 3];

#[tokio::test]
async fn a_name_has_all_its_addresses_and_follows_their_changes() {
    let server = Server::start(Say::Addresses(vec![TWO, ONE], 1)).await;
    let upstream = upstream(&named(), &server);
    let fault = upstream.pick(&exchange(&[]), &[]).unwrap_err();
    assert_eq!(fault.reason().code, "no_endpoints", "before the first answer");
    timeout(Duration::from_secs(5), upstream.ready()).await.unwrap();
    assert_eq!(addresses(&upstream), ["10.1.1.1:8080", "10.1.1.2:8080"]);
    let kept: Arc<Endpoint> = Arc::clone(&upstream.set().endpoints()[1]);
    let gone: Arc<Endpoint> = Arc::clone(&upstream.set().endpoints()[0]);
    kept.order(crate::Override::Drain);
    server.say(Say::Addresses(vec![TWO, THREE], 1));
    changed(&upstream, &["10.1.1.2:8080", "10.1.1.3:8080"]).await;
    assert!(Arc::ptr_eq(&kept, &upstream.set().endpoints()[0]), "the same endpoint as before");
    assert!(gone.gone() && !kept.gone());
    assert_eq!(&**kept.host(), "orders.internal", "what TLS would verify");
}

#[tokio::test]
async fn the_last_good_answer_outlives_failures() {
    let server = Server::start(Say::Addresses(vec![ONE], 1)).await;
    let upstream = upstream(&named(), &server);
    timeout(Duration::from_secs(5), upstream.ready()).await.unwrap();
    server.say(Say::NoSuchName);
    let before = *server.asked.lock().unwrap();
    let asked_again = async {
        while *server.asked.lock().unwrap() < before + 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), asked_again).await.unwrap();
    upstream.changes().changed().await.unwrap();
    assert_eq!(addresses(&upstream), ["10.1.1.1:8080"]);
    server.say(Say::Addresses(vec![TWO], 1));
    changed(&upstream, &["10.1.1.2:8080"]).await;
    assert!(upstream.knows(0));
}

#[tokio::test]
async fn a_long_ttl_is_not_asked_again() {
    let server = Server::start(Say::Addresses(vec![ONE], 60)).await;
    let resolver = Resolver::server(server.address);
    let answer = resolver.resolve("orders.internal.").await.unwrap();
    assert!(answer.fresh_for > Duration::from_secs(58), "{answer:?}");
    server.say(Say::Addresses(vec![ONE], 100_000));
    let answer = resolver.resolve("users.internal.").await.unwrap();
    assert!(answer.fresh_for <= Duration::from_secs(300), "{answer:?}");
    server.say(Say::Addresses(vec![ONE], 0));
    let answer = resolver.resolve("stats.internal.").await.unwrap();
    assert!(answer.fresh_for >= Duration::from_secs(1), "{answer:?}");
}

#[tokio::test]
async fn a_dead_server_does_not_block_the_start() {
    let server = Server::start(Say::Nothing).await;
    let here = Spawn::on(tokio::runtime::Handle::current());
    let registry = crate::Registry::new(here, Resolver::server(server.address));
    let mut settings = named();
    settings.endpoints.insert("10.0.0.9:80".into(), model::Endpoint::default());
    let sections = [("orders".to_owned(), settings)].into_iter().collect();
    let upstreams = registry.apply(&sections);
    assert!(!registry.ready(Duration::from_millis(100)).await, "still unknown");
    let picked = upstreams["orders"].pick(&exchange(&[]), &[]).unwrap();
    assert_eq!(&**picked.endpoint().label(), "10.0.0.9:80", "literal addresses serve at once");
}

#[tokio::test]
async fn a_failed_first_answer_ends_the_wait() {
    let server = Server::start(Say::Refused).await;
    let upstream = upstream(&named(), &server);
    timeout(Duration::from_secs(30), upstream.ready()).await.unwrap();
    assert!(addresses(&upstream).is_empty());
    assert!(!upstream.knows(0), "there is no last answer to stay");
}

#[tokio::test]
async fn a_reload_keeps_the_addresses_known() {
    let server = Server::start(Say::Addresses(vec![ONE], 60)).await;
    let first = upstream(&named(), &server);
    timeout(Duration::from_secs(5), first.ready()).await.unwrap();
    let mut more = named();
    more.endpoints.insert("10.0.0.9:80".into(), model::Endpoint::default());
    let second = crate::testing::after(&more, Some(&first));
    assert_eq!(addresses(&second), ["10.1.1.1:8080", "10.0.0.9:80"], "with no DNS at all");
    assert!(Arc::ptr_eq(&first.set().endpoints()[0], &second.set().endpoints()[0]));
}

#[tokio::test]
async fn localhost_needs_no_server() {
    let nowhere = Resolver::server(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let answer = nowhere.resolve("localhost").await.unwrap();
    assert_eq!(answer.addresses, [Ipv4Addr::LOCALHOST]);
}
