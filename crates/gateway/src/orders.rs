//! Orders from the admin listener to whoever runs the gateway, and their answers.

use std::future::Future;
use std::pin::Pin;

use lockgate_admin::{Answer, Order, Refused};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// Most orders that wait; more of them wait where they are given.
const QUEUE: usize = 8;

/// An order that has been given.
pub(crate) struct Given {
    order: Order,
    asker: Asker,
}

/// Whoever waits for an answer.
pub(crate) struct Asker(oneshot::Sender<Answer>);

impl Given {
    pub(crate) fn take(self) -> (Order, Asker) {
        (self.order, self.asker)
    }
}

impl Asker {
    /// Tells what came of it.
    pub(crate) fn answer(self, with: Answer) {
        let _ = self.0.send(with);
    }
}

/// Where orders are given.
pub(crate) struct Orders(Sender<Given>);

/// Orders, and where they arrive.
pub(crate) fn orders() -> (Orders, Receiver<Given>) {
    let (give, take) = channel(QUEUE);
    (Orders(give), take)
}

impl Orders {
    /// Gives one. Nobody takes orders any more when the process drains.
    pub(crate) fn give(&self, order: Order) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let to = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let _ = to.send(Given { order, asker: Asker(answer) }).await;
            answered.await.unwrap_or_else(|_| {
                let detail = "this process drains, and takes no orders any more";
                Err(Refused::new(503, "draining", detail))
            })
        })
    }
}
