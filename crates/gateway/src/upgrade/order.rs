//! Orders to upgrade, and questions how it goes: from the admin listener to whoever runs the
//! gateway.

use std::future::Future;
use std::pin::Pin;

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// What has become of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// None was asked for.
    Serving,
    /// A new process starts.
    Begun { pid: u32 },
    /// It did not come up. This process serves.
    Failed { why: String },
    /// It serves, and this process drains.
    Over { pid: u32 },
}

impl State {
    /// For the admin listener. `pid` is whoever answers.
    fn shown(&self) -> Value {
        let mut shown = match self {
            Self::Serving => json!({ "state": "serving" }),
            Self::Begun { pid } => json!({ "state": "begun", "successor": pid }),
            Self::Failed { why } => json!({ "state": "failed", "why": why }),
            Self::Over { pid } => json!({ "state": "over", "successor": pid }),
        };
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("pid".to_owned(), std::process::id().into());
        }
        shown
    }
}

/// An order, or a question alone.
pub(crate) struct Order {
    /// Whether to begin.
    pub(crate) begin: bool,
    answer: oneshot::Sender<Value>,
}

impl Order {
    /// Tells how it goes.
    pub(crate) fn answer(self, state: &State) {
        let _ = self.answer.send(state.shown());
    }
}

/// Where orders are given.
pub(crate) struct Orders(Sender<Order>);

/// Orders, and where they arrive.
pub(crate) fn orders() -> (Orders, Receiver<Order>) {
    let (give, take) = channel(8);
    (Orders(give), take)
}

impl Orders {
    /// Gives one. The answer is empty when nobody takes orders any more.
    pub(crate) fn ask(&self, begin: bool) -> Pin<Box<dyn Future<Output = Value> + Send>> {
        let to = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let _ = to.send(Order { begin, answer }).await;
            answered.await.unwrap_or_else(|_| json!({ "state": "over", "pid": std::process::id() }))
        })
    }
}
