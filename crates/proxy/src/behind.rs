//! Requests of the gateway's own that go behind an answer: down the rest of the route to its
//! target, and back up to the policy that sent them. On the same worker, bounded in number and in
//! time; nobody waits for them, and they are in no access log.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use lockgate_core::{Exchange, Fault, Verdict};
use tokio::time::timeout;

use crate::snapshot::{self, Route, Snapshot};
use crate::target::{self, Answer};
use crate::worker::{Current, Worker};
use crate::{panics, pipeline};

/// Most of them at once on one worker.
const MOST: usize = 64;
/// None takes longer, body and all.
const LONGEST: Duration = Duration::from_secs(60);

/// Sends one, unless too many are under way. It comes from the last of the `entered` policies.
pub(crate) fn start(
    route: snapshot::Place,
    snapshot: &Current,
    worker: &Rc<Worker>,
    entered: usize,
    exchange: Box<Exchange>,
) {
    let Some(place) = Place::take(&worker.behind, MOST) else { return };
    let (snapshot, worker) = (Rc::clone(snapshot), Rc::clone(worker));
    tokio::task::spawn_local(async move {
        let mut exchange = exchange;
        let Some(route) = snapshot.route(route) else { return };
        let travel = travel(route, &snapshot, &worker, entered, &mut exchange);
        let _ = timeout(LONGEST, panics::caught(pin!(travel))).await;
        drop(place);
    });
}

async fn travel(
    route: &Route,
    snapshot: &Snapshot,
    worker: &Rc<Worker>,
    entered: usize,
    exchange: &mut Exchange,
) -> Result<(), Fault> {
    let rest = route.entries.get(entered..).unwrap_or_default();
    let mut more = 0;
    let down = pipeline::down(rest, exchange, snapshot.max_buffered_body(), &mut more).await;
    let asked = match down {
        Ok(Verdict::Pass) => target::ask(route, snapshot, exchange, worker).await,
        Ok(Verdict::Answer(response) | Verdict::AnswerAnd(response, _)) => Ok(response.into()),
        Err(fault) => Err(fault),
    };
    let mut answer = asked.unwrap_or_else(|fault| Answer::refusal(fault, exchange));
    // The policy that sent it is the last to see its answer.
    let own = route.entries.get(entered.saturating_sub(1)..).unwrap_or_default();
    pipeline::up(own, exchange, more + 1, &mut answer).await;
    while answer.response.body_mut().frame().await.transpose()?.is_some() {}
    Ok(())
}

/// A place among those under way.
pub(crate) struct Place(Rc<Cell<usize>>);

impl Place {
    /// One more, if there are fewer than so many.
    pub(crate) fn take(taken: &Rc<Cell<usize>>, most: usize) -> Option<Self> {
        let count = taken.get();
        (count < most).then(|| {
            taken.set(count + 1);
            Self(Rc::clone(taken))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
