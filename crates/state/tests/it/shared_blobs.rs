//! What several gateways have of blobs on one Redis: what one puts the others find, what one purges
//! is gone for all, and of many who make the same one leads. Each gateway is a store of its own.

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{Blob, Blobs, Maker, Purge, Step, StoreError, Tag};
use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::until;
use tokio::time::Instant;

use crate::blobs::{MINUTE, blob, gateway, get, has, put};

async fn turn(blobs: &dyn Blobs, path: &str, known: Option<&Blob>) -> Result<Maker, StoreError> {
    match blobs.turn(path.as_bytes(), known) {
        Step::Now(turn) => turn,
        Step::Later(turn) => turn.await,
    }
}

fn word(turn: Result<Maker, StoreError>) -> &'static str {
    match turn.unwrap() {
        Maker::Alone => "alone",
        Maker::Leads(_) => "leads",
        Maker::Waits(_) => "waits",
        Maker::Made => "made",
    }
}

/// Puts a blob through one gateway, and waits until another has it from the store.
async fn shared(one: &dyn Blobs, other: &dyn Blobs, path: &str) {
    for _ in 0..10 {
        // Again, should a purge have come between.
        put(one, path);
        for _ in 0..100 {
            if has(other, path).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("{path} never came into the store");
}

#[tokio::test]
async fn what_one_puts_another_finds_with_its_age_and_in_its_own_memory_then() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    shared(&*a, &*b, "/x").await;
    assert!(matches!(b.get(b"/x"), Step::Now(Ok(Some(_)))), "from memory, without a word");
    let (ours, theirs) = (get(&*a, "/x").await.unwrap().unwrap(), get(&*b, "/x").await.unwrap());
    assert_eq!(ours.id, theirs.unwrap().id);
    let figures = b.figures();
    assert!(figures.hits >= 1, "{figures:?}");
    // Neither the key nor what it is made of can be read in Redis.
    let keys = server.ask(&["SCAN", "0", "COUNT", "100"]).await;
    let keys = keys.text();
    assert!(keys.contains("test:blob:{") && !keys.contains("/x"), "{keys}");
}

#[tokio::test]
async fn a_purge_reaches_all_and_soon() {
    let server = RedisServer::start().await;
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        all.push(gateway(&server, name).await);
    }
    let mut slowest = Duration::ZERO;
    for (n, what) in [
        Purge::Tag(Tag::uri("a.test", "/x/1")),
        Purge::Tag(Tag::word("1")),
        Purge::Names("/x/*".parse().unwrap()),
        Purge::All,
    ]
    .iter()
    .enumerate()
    {
        let (first, rest) = all.split_first().unwrap();
        for other in rest {
            shared(&**first, &**other, "/x/1").await;
        }
        let purging = &all[n % 3];
        let began = Instant::now();
        purging.purge(what).told().await.unwrap();
        assert!(!has(&**purging, "/x/1").await, "{what:?}");
        for other in &all {
            until("the purge to be heard", async || !has(&**other, "/x/1").await).await;
        }
        slowest = slowest.max(began.elapsed());
    }
    println!("the slowest of four purges was heard by three gateways after {slowest:?}");
    let figures = all[2].figures();
    assert_eq!((figures.heard, figures.untold), (4, 0), "{figures:?}");
}

#[tokio::test]
async fn what_was_asked_for_before_a_purge_elsewhere_is_not_given() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    // Asked for by the one, purged by the other, and put before the one has heard of it.
    let made = blob(&*a, "/x", "/x");
    b.purge(&Purge::Tag(Tag::uri("a.test", "/x"))).told().await.unwrap();
    a.put(b"/x", made, MINUTE);
    until("the purge to be heard", async || !has(&*a, "/x").await).await;
    assert!(!has(&*b, "/x").await);
    let c = gateway(&server, "c").await;
    assert!(!has(&*c, "/x").await, "nor by one that comes later and has read of it alone");
    shared(&*a, &*b, "/x").await;
    until("it to be found", async || has(&*c, "/x").await).await;
}

#[tokio::test]
async fn a_message_that_is_lost_is_made_up_for() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    shared(&*a, &*b, "/x").await;
    shared(&*a, &*b, "/y").await;
    // Nothing is heard: the connection of messages is cut again and again.
    let began = Instant::now();
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    a.purge(&Purge::Tag(Tag::uri("a.test", "/x"))).told().await.unwrap();
    until("the purge to be noticed", async || {
        server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        !has(&*b, "/x").await
    })
    .await;
    println!("a purge was noticed without messages after {:?}", began.elapsed());
    assert!(has(&*b, "/y").await, "and nothing else is gone");
    assert!(b.figures().caught_up > 0 && b.figures().gaps > 0, "{:?}", b.figures());
}

#[tokio::test]
async fn a_store_that_has_lost_its_log_leaves_nothing_believed() {
    let mut server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    shared(&*a, &*b, "/x").await;
    server.kill();
    // A purge that nobody can be told of holds here at once, and for all once they can be.
    assert!(a.purge(&Purge::Tag(Tag::word("x"))).told().await.is_err());
    assert!(!matches!(a.get(b"/x"), Step::Now(Ok(Some(_)))));
    assert!(has(&*b, "/x").await, "the other cannot know");
    server.restart().await;
    until("the other to know", async || matches!(get(&*b, "/x").await, Ok(None))).await;
    until("the purge to be told", async || a.figures().untold == 0).await;
    until("all to be heard", async || a.hears() && b.hears()).await;
    shared(&*a, &*b, "/x").await;
}

#[tokio::test]
async fn a_purge_made_during_anothers_cut_is_honoured_after_it() {
    // Redis keeps what it has, and its disk.
    let mut server = RedisServer::start_with(&["--appendonly", "yes"]).await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    shared(&*a, &*b, "/x").await;
    shared(&*a, &*b, "/y").await;
    server.stop();
    until("the cut to be noticed", async || !b.hears()).await;
    drop(a.purge(&Purge::Tag(Tag::word("x"))));
    server.restart().await;
    until("the purge to be honoured", async || !matches!(get(&*b, "/x").await, Ok(Some(_)))).await;
    assert!(has(&*b, "/y").await, "and nothing else is gone");
}

#[tokio::test]
async fn one_leads_and_the_others_find_what_it_made() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    let lead = turn(&*a, "/x", None).await.unwrap();
    assert!(matches!(lead, Maker::Leads(_)));
    assert_eq!(word(turn(&*b, "/x", None).await), "waits");
    assert_eq!(word(turn(&*b, "/y", None).await), "leads", "another key is another matter");
    assert!(put(&*a, "/x"));
    until("it to be made", async || word(turn(&*b, "/x", None).await) == "made").await;
    assert!(matches!(b.get(b"/x"), Step::Now(Ok(Some(_)))));
    drop(lead);
    // What is known and will not do is asked for anew.
    let known = get(&*b, "/x").await.unwrap();
    let lead = turn(&*b, "/x", known.as_deref()).await.unwrap();
    assert!(matches!(lead, Maker::Leads(_)));
    assert_eq!(word(turn(&*a, "/x", known.as_deref()).await), "waits");
    drop(lead);
    until("it to be given back", async || {
        matches!(turn(&*a, "/x", known.as_deref()).await, Ok(Maker::Leads(_)))
    })
    .await;
}

#[tokio::test]
async fn a_lead_is_held_for_as_long_as_it_takes_and_no_longer_than_its_gateway_lives() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    let lead = turn(&*a, "/x", None).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        assert_eq!(word(turn(&*b, "/x", None).await), "waits", "after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // As if its process had died: nobody gives it back, and nobody holds on to it.
    std::mem::forget(lead);
    drop(a);
    let began = Instant::now();
    until("it to be over", async || word(turn(&*b, "/x", None).await) == "leads").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_too_large_to_share_is_kept_by_each_and_nobody_waits_for_it() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    let lead = turn(&*a, "/x", None).await;
    assert!(a.put_apart(b"/x", blob(&*a, "/x", "/x"), MINUTE));
    drop(lead);
    until("it to be told", async || word(turn(&*b, "/x", None).await) == "alone").await;
    assert!(has(&*a, "/x").await);
    assert!(!has(&*b, "/x").await, "the other makes its own");
    // What only one gateway knows, the others are not told of at all.
    assert!(a.put_here(b"/y", blob(&*a, "/y", "/y"), MINUTE));
    assert_eq!(word(turn(&*b, "/y", None).await), "leads");
}

#[tokio::test]
async fn what_is_taken_away_stays_away_whatever_was_put_just_before() {
    let server = RedisServer::start().await;
    let a = gateway(&server, "a").await;
    // More than can be under way at a time.
    for _ in 0..200 {
        assert!(put(&*a, "/x"));
    }
    a.remove(b"/x");
    until("all to be put", async || a.figures().put == 200).await;
    let kept = async || server.ask(&["KEYS", "test:blob:*"]).await.list().len();
    until("it to be taken away", async || kept().await == 0).await;
    // And what is put after that is there.
    a.remove(b"/x");
    assert!(put(&*a, "/x"));
    until("it to be put", async || a.figures().put == 201).await;
    assert_eq!(kept().await, 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_there() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    shared(&*a, &*b, "/x").await;
    let before = a.figures().put;
    assert!(put(&*a, "/unread"));
    until("it to be put", async || a.figures().put > before).await;
    let c = gateway(&server, "c").await;
    assert!(!matches!(get(&*c, "/unread").await, Ok(Some(_))), "its owner does not understand it");
    let blobs = server.ask(&["KEYS", "test:blob:*"]).await;
    let keys: Vec<String> = blobs.list().iter().map(|key| key.text()).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for bytes in ["", "\x01", "garbage of some length, which is not what was written here"] {
        for key in &keys {
            server.ask(&["HSET", key, "m", bytes]).await;
        }
        let fresh = gateway(&server, "d").await;
        assert!(!has(&*fresh, "/x").await, "{bytes}");
        assert_eq!(word(turn(&*fresh, "/x", None).await), "leads", "and can be made anew");
    }
    for key in &keys {
        server.ask(&["DEL", key]).await;
        server.ask(&["SET", key, "a string"]).await;
    }
    let fresh = gateway(&server, "e").await;
    assert!(get(&*fresh, "/x").await.is_err());
}

#[tokio::test]
async fn a_thousand_who_ask_at_once_are_one_question_to_the_store() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    assert!(put(&*a, "/x"));
    until("it to be put", async || a.figures().put == 1).await;
    let asked: Vec<_> = (0..1000).map(|_| get(&*b, "/x")).collect();
    for got in futures_of(asked).await {
        assert!(got.unwrap().is_some());
    }
    assert_eq!(b.figures().hits, 1, "{:?}", b.figures());
}

/// All of them, polled together.
async fn futures_of<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, done) in &mut futures {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn a_log_that_is_cut_short_purges_what_is_older_than_it_reaches() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    shared(&*a, &*b, "/x").await;
    // As when there was no room for all: the oldest purge is forgotten, and the floor is lifted.
    a.purge(&Purge::Tag(Tag::word("other"))).told().await.unwrap();
    let log = "test:purges:{purges}";
    let last = server.ask(&["ZRANGE", log, "-1", "-1", "WITHSCORES"]).await;
    let number = last.list().last().unwrap().text();
    server.ask(&["ZREMRANGEBYRANK", log, "0", "-1"]).await;
    server.ask(&["ZADD", log, &number, "f"]).await;
    let c = gateway(&server, "c").await;
    assert!(!has(&*c, "/x").await, "it cannot know what was purged");
    assert!(has(&*b, "/x").await, "who has heard all along does");
    shared(&*a, &*c, "/x").await;
}

#[tokio::test]
async fn gateways_hear_of_each_other_however_busy_they_purge() {
    let server = RedisServer::start().await;
    let (a, b) = (gateway(&server, "a").await, gateway(&server, "b").await);
    for n in 0..500 {
        assert!(put(&*b, &format!("/x/{n}")));
    }
    // More than one script takes at once, from both sides.
    for n in 0..500 {
        let tag = Purge::Tag(Tag::uri("a.test", &format!("/x/{n}")));
        drop(if n % 2 == 0 { a.purge(&tag) } else { b.purge(&tag) });
    }
    until("all to be told", async || a.figures().untold + b.figures().untold == 0).await;
    for n in 0..500 {
        until("it to be gone", async || !has(&*b, &format!("/x/{n}")).await).await;
    }
    let kept: Arc<Blob> = blob(&*b, "/z", "/z");
    assert!(b.put(b"/z", kept, MINUTE));
}
