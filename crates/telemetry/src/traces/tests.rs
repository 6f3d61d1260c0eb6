//! What becomes of spans on their way to a collector that is slow, away, or refuses them. That they
//! are what OTLP says is seen by a collector of others, in the tests of the whole gateway.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http::{Request, Response};
use lockgate_core::{Call, Connection, Exchange, Fault, Reason, SendFuture, reasons};
use tokio::sync::Notify;

use super::*;
use crate::otlp::proto::{Field, find};

/// A collector that gives its answers in turn, and keeps what it was sent. Without a next answer
/// it does not answer until it is let go on.
#[derive(Default)]
struct Away {
    answers: Mutex<VecDeque<Result<u16, ()>>>,
    calls: Mutex<Vec<Call>>,
    go_on: Arc<Notify>,
}

impl Away {
    fn with(answers: &[Result<u16, ()>]) -> Arc<Self> {
        let answers = Mutex::new(answers.iter().copied().collect());
        Arc::new(Self { answers, ..Self::default() })
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

impl Outbound for Away {
    fn send(&self, call: Call) -> SendFuture<Result<Response<Bytes>, Fault>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        let answer = self.answers.lock().unwrap().pop_front();
        let go_on = Arc::clone(&self.go_on);
        Box::pin(async move {
            match answer {
                Some(Ok(status)) => {
                    Ok(Response::builder().status(status).body(Bytes::new()).unwrap())
                }
                Some(Err(())) => Err(Fault::upstream(&reasons::UPSTREAM_REFUSED)),
                None => {
                    go_on.notified().await;
                    Ok(Response::new(Bytes::new()))
                }
            }
        })
    }
}

fn exchange(spans: Spans) -> Exchange {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let head = Request::get("/").body(()).unwrap().into_parts().0;
    let connection = Connection::plain(address, address);
    Exchange { spans, ..Exchange::begun(head, Rc::new(connection)) }
}

/// Traces that tell all to this collector.
fn traces(outbound: &Arc<Away>) -> (Arc<Traces>, Arc<TraceCounts>) {
    let mut settings = model::Traces { to: "http://c.test".to_owned(), ..Default::default() };
    settings.sample.per_second = None;
    let (collector, counts) = (settings.collector().unwrap(), Arc::<TraceCounts>::default());
    let outbound = Arc::clone(outbound) as Arc<dyn Outbound>;
    let (traces, work) = Traces::new(&settings, collector, None, outbound, counts.clone());
    tokio::spawn(work);
    (traces, counts)
}

fn tell(traces: &Traces, worker: &WorkerTraces) {
    let spans = traces.begin(None, &HeaderMap::new(), Instant::now());
    let exchange = exchange(spans);
    assert!(traces.is_told(&exchange.spans, 200, None, Duration::ZERO, Instant::now()));
    worker.tell(&told(&exchange, None, None));
}

fn told<'e>(
    exchange: &'e Exchange,
    reason: Option<&'static Reason>,
    blame: Option<Blame>,
) -> Told<'e> {
    let time = &|_| SystemTime::UNIX_EPOCH;
    let (ended, status) = (Instant::now(), 200);
    Told { exchange, target: None, status, reason, blame, ended, received: 0, sent: 0, time }
}

#[tokio::test]
async fn an_endpoint_is_not_to_blame_for_a_client_that_leaves() {
    for (reason, blame, is_error) in [
        (&reasons::CLIENT_CLOSED, Blame::Client, false),
        (&reasons::UPSTREAM_TIMEOUT, Blame::Upstream, true),
        (&reasons::INTERNAL, Blame::Gateway, true),
    ] {
        let mut exchange = exchange(Spans::own(None, |_| Fate::Sampled));
        exchange.spans.begin_attempt(Instant::now());
        let mut out = Vec::new();
        assert_eq!(told(&exchange, Some(reason), Some(blame)).push_below(&mut out), 1);
        let Some(Field::Bytes(attempt)) = find(&out, 2) else { panic!() };
        assert_eq!(find(attempt, 15).is_some(), is_error, "{}", reason.code);
    }
}

fn counted(counts: &TraceCounts) -> (u64, u64, u64, u64) {
    let Counts { sent, dropped, rejected, failures } = &counts.0;
    let [sent, dropped, rejected, failures] =
        [sent, dropped, rejected, failures].map(|count| count.load(Relaxed));
    (sent, dropped, rejected, failures)
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn what_is_handed_over_within_a_moment_goes_in_one_request() {
    let away = Away::with(&[Ok(200)]);
    let (traces, counts) = traces(&away);
    let (one, other) = (traces.worker(), traces.worker());
    for worker in [&one, &other, &one] {
        tell(&traces, worker);
        ticked(worker);
    }
    traces.flush(LONG).await;
    assert_eq!((away.calls(), counted(&counts)), (1, (3, 0, 0, 0)));
    let calls = away.calls.lock().unwrap();
    let Some(Field::Bytes(resource_spans)) = find(calls[0].request.body(), 1) else { panic!() };
    let Some(Field::Bytes(scope_spans)) = find(resource_spans, 2) else { panic!() };
    assert!(matches!(find(scope_spans, 2), Some(Field::Bytes(_))));
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_comes_back_gets_what_it_missed() {
    let away = Away::with(&[Err(()), Ok(503), Ok(200)]);
    let (traces, counts) = traces(&away);
    let worker = traces.worker();
    tell(&traces, &worker);
    ticked(&worker);
    traces.flush(LONG).await;
    assert_eq!((away.calls(), counted(&counts)), (3, (1, 0, 0, 2)));
}

#[tokio::test(start_paused = true)]
async fn what_a_collector_does_not_take_in_the_end_is_counted() {
    let away = Away::with(&[Err(()); 5]);
    let (traces, counts) = traces(&away);
    let worker = traces.worker();
    tell(&traces, &worker);
    ticked(&worker);
    traces.flush(LONG).await;
    assert_eq!((away.calls(), counted(&counts)), (5, (0, 1, 0, 5)));
    // What it says is wrong with it is not sent again.
    away.answers.lock().unwrap().push_back(Ok(400));
    tell(&traces, &worker);
    ticked(&worker);
    traces.flush(LONG).await;
    assert_eq!((away.calls(), counted(&counts)), (6, (0, 1, 1, 6)));
}

/// As if a tick had come when what it has is old enough.
fn ticked(worker: &WorkerTraces) {
    worker.batch.borrow_mut().since = Instant::now().checked_sub(LINGER);
    worker.tick();
}

/// A collector that takes so many requests and then hangs, and the queue before it full.
async fn stuck(traces: &Traces, worker: &WorkerTraces, away: &Away) {
    let calls = away.calls();
    tell(traces, worker);
    ticked(worker);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(away.calls(), calls + 1);
    for _ in 0..QUEUE {
        tell(traces, worker);
        ticked(worker);
    }
    assert_eq!((traces.queue.capacity(), worker.batch.borrow().spans), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_worker_waits_and_nothing_grows_while_a_collector_hangs() {
    let away = Away::with(&[]);
    let (traces, counts) = traces(&away);
    let worker = traces.worker();
    stuck(&traces, &worker, &away).await;
    let mut told = 0;
    while counted(&counts).1 == 0 {
        tell(&traces, &worker);
        told += 1;
        assert!(told < 100_000);
    }
    let (bytes, spans) = (worker.batch.borrow().bytes.len(), worker.batch.borrow().spans);
    assert!((MOST_KEPT - 1024..=MOST_KEPT).contains(&bytes), "{bytes}");
    assert_eq!((spans + 1, counted(&counts)), (told, (0, 1, 0, 0)));
    // An end does not wait for it either, and what the worker still has counts as lost.
    let begun = Instant::now();
    traces.flush(Duration::from_secs(2)).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    drop(worker);
    assert_eq!(counted(&counts).1, told);
}

#[tokio::test(start_paused = true)]
async fn what_finds_the_queue_full_is_told_when_there_is_room() {
    let away = Away::with(&[]);
    let (traces, counts) = traces(&away);
    let worker = traces.worker();
    stuck(&traces, &worker, &away).await;
    for _ in 0..100 {
        tell(&traces, &worker);
        ticked(&worker);
    }
    assert_eq!((worker.batch.borrow().spans, counted(&counts)), (100, (0, 0, 0, 0)));
    away.answers.lock().unwrap().extend([Ok(200); 8]);
    away.go_on.notify_one();
    tokio::time::sleep(LONG).await;
    ticked(&worker);
    traces.flush(LONG).await;
    assert_eq!(worker.batch.borrow().spans, 0);
    let (sent, dropped, ..) = counted(&counts);
    assert_eq!((sent, dropped), (1 + QUEUE as u64 + 100, 0));
}

#[tokio::test(start_paused = true)]
async fn a_tick_hands_over_only_what_is_old_or_large() {
    let away = Away::with(&[]);
    let (traces, _) = traces(&away);
    let worker = traces.worker();
    tell(&traces, &worker);
    worker.tick();
    assert_eq!((traces.queue.capacity(), worker.batch.borrow().spans), (QUEUE, 1));
    tokio::time::advance(LINGER).await;
    worker.tick();
    assert_eq!(worker.batch.borrow().spans, 0);
    let mut told = 0;
    while told == 0 || worker.batch.borrow().spans > 0 {
        tell(&traces, &worker);
        told += 1;
        assert!(told < 10_000, "what is large goes at once");
    }
}

#[tokio::test(start_paused = true)]
async fn the_exporter_ends_with_the_last_who_could_tell_it_anything() {
    let away = Away::with(&[Ok(200)]);
    let settings = model::Traces { to: "http://c.test".to_owned(), ..Default::default() };
    let (collector, outbound) = (settings.collector().unwrap(), Arc::clone(&away));
    let (traces, work) =
        Traces::new(&settings, collector, None, outbound, Arc::<TraceCounts>::default());
    let worker = traces.worker();
    tell(&traces, &worker);
    drop((traces, worker));
    work.await;
    assert_eq!(away.calls(), 1, "what was told before is sent");
}
