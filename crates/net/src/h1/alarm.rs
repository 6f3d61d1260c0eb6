//! Time: one timer for a whole connection, set again only when it has rung.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A connection's timer. It rings for the earliest deadline it was ever polled with, and is set
/// on only then: a request that meets its deadlines costs no timer operation.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The task that has waited for it, as long as that was always the same: the timer knows it.
    only: Option<Waker>,
}

impl Alarm {
    /// Ready once `deadline` has passed.
    pub(super) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                let known = self.only.as_ref().is_some_and(|only| only.will_wake(cx.waker()));
                if known && sleep.deadline() <= deadline && !sleep.is_elapsed() {
                    return Poll::Pending;
                }
                if !known {
                    self.only = None;
                }
                sleep
            }
            none => {
                self.only = Some(cx.waker().clone());
                none.insert(Box::pin(sleep_until(deadline)))
            }
        };
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
