//! Telling every connection of a worker that it should end, at no cost while nobody is told.
//!
//! A connection registers its task's waker once. A drain sets a flag and wakes them all; each says
//! `Connection: close` (GOAWAY) with its next answer from then on. A second step closes those that
//! are idle: whoever sends a request just then would lose it, so that busy connections are given a
//! while to be told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;

/// The drain of one worker. Clones share it.
#[derive(Clone, Default)]
pub struct Drain(Rc<State>);

#[derive(Default)]
struct State {
    draining: Cell<bool>,
    closing: Cell<bool>,
    next: Cell<u64>,
    open: RefCell<BTreeMap<u64, Waker>>,
    empty: RefCell<Option<Waker>>,
}

impl Drain {
    /// Counts a connection in, until the ticket is dropped. `waker` is its task's.
    pub fn register(&self, waker: &Waker) -> Ticket {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        self.0.open.borrow_mut().insert(id, waker.clone());
        Ticket { drain: self.clone(), id }
    }

    /// Whether connections should end.
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.0.open.borrow().len()
    }

    /// Tells every connection to end with its next answer; new ones are told at once.
    pub fn start(&self) {
        self.0.draining.set(true);
        self.wake();
    }

    /// Closes connections as soon as they are idle.
    pub fn close_idle(&self) {
        self.0.closing.set(true);
        self.start();
    }

    fn wake(&self) {
        for waker in self.0.open.borrow().values() {
            waker.wake_by_ref();
        }
    }

    /// Waits until no connection is open.
    pub async fn emptied(&self) {
        std::future::poll_fn(|cx| {
            if self.0.open.borrow().is_empty() {
                return std::task::Poll::Ready(());
            }
            *self.0.empty.borrow_mut() = Some(cx.waker().clone());
            std::task::Poll::Pending
        })
        .await;
    }
}

/// An open connection's place in the drain's count.
pub struct Ticket {
    drain: Drain,
    id: u64,
}

impl Ticket {
    /// Whether this connection should end with its next answer.
    pub fn is_draining(&self) -> bool {
        self.drain.is_draining()
    }

    /// Whether this connection should end as soon as it is idle.
    pub fn is_closing(&self) -> bool {
        self.drain.0.closing.get()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.drain.0.open.borrow_mut();
        open.remove(&self.id);
        if open.is_empty()
            && let Some(waker) = self.drain.0.empty.borrow_mut().take()
        {
            waker.wake();
        }
    }
}
