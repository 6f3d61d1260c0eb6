//! Fetching keys, with time that stands still until it is let pass, and an outside that is played:
//! rotation, failures, tags, floods.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use lockgate_core::{Call, Counter, Fault, Figure, Outbound, SendFuture, Task, reasons};
use serde_json::json;
use tokio::time::{Instant, advance, sleep};

use super::super::algorithm::Allowed;
use super::super::fetch::{Fetch, Origin};
use super::super::remote::{Counts, GAP, Remote, WAIT};
use crate::cases::runtime;
use crate::cases::token::jwk;

/// One answer to come.
enum Play {
    Keys(&'static [&'static str]),
    Tagged(&'static [&'static str], &'static str),
    MaxAge(&'static [&'static str], u64),
    NotModified,
    Status(u16),
    Text(String),
    Fails,
    Never,
}

/// Plays answers in their order; the last one stays.
struct Outside {
    plays: Mutex<VecDeque<Play>>,
    calls: Mutex<Vec<(Instant, String, Option<String>)>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    takes: Duration,
}

impl Outside {
    fn new(takes: Duration, plays: Vec<Play>) -> Arc<Self> {
        Arc::new(Self {
            plays: Mutex::new(plays.into()),
            calls: Mutex::default(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            takes,
        })
    }

    fn count(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    fn tags(&self) -> Vec<Option<String>> {
        self.calls.lock().unwrap().iter().map(|(_, _, tag)| tag.clone()).collect()
    }

    fn gaps(&self) -> Vec<Duration> {
        let calls = self.calls.lock().unwrap();
        calls.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

fn set(names: &[&str]) -> String {
    json!({ "keys": names.iter().map(|name| jwk(name)).collect::<Vec<_>>() }).to_string()
}

fn answer(play: &Play) -> Result<Response<Bytes>, Fault> {
    let builder = Response::builder();
    let response = match play {
        Play::Keys(names) => builder.body(set(names)),
        Play::Tagged(names, tag) => builder.header("etag", *tag).body(set(names)),
        Play::MaxAge(names, seconds) => {
            builder.header("cache-control", format!("max-age={seconds}")).body(set(names))
        }
        Play::NotModified => builder.status(304).body(String::new()),
        Play::Status(status) => builder.status(*status).body(set(&["rsa2"])),
        Play::Text(text) => builder.body(text.clone()),
        Play::Fails | Play::Never => return Err(Fault::upstream(&reasons::UPSTREAM_REFUSED)),
    };
    Ok(response.unwrap().map(Into::into))
}

/// A call that counts as running until it is dropped.
struct Running(Arc<Handle>);
struct Handle(Arc<Outside>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Played(Arc<Outside>);

impl Outbound for Played {
    fn send(&self, call: Call) -> SendFuture<Result<Response<Bytes>, Fault>> {
        let outside = &self.0;
        let tag = call.request.headers().get("if-none-match");
        let tag = tag.map(|tag| tag.to_str().unwrap().to_owned());
        assert!(call.max_body <= 1 << 20 && call.timeout <= Duration::from_secs(5));
        outside.calls.lock().unwrap().push((Instant::now(), call.request.uri().to_string(), tag));
        let now = outside.running.fetch_add(1, Ordering::Relaxed) + 1;
        outside.most_running.fetch_max(now, Ordering::Relaxed);
        let mut plays = outside.plays.lock().unwrap();
        let never = matches!(plays.front(), Some(Play::Never));
        let answer = match plays.len() {
            0 => panic!("nothing is left to play"),
            1 => answer(&plays[0]),
            _ => answer(&plays.pop_front().unwrap()),
        };
        let running = Running(Arc::new(Handle(Arc::clone(outside))));
        let takes = outside.takes;
        Box::pin(async move {
            let _running = running;
            if never {
                std::future::pending::<()>().await;
            }
            sleep(takes).await;
            answer
        })
    }
}

struct Test {
    outside: Arc<Outside>,
    remote: Arc<Remote>,
    counts: [Arc<Counter>; 3],
}

fn begin_at(origin: Origin, takes: Duration, plays: Vec<Play>) -> Test {
    let outside = Outside::new(takes, plays);
    let counts: [Arc<Counter>; 3] = Default::default();
    let [changed, same, failed] = counts.clone();
    let fetch = Fetch {
        outbound: Arc::new(Played(Arc::clone(&outside))),
        origin,
        allowed: Allowed::default(),
        found: None,
        last: None,
    };
    let remote = Remote::new(fetch, Counts { changed, same, failed }, |work| {
        let (held, mut loose) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            tokio::select! {
                _ = &mut loose => {}
                () = work => {}
            }
        });
        Task::held_by(held)
    });
    Test { outside, remote: Arc::new(remote), counts }
}

fn begin(plays: Vec<Play>) -> Test {
    begin_at(Origin::Keys("https://id.example/keys".to_owned()), Duration::from_millis(50), plays)
}

impl Test {
    fn ids(&self) -> Option<Vec<String>> {
        let keys = self.remote.keys()?;
        Some(keys.keys.iter().map(|key| key.id.as_deref().unwrap_or("").to_owned()).collect())
    }

    fn counted(&self) -> [u64; 3] {
        self.counts.clone().map(|counter| counter.value())
    }
}

/// Lets time pass in small steps, so that everything that is due in it happens in its order.
async fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(Duration::from_millis(100).min(end - Instant::now())).await;
    }
}

fn run(test: impl Future<Output = ()>) {
    runtime().block_on(test);
}

#[test]
fn the_first_keys_are_waited_for() {
    run(async {
        let test = begin(vec![Play::Keys(&["rsa"])]);
        assert_eq!(test.ids(), None);
        let began = Instant::now();
        test.remote.next().await;
        assert!(began.elapsed() < WAIT);
        assert_eq!(test.ids().unwrap(), ["rsa"]);
        assert_eq!((test.counted(), test.remote.generation()), ([1, 0, 0], 1));
        assert_eq!(test.remote.count().value(), 1);
    });
}

#[test]
fn the_wait_for_the_first_keys_is_bounded() {
    run(async {
        let test = begin(vec![Play::Never]);
        let began = Instant::now();
        test.remote.next().await;
        assert_eq!(began.elapsed(), WAIT);
        assert_eq!(test.ids(), None);
        assert!(test.remote.trouble().contains("not answered yet"));
        pass(Duration::from_secs(6)).await;
        assert!(test.remote.trouble().contains("no answer in time"), "{}", test.remote.trouble());
        // The round is over, and the next is not due: nobody waits for it.
        let began = Instant::now();
        if test.outside.running.load(Ordering::Relaxed) == 0 {
            test.remote.next().await;
            assert_eq!(began.elapsed(), Duration::ZERO);
        }
    });
}

#[test]
fn failures_back_off_with_jitter_and_stale_keys_stay() {
    run(async {
        let test = begin(vec![Play::MaxAge(&["rsa"], 60), Play::Fails]);
        pass(Duration::from_secs(600)).await;
        assert_eq!(test.ids().unwrap(), ["rsa"]);
        let gaps = test.outside.gaps();
        assert!(gaps[0] >= Duration::from_secs(54) && gaps[0] <= Duration::from_secs(61));
        for (failures, gap) in gaps[1..].iter().enumerate() {
            let most = Duration::from_secs(1 << failures.min(10)).min(Duration::from_secs(60));
            assert!(*gap >= most / 2 && *gap <= most + Duration::from_secs(1), "{gap:?}");
        }
        assert_eq!(test.remote.generation(), 1);
        let [changed, _, failed] = test.counted();
        assert_eq!(changed, 1);
        assert!((12..30).contains(&failed), "{failed}");
        assert!(test.remote.trouble().contains("https://id.example/keys"));
    });
}

#[test]
fn keys_rotate_and_the_old_ones_go() {
    run(async {
        let test = begin(vec![
            Play::MaxAge(&["rsa"], 60),
            Play::MaxAge(&["rsa", "rsa2"], 60),
            Play::MaxAge(&["rsa2"], 60),
        ]);
        pass(Duration::from_secs(1)).await;
        assert_eq!(test.ids().unwrap(), ["rsa"]);
        pass(Duration::from_secs(61)).await;
        assert_eq!(test.ids().unwrap(), ["rsa", "rsa2"]);
        pass(Duration::from_secs(61)).await;
        assert_eq!(test.ids().unwrap(), ["rsa2"]);
        assert_eq!(test.remote.generation(), 3);
        pass(Duration::from_secs(61)).await;
        assert_eq!(test.remote.generation(), 3, "the same document is no change");
        assert_eq!(test.counted(), [3, 1, 0]);
    });
}

#[test]
fn a_tag_spares_the_document() {
    run(async {
        let test = begin(vec![
            Play::Tagged(&["rsa"], "\"1\""),
            Play::NotModified,
            Play::Tagged(&["rsa2"], "W/\"2\""),
            Play::NotModified,
        ]);
        pass(Duration::from_secs(301)).await;
        assert_eq!((test.ids().unwrap(), test.counted()), (vec!["rsa".to_owned()], [1, 1, 0]));
        pass(Duration::from_secs(602)).await;
        assert_eq!((test.ids().unwrap(), test.counted()), (vec!["rsa2".to_owned()], [2, 2, 0]));
        let tags = test.outside.tags();
        let expected = [None, Some("\"1\""), Some("\"1\""), Some("W/\"2\"")];
        assert_eq!(tags.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn answers_that_are_no_keys_change_nothing() {
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let many = json!({ "keys": vec![json!({}); 257] }).to_string();
    for bad in [
        Play::Status(500),
        Play::Status(404),
        Play::Status(301),
        Play::Status(204),
        Play::NotModified,
        Play::Text("<html>".to_owned()),
        Play::Text("[]".to_owned()),
        Play::Text("{\"keys\":{}}".to_owned()),
        Play::Text(large),
        Play::Text(many),
        Play::Fails,
        Play::Never,
    ] {
        run(async {
            let test = begin(vec![Play::MaxAge(&["rsa"], 60), bad, Play::Keys(&["rsa"])]);
            pass(Duration::from_secs(75)).await;
            assert_eq!(test.ids().unwrap(), ["rsa"]);
            assert_eq!((test.counted(), test.remote.generation()), ([1, 1, 1], 1));
        });
    }
}

/// A set whose keys are all gone is the issuer's word: it takes them back.
#[test]
fn keys_can_all_be_taken_back() {
    run(async {
        let test = begin(vec![Play::MaxAge(&["rsa"], 60), Play::Keys(&[])]);
        pass(Duration::from_secs(62)).await;
        assert_eq!((test.ids().unwrap().len(), test.remote.generation()), (0, 2));
    });
}

#[test]
fn keys_that_cannot_be_used_do_not_spoil_the_others() {
    run(async {
        let weak = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        let encryption = json!({ "kty": "RSA", "use": "enc", "alg": "RSA-OAEP" });
        let secret = json!({ "kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" });
        let keys = json!({ "keys": [weak, encryption, secret, 7, jwk("p256")] });
        let test = begin(vec![Play::Text(keys.to_string())]);
        test.remote.next().await;
        assert_eq!(test.ids().unwrap(), ["p256"]);
    });
}

/// However many ask for a key that nobody knows: one round at a time, one in each gap, and nobody
/// waits longer than the bound.
#[test]
fn a_flood_of_unknown_keys() {
    run(async {
        let takes = Duration::from_secs(4);
        let origin = Origin::Keys("https://id.example/keys".to_owned());
        let test = begin_at(origin, takes, vec![Play::MaxAge(&["rsa"], 3600)]);
        pass(takes + Duration::from_millis(100)).await;
        assert_eq!(test.outside.count(), 1);
        let began = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..600 {
            for _ in 0..5 {
                let remote = Arc::clone(&test.remote);
                waits.push(tokio::spawn(async move {
                    let began = Instant::now();
                    remote.next().await;
                    began.elapsed()
                }));
            }
            advance(Duration::from_millis(100)).await;
            tokio::task::yield_now().await;
        }
        for wait in waits {
            let waited = wait.await.unwrap();
            assert!(waited <= WAIT + Duration::from_millis(200), "{waited:?}");
        }
        let passed = began.elapsed();
        let most = usize::try_from(passed.as_secs() / GAP.as_secs()).unwrap() + 2;
        assert!((3..=most).contains(&test.outside.count()), "{}", test.outside.count());
        assert_eq!(test.outside.most_running.load(Ordering::Relaxed), 1);
        assert!(test.outside.gaps().iter().all(|gap| *gap >= GAP), "{:?}", test.outside.gaps());
    });
}

#[test]
fn an_unknown_key_right_after_a_round_waits_for_nothing() {
    run(async {
        let test = begin(vec![Play::Keys(&["rsa"])]);
        test.remote.next().await;
        let began = Instant::now();
        test.remote.next().await;
        assert_eq!((began.elapsed(), test.outside.count()), (Duration::ZERO, 1));
        pass(GAP).await;
        test.remote.next().await;
        assert_eq!(test.outside.count(), 2);
    });
}

#[test]
fn work_ends_with_the_last_holder() {
    run(async {
        let test = begin(vec![Play::MaxAge(&["rsa"], 30)]);
        pass(Duration::from_secs(40)).await;
        let before = test.outside.count();
        assert!(before >= 2);
        let outside = Arc::clone(&test.outside);
        drop(test);
        pass(Duration::from_secs(600)).await;
        assert_eq!(outside.count(), before);
    });
}

#[test]
fn discovery_is_asked_again_when_keys_fail() {
    run(async {
        let document = |keys: &str| {
            Play::Text(json!({ "issuer": "https://id.example", "jwks_uri": keys }).to_string())
        };
        let test = begin_at(
            Origin::Issuer("https://id.example".to_owned()),
            Duration::from_millis(10),
            vec![
                document("https://id.example/1"),
                Play::MaxAge(&["rsa"], 60),
                Play::Status(StatusCode::NOT_FOUND.as_u16()),
                document("https://id.example/2"),
                Play::Keys(&["rsa2"]),
            ],
        );
        pass(Duration::from_secs(65)).await;
        assert_eq!(test.ids().unwrap(), ["rsa2"]);
        let calls = test.outside.calls.lock().unwrap();
        let paths: Vec<&str> = calls.iter().map(|(_, url, _)| &url[18..]).collect();
        let well_known = "/.well-known/openid-configuration";
        assert_eq!(paths, [well_known, "/1", "/1", well_known, "/2"]);
    });
}
