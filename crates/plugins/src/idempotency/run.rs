//! A request that runs, from before its record is made until that is settled. Whatever becomes of
//! the request, the record hears of it: what is dropped on the way says what is known by then.

use std::rc::Rc;
use std::sync::Arc;

use lockgate_core::{End, Once, Owner, Records, Settled, Step, StoreError};

/// A request of this process that runs, or wants to.
pub(super) struct Run {
    records: Arc<dyn Records>,
    pub(super) key: [u8; 32],
    pub(super) owner: Owner,
    pub(super) once: Rc<Once>,
    /// What is to be said of it, once that is known.
    end: Option<End>,
    /// Whether there is nothing left to say.
    settled: bool,
}

impl Run {
    pub(super) fn new(records: &Arc<dyn Records>, key: [u8; 32], resends: bool) -> Self {
        let (records, owner) = (Arc::clone(records), Owner::random());
        let once = Rc::new(Once::new(resends));
        Self { records, key, owner, once, end: None, settled: false }
    }

    /// Says whether the record may be its own.
    pub(super) fn set_ours(&mut self, ours: bool) {
        self.settled = !ours;
    }

    /// Says how it ended. A store that does not answer is told later.
    pub(super) async fn ends(mut self, end: End) -> Settled {
        let settled = self.says(end).await;
        // What found no room is said again later.
        self.settled = matches!(settled, Ok(Settled::Yes | Settled::Lost));
        settled.unwrap_or(Settled::Yes)
    }

    /// Says that it has been answered, with what is kept of that; or with less, when there is no
    /// room for it.
    pub(super) async fn ends_with(mut self, end: End, less: End) -> Settled {
        match self.says(end).await {
            Ok(Settled::Full) => self.ends(less).await,
            Ok(settled) => {
                self.settled = true;
                settled
            }
            Err(_) => Settled::Yes,
        }
    }

    async fn says(&mut self, end: End) -> Result<Settled, StoreError> {
        let end = self.end.insert(end);
        match self.records.settle(&self.key, self.owner, end) {
            Step::Now(settled) => settled,
            Step::Later(settled) => settled.await,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let known = || if self.once.is_reached() { End::Unknown } else { End::Forgotten };
        let end = self.end.take().unwrap_or_else(known);
        self.records.settle_later(&self.key, self.owner, end);
    }
}
