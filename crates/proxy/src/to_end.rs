//! A request that runs once is brought to its end whatever becomes of its client: its target is
//! asked, and its answer led back up to the policy that keeps the record, in a task of its own on
//! the same worker. While the client is there it waits for that; once it has gone, nobody does.

use std::cell::Cell;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use lockgate_core::span::Fate;
use lockgate_core::{Exchange, Fault, UnderWay, Write, reasons};
use lockgate_telemetry::Told;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::behind::Place;
use crate::snapshot::{self, Route, Snapshot};
use crate::target::{self, Answer};
use crate::worker::{Current, Worker};
use crate::{panics, pipeline};

/// Most of them at once on one worker whose clients have gone.
const MOST: usize = 1024;
/// None goes on longer than that without its client, body and all.
const LONGEST: Duration = Duration::from_secs(120);

/// What the task hands back.
type Ended = (Box<Exchange>, Result<Answer, Fault>);

/// Asks the target, and leads the answer up through the policies from the one that keeps the
/// record on; `entered` is then the number of those around it.
///
/// # Errors
/// When that panicked.
pub(crate) async fn ask(
    route: snapshot::Place,
    snapshot: &Current,
    worker: &Rc<Worker>,
    written: Option<Write>,
    entered: &mut usize,
    exchange: &mut Exchange,
) -> Result<Answer, Fault> {
    let outer = exchange.once.as_ref().map_or(0, |once| once.entered().saturating_sub(1));
    let policies = outer.min(*entered)..*entered;
    *entered = policies.start;
    // What the log says of it should the client go.
    let (started, spans) = (exchange.started, exchange.spans.stand_in());
    let stand_in = Exchange { started, spans, ..exchange.behind() };
    let own = Box::new(std::mem::replace(exchange, stand_in));
    let (tell, told) = oneshot::channel();
    let place = Place::take(&worker.to_end, usize::MAX);
    let run = Run { route, policies, written, own, _place: place };
    // Boxed, as a task's future is moved several times before and after it runs.
    tokio::task::spawn_local(Box::pin(run.run(Rc::clone(snapshot), Rc::clone(worker), tell)));
    let Ok((own, answer)) = told.await else {
        return Err(Fault::gateway(&reasons::INTERNAL).detail("the request was given up"));
    };
    *exchange = *own;
    answer
}

struct Run {
    route: snapshot::Place,
    policies: Range<usize>,
    written: Option<Write>,
    own: Box<Exchange>,
    _place: Option<Place>,
}

impl Run {
    async fn run(self, snapshot: Current, worker: Rc<Worker>, mut tell: oneshot::Sender<Ended>) {
        let Self { route, policies, written, mut own, _place } = self;
        let Some(route) = snapshot.route(route) else { return };
        let answer = {
            let travel = pin!(travel(route, &snapshot, &worker, written, policies, &mut own));
            let caught = pin!(panics::caught(travel));
            tokio::select! {
                biased;
                answer = caught => Some(answer),
                () = forsaken(&mut tell, &worker.forsaken) => None,
            }
        };
        let own = match answer {
            Some(answer) => match tell.send((own, answer)) {
                Ok(()) => return,
                Err((own, _)) => own,
            },
            None => own,
        };
        tell_below(&own, &worker);
    }
}

/// The request's own span has been told when its client left; what it was asked for since then
/// belongs below it. Whether one that is told only for its end was, nobody knows here.
fn tell_below(own: &Exchange, worker: &Worker) {
    if own.spans.fate() != Fate::Sampled {
        return;
    }
    worker.tell_below(&Told {
        exchange: own,
        target: None,
        status: 0,
        reason: own.fault.as_ref().map(Fault::reason),
        blame: own.fault.as_ref().map(Fault::blame),
        ended: Instant::now(),
        received: 0,
        sent: 0,
        time: &|at| worker.time_of_day(at),
    });
}

async fn travel(
    route: &Route,
    snapshot: &Snapshot,
    worker: &Rc<Worker>,
    written: Option<Write>,
    policies: Range<usize>,
    exchange: &mut Exchange,
) -> Result<Answer, Fault> {
    let under_way = written.as_ref().map(|written| written.under_way(&snapshot.stores));
    let asked = target::ask(route, snapshot, exchange, worker).await;
    under_way.into_iter().for_each(UnderWay::answered);
    let mut answer = asked.unwrap_or_else(|fault| Answer::refusal(fault, exchange));
    if let Some(written) = written {
        written.settle(&snapshot.stores, exchange, &answer.response).await;
    }
    let count = policies.len();
    let entries = route.entries.get(policies).unwrap_or_default();
    pipeline::up(entries, exchange, count, &mut answer).await;
    Ok(answer)
}

/// Until the client has been gone for too long, or too many have.
async fn forsaken(tell: &mut oneshot::Sender<Ended>, count: &Rc<Cell<usize>>) {
    tell.closed().await;
    let Some(_place) = Place::take(count, MOST) else { return };
    sleep(LONGEST).await;
}
