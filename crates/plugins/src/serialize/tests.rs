//! What takes several requests at once: the wait, the order, who leaves, and turns that are lost.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use lockgate_core::{Body, Exchange, Fault, Policy, Step, Verdict, reasons};
use serde_json::{Value, json};
use tokio::task::{LocalSet, yield_now};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::cases::{policy, request_to};

const SECOND: Duration = Duration::from_secs(1);

fn built(config: Value) -> Arc<dyn Policy> {
    policy("serialize", &config).unwrap()
}

fn asks(id: u32) -> Exchange {
    request_to("/{id}", &json!(format!("POST /{id}")))
}

async fn down(policy: &dyn Policy, exchange: &mut Exchange) -> Result<u64, Fault> {
    let verdict = match policy.request(exchange) {
        Step::Now(verdict) => verdict,
        Step::Later(verdict) => verdict.await,
    };
    assert!(matches!(verdict?, Verdict::Pass));
    Ok(exchange.head.headers["lockgate-fence"].to_str().unwrap().parse().unwrap())
}

async fn up(policy: &dyn Policy, exchange: &mut Exchange, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    match policy.response(exchange, &mut response) {
        Step::Now(done) => done.unwrap(),
        Step::Later(done) => done.await.unwrap(),
    }
    response
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_in_the_order_of_their_coming() {
    let policy = built(json!({ "by": "path:id", "wait": "60s" }));
    let (now, most, order) =
        (Rc::<Cell<u32>>::default(), Rc::<Cell<u32>>::default(), Rc::default());
    let begun = Instant::now();
    let set = LocalSet::new();
    for number in 0..5 {
        let (policy, now, most) = (Arc::clone(&policy), Rc::clone(&now), Rc::clone(&most));
        let order: Rc<RefCell<Vec<(u32, u64)>>> = Rc::clone(&order);
        set.spawn_local(async move {
            let mut exchange = asks(7);
            let fence = down(&*policy, &mut exchange).await.unwrap();
            order.borrow_mut().push((number, fence));
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            sleep(SECOND).await;
            now.set(now.get() - 1);
            up(&*policy, &mut exchange, Body::Empty).await;
        });
    }
    set.await;
    assert_eq!((most.get(), begun.elapsed().as_secs()), (1, 5));
    let order = order.take();
    assert!(order.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn different_keys_never_wait_for_each_other() {
    let policy = built(json!({ "by": "path:id", "wait": "0s" }));
    let mut all: Vec<Exchange> = (0..50).map(asks).collect();
    for exchange in &mut all {
        down(&*policy, exchange).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_for_too_long_is_refused() {
    for (busy, status) in
        [(json!({ "by": "path:id" }), 409), (json!({ "by": "path:id", "busy": 503 }), 503)]
    {
        let policy = built(busy);
        let mut first = asks(7);
        down(&*policy, &mut first).await.unwrap();
        let begun = Instant::now();
        let fault = down(&*policy, &mut asks(7)).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), 2);
        assert_eq!((fault.reason().code, fault.status().as_u16()), ("serialize_busy", status));
        assert_eq!(fault.wait(), Some(SECOND));
        // Dropped as when its client is gone: the next one's turn comes.
        drop(first);
        down(&*policy, &mut asks(7)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_request_may_take() {
    let policy = built(json!({ "by": "path:id", "wait": "60s" }));
    let mut first = asks(7);
    down(&*policy, &mut first).await.unwrap();
    let mut second = asks(7);
    second.deadline = Some(Instant::now() + 3 * SECOND);
    let begun = Instant::now();
    down(&*policy, &mut second).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_an_end() {
    let policy = built(json!({ "by": "path:id", "queue": 1 }));
    let (mut first, mut second) = (asks(7), asks(7));
    down(&*policy, &mut first).await.unwrap();
    let waits = down(&*policy, &mut second);
    let mut waits = std::pin::pin!(waits);
    assert!(poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await);
    let fault = down(&*policy, &mut asks(7)).await.unwrap_err();
    assert_eq!(fault.reason().code, "serialize_queue_full");
    drop(first);
    waits.await.unwrap();
}

/// A body whose end is a matter of time.
struct Slow(Pin<Box<tokio::time::Sleep>>);

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.0.as_mut().poll(cx).map(|()| None)
    }
}

fn slow(time: Duration) -> Body {
    Body::stream(Slow(Box::pin(sleep(time))))
}

#[tokio::test(start_paused = true)]
async fn a_turn_lasts_as_long_as_the_body() {
    for (until, waits) in [("body", 5), ("headers", 0)] {
        let policy = built(json!({ "by": "path:id", "wait": "60s", "until": until }));
        let mut first = asks(7);
        down(&*policy, &mut first).await.unwrap();
        let answer = up(&*policy, &mut first, slow(5 * SECOND)).await;
        let begun = Instant::now();
        let mut second = asks(7);
        let (body, second) =
            tokio::join!(answer.into_body().collect(10), down(&*policy, &mut second));
        assert_eq!((body.unwrap().len(), second.is_ok()), (0, true));
        assert_eq!(begun.elapsed().as_secs(), waits.max(5));
        drop(first);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_in_the_middle_of_the_body_ends_the_turn() {
    let policy = built(json!({ "by": "path:id", "wait": "0s" }));
    let mut first = asks(7);
    down(&*policy, &mut first).await.unwrap();
    let answer = up(&*policy, &mut first, slow(5 * SECOND)).await;
    down(&*policy, &mut asks(7)).await.unwrap_err();
    drop(answer);
    down(&*policy, &mut asks(7)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_is_cut_when_the_turn_is_over() {
    let policy = built(json!({ "by": "path:id", "hold": "3s" }));
    let mut first = asks(7);
    down(&*policy, &mut first).await.unwrap();
    let answer = up(&*policy, &mut first, slow(5 * SECOND)).await;
    let begun = Instant::now();
    let fault = answer.into_body().collect(10).await.unwrap_err();
    assert_eq!((fault.reason().code, begun.elapsed().as_secs()), ("lease_expired", 3));
    let policy = built(json!({ "by": "path:id", "hold": "3s", "on_lost": "flag" }));
    let mut first = asks(7);
    down(&*policy, &mut first).await.unwrap();
    let answer = up(&*policy, &mut first, slow(5 * SECOND)).await;
    assert!(answer.into_body().collect(10).await.is_ok());
}

/// The request is cut while its target is asked, and looks at the clock before all else.
#[tokio::test(start_paused = true)]
async fn a_request_is_cut_when_its_turn_is_over() {
    let policy = built(json!({ "by": "path:id", "hold": "3s" }));
    let mut first = asks(7);
    down(&*policy, &mut first).await.unwrap();
    let mut cut = first.kept.take_cut().expect("it may be cut");
    assert!(timeout(2 * SECOND, &mut cut).await.is_err());
    let fault = timeout(2 * SECOND, &mut cut).await.unwrap();
    assert_eq!(fault.reason().code, "lease_expired");
    // The refusal that came of it stays as it is.
    first.fault = Some(Fault::upstream(&reasons::UPSTREAM_TIMEOUT));
    up(&*policy, &mut first, Body::Empty).await;
    assert_eq!(first.fault.unwrap().reason().code, "upstream_timeout");

    let mut second = asks(7);
    down(&*policy, &mut second).await.unwrap();
    let mut cut = second.kept.take_cut().unwrap();
    advance(4 * SECOND).await;
    assert!(poll_fn(|cx| Poll::Ready(cut.as_mut().poll(cx).is_ready())).await);
    yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_of_protocols_keeps_its_turn() {
    let policy = built(json!({ "by": "path:id", "wait": "0s" }));
    let mut first = asks(7);
    down(&*policy, &mut first).await.unwrap();
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    assert!(matches!(policy.response(&mut first, &mut response), Step::Now(Ok(()))));
    down(&*policy, &mut asks(7)).await.unwrap_err();
    drop(first);
    down(&*policy, &mut asks(7)).await.unwrap();
}
