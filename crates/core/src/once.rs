//! A request that is to run once: whoever keeps a record of it says so here, and the request path
//! brings it to its end and tells whether anybody may have acted on it.

use std::cell::Cell;

use crate::{Fault, Resend};

/// What holds for a request that is to run once. Shared by its exchange and the policy that keeps
/// the record.
#[derive(Debug)]
pub struct Once {
    resends: bool,
    entered: Cell<usize>,
    trying: Cell<bool>,
    reached: Cell<bool>,
}

impl Once {
    /// Of a request that an upstream may be sent again or not, whatever its method.
    pub fn new(resends: bool) -> Self {
        let (entered, trying, reached) = Default::default();
        Self { resends, entered, trying, reached }
    }

    /// Whether an upstream that may have acted on it may be sent it again: it tells the second
    /// from the first by the key.
    pub fn resends(&self) -> bool {
        self.resends
    }

    /// Whether anybody may have acted on it by now.
    pub fn is_reached(&self) -> bool {
        self.trying.get() || self.reached.get()
    }

    /// Somebody is asked now.
    pub fn tries(&self) {
        self.trying.set(true);
    }

    /// What came of asking.
    pub fn tried<T>(&self, outcome: &Result<T, Fault>) {
        self.trying.set(false);
        match outcome {
            Ok(_) => self.reached.set(true),
            Err(fault) => self.failed(fault),
        }
    }

    /// One part of a try has failed, and there is another.
    pub fn failed(&self, fault: &Fault) {
        if fault.may_resend() != Resend::Safe {
            self.reached.set(true);
        }
    }

    /// How many policies had been entered when it was set, the one that set it included: those
    /// after it are led to the end with the request.
    pub fn entered(&self) -> usize {
        self.entered.get()
    }

    /// Says how many, if that has not been said.
    pub fn set_entered(&self, entered: usize) {
        if self.entered.get() == 0 {
            self.entered.set(entered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reasons;

    #[test]
    fn it_is_reached_once_anything_may_have_been_sent() {
        let fault = |resend| Err::<(), _>(Fault::upstream(&reasons::INTERNAL).resend(resend));
        let once = Once::new(true);
        assert!(!once.is_reached());
        once.tries();
        assert!(once.is_reached(), "nobody knows while it is being sent");
        once.tried(&fault(Resend::Safe));
        assert!(!once.is_reached());
        once.tries();
        once.failed(&Fault::upstream(&reasons::INTERNAL).resend(Resend::IfIdempotent));
        once.tried(&fault(Resend::Safe));
        assert!(once.is_reached(), "what was sent before stays sent");
        for outcome in [Ok(()), fault(Resend::No), fault(Resend::IfIdempotent)] {
            let once = Once::new(true);
            once.tries();
            once.tried(&outcome);
            assert!(once.is_reached());
        }
    }
}
