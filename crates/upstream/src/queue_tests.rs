//! The queue: who waits is woken in turn, once, and nothing freed lies about meanwhile.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::task::LocalSet;
use tokio::time::Instant;

use super::*;

/// Places that are taken and freed as an endpoint's are.
#[derive(Default)]
struct Places {
    queue: Queue,
    free: AtomicUsize,
}

impl Places {
    fn take(&self) -> Option<()> {
        self.free.fetch_update(SeqCst, SeqCst, |free| free.checked_sub(1)).ok().map(drop)
    }

    fn free(&self) {
        self.free.fetch_add(1, SeqCst);
        self.queue.wake();
    }

    async fn wait(&self) {
        let never = Notify::const_new();
        self.queue.join(usize::MAX).unwrap().until(&never, || self.take()).await;
    }
}

#[test]
fn no_more_wait_than_may() {
    let queue = Queue::default();
    let places: Vec<_> = (0..3).map(|_| queue.join(3).unwrap()).collect();
    assert!(queue.join(3).is_none());
    drop(places);
    assert_eq!(queue.waiting(), 0);
    assert!(queue.join(0).is_none());
}

#[tokio::test(start_paused = true)]
async fn who_came_first_is_woken_first_and_at_once() {
    let places = Rc::new(Places::default());
    let order = Rc::new(Cell::new(0));
    let local = LocalSet::new();
    for n in 0..20 {
        let (places, order) = (Rc::clone(&places), Rc::clone(&order));
        local.spawn_local(async move {
            places.wait().await;
            assert_eq!(order.replace(n + 1), n);
        });
    }
    let begun = Instant::now();
    local
        .run_until(async {
            for n in 0..20 {
                tokio::task::yield_now().await;
                assert_eq!((order.get(), places.queue.waiting()), (n, 20 - n));
                places.free();
            }
        })
        .await;
    local.await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody had to look again by the clock");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_passes_its_turn_on() {
    let places = Rc::new(Places::default());
    let local = LocalSet::new();
    let first = local.spawn_local({
        let places = Rc::clone(&places);
        async move { places.wait().await }
    });
    let second = local.spawn_local({
        let places = Rc::clone(&places);
        async move { places.wait().await }
    });
    let begun = Instant::now();
    local
        .run_until(async {
            tokio::task::yield_now().await;
            places.free();
            // Woken, and gone before it could look.
            first.abort();
            second.await.unwrap();
        })
        .await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(places.queue.waiting(), 0);
}

#[test]
fn across_threads_no_place_stays_free_while_somebody_waits() {
    let places = Arc::new(Places::default());
    places.free.store(2, SeqCst);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let places = Arc::clone(&places);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let local = LocalSet::new();
                for _ in 0..8 {
                    let places = Arc::clone(&places);
                    local.spawn_local(async move {
                        for _ in 0..200 {
                            places.wait().await;
                            tokio::task::yield_now().await;
                            places.free();
                        }
                    });
                }
                let begun = Instant::now();
                runtime.unwrap().block_on(local);
                begun.elapsed()
            })
        })
        .collect();
    for thread in threads {
        let took = thread.join().unwrap();
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
    assert_eq!((places.free.load(SeqCst), places.queue.waiting()), (2, 0));
}
