//! So many at once: permits, and a short queue for those who find none. The queue hands permits to
//! the highest priority first; in good times to whoever has waited longest, under overload to
//! whoever came last, whose client is still there. Nobody is refused while a permit is free.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use lockgate_core::Priority;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adaptive::Adaptive;

/// How many at once.
pub(super) enum Bound {
    Fixed(u32),
    Adaptive(Box<Adaptive>),
}

/// One limit, shared by all workers.
pub(super) struct Limiter {
    bound: Bound,
    in_flight: AtomicU32,
    /// The queue's length, to be seen without its lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
    most_waiting: usize,
    /// A queue that has not been empty for so long is overloaded.
    patience: Duration,
}

#[derive(Default)]
struct Queue {
    /// By priority, the lowest first; each in the order of arrival.
    lanes: [VecDeque<Waiter>; 3],
    /// Since when somebody has been waiting, without a break.
    busy_since: Option<Instant>,
    next_id: u64,
}

struct Waiter {
    id: u64,
    wake: oneshot::Sender<Permit>,
}

/// The right to be in flight; given back when dropped.
pub(super) struct Permit(Option<Arc<Limiter>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limiter) = self.0.take() {
            limiter.in_flight.fetch_sub(1, SeqCst);
            limiter.hand_on();
        }
    }
}

impl Limiter {
    pub(super) fn new(bound: Bound, most_waiting: usize, patience: Duration) -> Self {
        let (in_flight, waiting, queue) = Default::default();
        Self { bound, in_flight, waiting, queue, most_waiting, patience }
    }

    /// How many may be in flight now.
    pub(super) fn limit(&self) -> u32 {
        match &self.bound {
            Bound::Fixed(limit) => *limit,
            Bound::Adaptive(adaptive) => adaptive.limit(),
        }
    }

    /// What an adaptive limit takes for the latency without load.
    pub(super) fn unloaded(&self) -> Option<Duration> {
        match &self.bound {
            Bound::Fixed(_) => None,
            Bound::Adaptive(adaptive) => adaptive.unloaded(),
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// A permit, if one is free. The last fifth is not for low priorities.
    pub(super) fn enter(self: &Arc<Self>, priority: Priority) -> Option<Permit> {
        let limit = match (self.limit(), priority) {
            (limit, Priority::Low) => limit.saturating_sub(limit / 5).max(1),
            (limit, _) => limit,
        };
        let more = |now: u32| (now < limit).then_some(now + 1);
        self.in_flight.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Permit(Some(Arc::clone(self))))
    }

    /// A place in the queue. `None`: it is full of others that go first.
    pub(super) fn wait(self: &Arc<Self>, priority: Priority) -> Option<Waiting> {
        let (wake, woken) = oneshot::channel();
        let (id, evicted);
        {
            let mut queue = self.queue();
            evicted = match queue.len() >= self.most_waiting {
                true => Some(queue.evict(priority)?),
                false => None,
            };
            id = queue.next_id;
            queue.next_id += 1;
            queue.busy_since.get_or_insert_with(Instant::now);
            queue.lane(priority).push_back(Waiter { id, wake });
            self.waiting.store(queue.len(), SeqCst);
        }
        // Its channel closes, which refuses it.
        drop(evicted);
        // A permit that came free before this one was seen waiting would wake nobody else.
        self.hand_on();
        Some(Waiting { limiter: Arc::clone(self), priority, id, woken })
    }

    /// An upstream's answer came after so long, or failed for being overloaded.
    pub(super) fn observe(self: &Arc<Self>, took: Duration, failed: bool) {
        if let Bound::Adaptive(adaptive) = &self.bound
            && adaptive.observe(took, failed, self.in_flight())
        {
            self.hand_on();
        }
    }

    /// Gives permits that are free to those who wait.
    fn hand_on(self: &Arc<Self>) {
        while self.waiting() > 0 {
            let mut queue = self.queue();
            let Some(priority) = queue.first() else { return };
            let Some(permit) = self.enter(priority) else { return };
            let overloaded = queue.busy_since.is_some_and(|since| since.elapsed() > self.patience);
            let lane = queue.lane(priority);
            let next = if overloaded { lane.pop_back() } else { lane.pop_front() };
            self.left(&mut queue);
            drop(queue);
            let Some(next) = next else { return };
            // One that has gone in this moment gives its permit to the next, here and not by the
            // permit's own drop, so that no chain of drops can grow.
            if let Err(mut unused) = next.wake.send(permit) {
                unused.0 = None;
                self.in_flight.fetch_sub(1, SeqCst);
            }
        }
    }

    fn left(&self, queue: &mut Queue) {
        let len = queue.len();
        if len == 0 {
            queue.busy_since = None;
        }
        self.waiting.store(len, SeqCst);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn lane(&mut self, priority: Priority) -> &mut VecDeque<Waiter> {
        let [low, normal, high] = &mut self.lanes;
        match priority {
            Priority::Low => low,
            Priority::Normal => normal,
            Priority::High => high,
        }
    }

    fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// The priority that goes next.
    fn first(&self) -> Option<Priority> {
        let all = [Priority::Low, Priority::Normal, Priority::High].into_iter();
        let mut waiting = all.zip(&self.lanes).rev().filter(|(_, lane)| !lane.is_empty());
        waiting.next().map(|(priority, _)| priority)
    }

    /// Takes out who has waited longest in the lowest lane, if that is not above `priority`: it is
    /// the nearest to giving up anyway.
    fn evict(&mut self, priority: Priority) -> Option<Waiter> {
        let all = [Priority::Low, Priority::Normal, Priority::High].into_iter();
        let mut lanes = all.zip(&mut self.lanes).filter(|(_, lane)| !lane.is_empty());
        let (lowest, lane) = lanes.next()?;
        if lowest > priority { None } else { lane.pop_front() }
    }
}

/// A place in the queue; left when dropped. Ready with a permit, or with `None` when others have
/// taken the place.
pub(super) struct Waiting {
    limiter: Arc<Limiter>,
    priority: Priority,
    id: u64,
    woken: oneshot::Receiver<Permit>,
}

impl Future for Waiting {
    type Output = Option<Permit>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        Pin::new(&mut self.woken).poll(cx).map(Result::ok)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut queue = self.limiter.queue();
        let lane = queue.lane(self.priority);
        if let Some(place) = lane.iter().position(|waiter| waiter.id == self.id) {
            drop(lane.remove(place));
            self.limiter.left(&mut queue);
        }
    }
}
