//! What becomes of spans on their way to a collector that is slow, away, or refuses them. That they
//! are what OTLP says is seen by a collector of others, in the tests of the whole gateway.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http::{Request, Response};
use lockgate_core::{
    Body, Call, Connection, Exchange, Fault, Origin, RequestId, SendFuture, reasons,
};

use super::*;
use crate::otlp::proto::{Field, find};

/// A collector that gives its answers in turn, and keeps what it was sent. Without a next answer
/// it never answers.
#[derive(Default)]
struct Away {
    answers: Mutex<VecDeque<Result<u16, ()>>>,
    calls: Mutex<Vec<Call>>,
}

impl Away {
    fn with(answers: &[Result<u16, ()>]) -> Arc<Self> {
        let answers = Mutex::new(answers.iter().copied().collect());
        Arc::new(Self { answers, calls: Mutex::default() })
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

impl Outbound for Away {
    fn send(&self, call: Call) -> SendFuture<Result<Response<Bytes>, Fault>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move {
            match answer {
                Some(Ok(status)) => {
                    Ok(Response::builder().status(status).body(Bytes::new()).unwrap())
                }
                Some(Err(())) => Err(Fault::upstream(&reasons::UPSTREAM_REFUSED)),
                None => std::future::pending().await,
            }
        })
    }
}

fn exchange(spans: Spans) -> Exchange {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let connection = Connection {
        listener: "web".into(),
        peer: address,
        local: address,
        tls: None,
        worker: 0,
        texts: Default::default(),
    };
    Exchange {
        head: Request::get("/").body(()).unwrap().into_parts().0,
        body: Body::Empty,
        connection: Rc::new(connection),
        client_ip: address.ip(),
        secure: false,
        host: "a.test".into(),
        id: RequestId::random(),
        started: Instant::now(),
        route: None,
        captures: Default::default(),
        consumer: None,
        origin: Origin::Gateway,
        upgrade: false,
        grpc: false,
        once: None,
        deadline: None,
        upstream: Default::default(),
        fault: None,
        trace: None,
        spans,
        kept: Default::default(),
    }
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
    let (exchange, ended) = (exchange(spans), Instant::now());
    assert!(traces.is_told(&exchange.spans, 200, None, Duration::ZERO, ended));
    worker.tell(&Told {
        exchange: &exchange,
        target: None,
        status: 200,
        reason: None,
        blame: None,
        ended,
        received: 0,
        sent: 0,
        time: &|_| SystemTime::now(),
    });
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
        worker.flush();
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
    worker.flush();
    traces.flush(LONG).await;
    assert_eq!((away.calls(), counted(&counts)), (3, (1, 0, 0, 2)));
}

#[tokio::test(start_paused = true)]
async fn what_a_collector_does_not_take_in_the_end_is_counted() {
    let away = Away::with(&[Err(()); 5]);
    let (traces, counts) = traces(&away);
    let worker = traces.worker();
    tell(&traces, &worker);
    worker.flush();
    traces.flush(LONG).await;
    assert_eq!((away.calls(), counted(&counts)), (5, (0, 1, 0, 5)));
    // What it says is wrong with it is not sent again.
    away.answers.lock().unwrap().push_back(Ok(400));
    tell(&traces, &worker);
    worker.flush();
    traces.flush(LONG).await;
    assert_eq!((away.calls(), counted(&counts)), (6, (0, 1, 1, 6)));
}

#[tokio::test(start_paused = true)]
async fn no_worker_waits_and_no_queue_grows_while_a_collector_hangs() {
    let away = Away::with(&[]);
    let (traces, counts) = traces(&away);
    let worker = traces.worker();
    tell(&traces, &worker);
    worker.flush();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(away.calls(), 1);
    for _ in 0..3 * QUEUE as u64 {
        tell(&traces, &worker);
        worker.flush();
        tokio::task::yield_now().await;
    }
    let (sent, dropped, ..) = counted(&counts);
    assert!(sent == 0 && dropped > 0, "{dropped}");
    // An end does not wait for it either.
    let begun = Instant::now();
    traces.flush(Duration::from_secs(2)).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
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
