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
pub(crate) struct Orders {
    work: Sender<Given>,
    asks: Sender<Given>,
}

/// Where they arrive. What only asks is no work, and need not wait behind any.
pub(crate) struct Ordered {
    pub(crate) work: Receiver<Given>,
    pub(crate) asks: Receiver<Given>,
}

/// Orders, and where they arrive.
pub(crate) fn orders() -> (Orders, Ordered) {
    let ((work, works), (asks, asked)) = (channel(QUEUE), channel(QUEUE));
    (Orders { work, asks }, Ordered { work: works, asks: asked })
}

impl Ordered {
    /// Takes none any more, and those that wait out.
    pub(crate) fn end(&mut self) -> Vec<Given> {
        let mut left = Vec::new();
        for orders in [&mut self.work, &mut self.asks] {
            orders.close();
            left.extend(std::iter::from_fn(|| orders.try_recv().ok()));
        }
        left
    }
}

impl Orders {
    /// Gives one. Nobody takes orders any more when the process drains.
    pub(crate) fn give(&self, order: Order) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let to = if matches!(order, Order::Tell) { self.asks.clone() } else { self.work.clone() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_only_asks_waits_behind_no_work() {
        let (orders, mut ordered) = orders();
        for _ in 0..QUEUE {
            tokio::spawn(orders.give(Order::Reload));
        }
        let asked = tokio::spawn(orders.give(Order::Tell));
        let (order, asker) = ordered.asks.recv().await.unwrap().take();
        assert_eq!(order, Order::Tell);
        asker.answer(Ok("well".into()));
        assert_eq!(asked.await.unwrap().ok(), Some("well".into()));
        while ordered.work.len() < QUEUE {
            tokio::task::yield_now().await;
        }
        assert_eq!(ordered.end().len(), QUEUE);
        let late = orders.give(Order::Tell).await;
        assert_eq!(late.unwrap_err().reason, "draining");
    }
}
