//! The whole journey of a request, top to bottom: received, routed, led through the route's
//! policies to its target and back, sealed, and logged once its last byte is written.

use std::pin::pin;
use std::rc::Rc;

use lockgate_core::{Connection, Fault, Finish, Incoming, Reply, Serve, UnderWay, Verdict};

use crate::access::Journey;
use crate::find::{self, Way};
use crate::target::{self, Answer};
use crate::worker::Worker;
use crate::{behind, panics, pipeline, reply, to_end};

/// Answers the requests of one worker's connections.
#[derive(Clone)]
pub struct Proxy(Rc<Worker>);

impl Proxy {
    /// The proxy of a worker.
    pub fn new(worker: Rc<Worker>) -> Self {
        Self(worker)
    }
}

impl Serve for Proxy {
    fn serve(&self, incoming: Incoming) -> impl Future<Output = Reply> + 'static {
        // Before the future, which is thereby born with a pointer to all of it.
        let (mut journey, fit) = Journey::begin(Rc::clone(&self.0), incoming);
        async move {
            let answer = match fit {
                Ok(()) => panics::caught(pin!(travel(&mut journey))).await,
                Err(fault) => Err(fault),
            };
            let mut answer = answer.unwrap_or_else(|fault| journey.refuse(fault));
            reply::seal(&mut answer.response, &mut journey.exchange);
            journey.answered(&answer.response);
            let lines = std::mem::take(&mut journey.exchange.kept.lines);
            let finish = Some(journey as Box<dyn Finish>);
            Reply { response: answer.response, lines, finish, tunnel: answer.tunnel }
        }
    }

    fn refuse(&self, fault: Fault, connection: &Rc<Connection>) -> Reply {
        crate::access::refuse_unread(&self.0, fault, connection)
    }
}

/// From the route to the answer. A refusal outside any route is `Err`; one inside it is an answer
/// already, and has passed the response hooks of the policies that were entered.
async fn travel(journey: &mut Journey) -> Result<Answer, Fault> {
    let Journey { exchange, snapshot, worker, place, .. } = journey;
    let (found, route) = match find::route(snapshot, exchange)? {
        Way::Route(found, route) => (found, route),
        Way::Answer(response) => return Ok(response.into()),
    };
    *place = Some(found);

    exchange.deadline = target::deadline(route, exchange);
    let mut written = snapshot.written(exchange);
    let mut entered = 0;
    let cap = snapshot.max_buffered_body();
    let down = pipeline::down(&route.entries, exchange, cap, &mut entered).await;
    let asked = match down {
        Ok(Verdict::Pass) if exchange.once.is_some() => {
            let written = written.take();
            Box::pin(to_end::ask(found, snapshot, worker, written, &mut entered, exchange)).await
        }
        Ok(Verdict::Pass) => {
            let under_way = written.as_ref().map(|written| written.under_way(&snapshot.stores));
            let answer = target::ask(route, snapshot, exchange, worker).await;
            under_way.into_iter().for_each(UnderWay::answered);
            answer
        }
        Ok(Verdict::Answer(response)) => Ok(response.into()),
        Ok(Verdict::AnswerAnd(response, exchange)) => {
            behind::start(found, snapshot, worker, entered, exchange);
            Ok(response.into())
        }
        Err(fault) => Err(fault),
    };
    let mut answer = asked.unwrap_or_else(|fault| Answer::refusal(fault, exchange));
    if let Some(written) = written {
        written.settle(&snapshot.stores, exchange, &answer.response).await;
    }
    pipeline::up(&route.entries, exchange, entered, &mut answer).await;
    Ok(answer)
}
