//! Background work on the control runtime, ended by dropping its leash.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts background work, wherever the gateway wants it to run.
#[derive(Clone)]
pub struct Spawn(Arc<dyn Fn(Work) + Send + Sync>);

/// Keeps a task going; dropped, the task ends at its next await.
#[derive(Debug)]
pub(crate) struct Leash {
    _held: oneshot::Sender<()>,
}

impl Spawn {
    /// Starts work by a function of the caller's.
    pub fn new(start: impl Fn(Work) + Send + Sync + 'static) -> Self {
        Self(Arc::new(start))
    }

    /// Starts work on a runtime.
    pub fn on(runtime: tokio::runtime::Handle) -> Self {
        Self::new(move |work| drop(runtime.spawn(work)))
    }

    pub(crate) fn leashed(&self, work: impl Future<Output = ()> + Send + 'static) -> Leash {
        let (held, mut loose) = oneshot::channel::<()>();
        (self.0)(Box::pin(async move {
            tokio::select! {
                _ = &mut loose => {}
                () = work => {}
            }
        }));
        Leash { _held: held }
    }
}

impl std::fmt::Debug for Spawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spawn")
    }
}
