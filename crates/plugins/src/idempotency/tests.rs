//! What cases cannot say: requests at the same time, clients and processes that go in between, and
//! that no order of such things runs a request twice.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use lockgate_core::{Body, Exchange, Fault, Origin, Policy, Resend, Step, Verdict, reasons};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cases::{policy, request};

fn built(settings: serde_json::Value) -> std::sync::Arc<dyn Policy> {
    policy("idempotency", &settings).unwrap()
}

fn pays(key: &str, body: &str) -> Exchange {
    let headers = json!({ "idempotency-key": key });
    request(&json!({ "line": "POST /pay", "headers": headers, "body": body }))
}

/// What a request hears on its way down.
#[derive(Debug, PartialEq)]
enum Heard {
    Goes,
    Answer(String),
    Refused(&'static str),
}

async fn wait<T>(step: Step<'_, T>) -> T {
    match step {
        Step::Now(value) => value,
        Step::Later(value) => value.await,
    }
}

async fn asks(policy: &dyn Policy, exchange: &mut Exchange) -> Heard {
    match wait(policy.request(exchange)).await {
        Ok(Verdict::Pass) => Heard::Goes,
        Ok(Verdict::Answer(response) | Verdict::AnswerAnd(response, _)) => {
            assert_eq!(response.headers()["idempotency-replayed"], "true");
            let body = response.into_body().collect(1 << 20).await.unwrap();
            Heard::Answer(String::from_utf8(body.to_vec()).unwrap())
        }
        Err(fault) => Heard::Refused(fault.reason().code),
    }
}

/// The upstream has it.
fn sends(exchange: &Exchange) {
    exchange.once.as_ref().unwrap().tries();
}

/// The upstream answers.
async fn answers(policy: &dyn Policy, exchange: &mut Exchange, body: Body) -> Response<Body> {
    exchange.once.as_ref().unwrap().tried(&Ok(()));
    exchange.origin = Origin::Upstream;
    let mut response = Response::new(body);
    wait(policy.response(exchange, &mut response)).await.unwrap();
    response
}

/// The upstream cannot be asked, or nobody hears its answer.
async fn fails(policy: &dyn Policy, exchange: &mut Exchange, resend: Resend) {
    let fault = || Fault::upstream(&reasons::UPSTREAM_REFUSED).resend(resend);
    exchange.once.as_ref().unwrap().tried::<()>(&Err(fault()));
    exchange.fault = Some(fault());
    let mut response = Response::new(Body::Empty);
    wait(policy.response(exchange, &mut response)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_refused_while_the_first_runs() {
    let policy = built(json!({}));
    let (mut first, mut second) = (pays("k", "7"), pays("k", "7"));
    assert_eq!(asks(&*policy, &mut first).await, Heard::Goes);
    assert_eq!(asks(&*policy, &mut second).await, Heard::Refused("idempotency_running"));
    assert_eq!(asks(&*policy, &mut pays("k", "8")).await, Heard::Refused("idempotency_key_reused"));
    sends(&first);
    answers(&*policy, &mut first, "paid".into()).await;
    assert_eq!(asks(&*policy, &mut pays("k", "7")).await, Heard::Answer("paid".into()));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_may_wait_for_the_first() {
    let policy = built(json!({ "wait": "5s" }));
    let mut first = pays("k", "7");
    assert_eq!(asks(&*policy, &mut first).await, Heard::Goes);
    let began = Instant::now();
    let (mut second, mut third) = (pays("k", "7"), pays("k", "8"));
    assert_eq!(asks(&*policy, &mut third).await, Heard::Refused("idempotency_key_reused"));
    assert_eq!(asks(&*policy, &mut second).await, Heard::Refused("idempotency_running"));
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    let mut second = pays("k", "7");
    let ends = async {
        sleep(Duration::from_secs(2)).await;
        sends(&first);
        answers(&*policy, &mut first, "paid".into()).await;
    };
    let (heard, ()) = tokio::join!(asks(&*policy, &mut second), ends);
    assert_eq!(heard, Heard::Answer("paid".into()));
    assert_eq!(began.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn who_waits_runs_when_the_first_has_not() {
    let policy = built(json!({ "wait": "5s" }));
    let mut first = pays("k", "7");
    assert_eq!(asks(&*policy, &mut first).await, Heard::Goes);
    let ends = async {
        sleep(Duration::from_secs(1)).await;
        fails(&*policy, &mut first, Resend::Safe).await;
    };
    let (mut second, mut third) = (pays("k", "7"), pays("k", "7"));
    let both = async { tokio::join!(asks(&*policy, &mut second), asks(&*policy, &mut third)) };
    let ((two, three), ()) = tokio::join!(both, ends);
    let mut heard = [two, three];
    heard.sort_by_key(|heard| *heard != Heard::Goes);
    assert_eq!(heard, [Heard::Goes, Heard::Refused("idempotency_running")], "one of them");
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_leaves_what_is_known_of_it() {
    let policy = built(json!({}));
    let mut first = pays("k", "7");
    assert_eq!(asks(&*policy, &mut first).await, Heard::Goes);
    drop(first);
    let mut second = pays("k", "7");
    assert_eq!(asks(&*policy, &mut second).await, Heard::Goes, "nobody had it");
    sends(&second);
    drop(second);
    assert_eq!(asks(&*policy, &mut pays("k", "7")).await, Heard::Refused("unknown_outcome"));
    assert_eq!(asks(&*policy, &mut pays("k", "8")).await, Heard::Refused("idempotency_key_reused"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_pieces_is_whole_for_the_first_and_the_repeat() {
    struct Pieces(Vec<Frame<Bytes>>);
    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Fault;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Fault>>> {
            let next = (!self.0.is_empty()).then(|| Ok(self.0.remove(0)));
            std::task::Poll::Ready(next)
        }
    }
    let pieces = |trailers: bool| {
        let mut end = HeaderMap::new();
        end.insert("grpc-status", "0".parse().unwrap());
        let mut all = vec![Frame::data("ab".into()), Frame::data("cd".into())];
        all.extend(trailers.then(|| Frame::trailers(end)));
        Body::stream(Pieces(all))
    };
    let all = async |mut body: Body| {
        let (mut data, mut trailers) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(more) => data.extend_from_slice(&more),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        (String::from_utf8(data).unwrap(), trailers.map(|all| all["grpc-status"].clone()))
    };
    for (most, kept) in [("4B", true), ("3B", false)] {
        for trailers in [false, true] {
            let policy = built(json!({ "max_answer": most }));
            let mut first = pays("k", "7");
            asks(&*policy, &mut first).await;
            sends(&first);
            let response = answers(&*policy, &mut first, pieces(trailers)).await;
            let given = all(response.into_body()).await;
            assert_eq!(given.0, "abcd", "{most}");
            assert_eq!(given.1.is_some(), trailers);
            let mut second = pays("k", "7");
            match wait(policy.request(&mut second)).await {
                Ok(Verdict::Answer(response)) if kept => {
                    assert_eq!(all(response.into_body()).await, given);
                }
                Err(fault) if !kept => assert_eq!(fault.reason().code, "answer_not_kept"),
                _ => panic!("{most}: neither given nor refused as it should be"),
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// A request with this key, one of two.
    Ask(usize),
    /// One that goes on has been sent to the upstream.
    Send(usize),
    Answer(usize),
    /// Nobody hears the answer.
    Fail(usize),
    /// Nothing was sent.
    Refuse(usize),
    /// The request is dropped where it is.
    Crash(usize),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0..2_usize).prop_map(Event::Ask),
        2 => (0..4_usize).prop_map(Event::Send),
        2 => (0..4_usize).prop_map(Event::Answer),
        1 => (0..4_usize).prop_map(Event::Fail),
        1 => (0..4_usize).prop_map(Event::Refuse),
        2 => (0..4_usize).prop_map(Event::Crash),
        1 => (1..100_u64).prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 0..60)
}

/// One request that goes on.
struct Going {
    exchange: Exchange,
    key: usize,
    sent: bool,
}

/// What happened under one key.
#[derive(Default, Debug)]
struct Tale {
    runs: usize,
    lost: usize,
    answer: Option<String>,
}

/// Plays events, and checks after each that no request ran twice which must not.
async fn play(again: bool, events: Vec<Event>) {
    let policy = built(json!({ "on_unknown": if again { "retry" } else { "refuse" } }));
    let mut going: Vec<Going> = Vec::new();
    let mut tales: HashMap<usize, Tale> = HashMap::new();
    for event in events {
        let place = |one: usize, going: &[Going]| (!going.is_empty()).then(|| one % going.len());
        match event {
            Event::Pass(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
            Event::Ask(key) => {
                let mut exchange = pays(&format!("key-{key}"), "7");
                let heard = asks(&*policy, &mut exchange).await;
                let tale = tales.entry(key).or_default();
                let runs = going.iter().any(|going| going.key == key);
                match heard {
                    Heard::Goes => {
                        assert!(!runs && tale.answer.is_none(), "{tale:?}");
                        assert!(tale.runs == 0 || again && tale.runs == tale.lost, "{tale:?}");
                        going.push(Going { exchange, key, sent: false });
                    }
                    Heard::Answer(body) => assert_eq!(Some(body), tale.answer),
                    Heard::Refused("idempotency_running") => assert!(runs),
                    Heard::Refused("unknown_outcome") => {
                        assert!(!again && !runs && tale.lost > 0 && tale.answer.is_none());
                    }
                    Heard::Refused(other) => panic!("{other}"),
                }
            }
            Event::Send(one) => {
                let Some(place) = place(one, &going) else { continue };
                let going = &mut going[place];
                if !going.sent {
                    sends(&going.exchange);
                    going.sent = true;
                    tales.entry(going.key).or_default().runs += 1;
                }
            }
            Event::Answer(one) => {
                let Some(place) = place(one, &going) else { continue };
                let Going { mut exchange, key, sent } = going.remove(place);
                let tale = tales.entry(key).or_default();
                tale.runs += usize::from(!sent);
                let body = format!("run {}", tale.runs);
                sends(&exchange);
                answers(&*policy, &mut exchange, body.clone().into()).await;
                tale.answer = Some(body);
            }
            Event::Fail(one) => {
                let Some(place) = place(one, &going) else { continue };
                let Going { mut exchange, key, sent } = going.remove(place);
                let tale = tales.entry(key).or_default();
                tale.runs += usize::from(!sent);
                tale.lost += 1;
                fails(&*policy, &mut exchange, Resend::IfIdempotent).await;
            }
            Event::Refuse(one) => {
                let Some(place) = place(one, &going) else { continue };
                if !going[place].sent {
                    let mut going = going.remove(place);
                    fails(&*policy, &mut going.exchange, Resend::Safe).await;
                }
            }
            Event::Crash(one) => {
                let Some(place) = place(one, &going) else { continue };
                let gone = going.remove(place);
                tales.entry(gone.key).or_default().lost += usize::from(gone.sent);
            }
        }
        for tale in tales.values() {
            assert!(tale.runs <= 1 + if again { tale.lost } else { 0 }, "{tale:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_runs_twice_unless_the_operator_says_so(again in any::<bool>(), events in events()) {
        crate::cases::runtime().block_on(play(again, events));
    }
}
