//! What a server is asked on connections of their own: small things and large ones, each with a
//! breaker. Large ones that take their time hold up no small ones. A server that does not answer
//! what is small is asked for nothing.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::breaker::Breaker;
use crate::redis::script::Use;

/// Which of a server's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Limits, leases, records, and the link's own.
    Small,
    /// Kept answers.
    Large,
}

impl Lane {
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub(crate) fn of(of: Use) -> Self {
        match of {
            Use::Blobs => Self::Large,
            Use::Counters | Use::Leases | Use::Records | Use::Link => Self::Small,
        }
    }
}

/// Whether a server is asked, for each lane.
#[derive(Debug, Default)]
pub(super) struct Gates {
    small: Gate,
    large: Gate,
}

#[derive(Debug, Default)]
struct Gate {
    breaker: Breaker,
    /// Whether somebody is looking after it, as it is not well.
    probed: AtomicBool,
}

impl Gates {
    fn gate(&self, lane: Lane) -> &Gate {
        match lane {
            Lane::Small => &self.small,
            Lane::Large => &self.large,
        }
    }

    pub(super) fn lets(&self, lane: Lane) -> bool {
        !self.small.breaker.is_open() && !self.gate(lane).breaker.is_open()
    }

    pub(super) fn trip(&self, lane: Lane, what: Cow<'static, str>) -> bool {
        self.gate(lane).breaker.trip(what)
    }

    pub(super) fn well(&self, lane: Lane) {
        self.gate(lane).breaker.close();
    }

    pub(super) fn why(&self, lane: Lane) -> Cow<'static, str> {
        let lane = if self.small.breaker.is_open() { Lane::Small } else { lane };
        self.gate(lane).breaker.why()
    }

    pub(super) fn pause(&self, lane: Lane) -> Duration {
        self.gate(lane).breaker.pause()
    }

    pub(super) fn begin_probing(&self, lane: Lane) -> bool {
        let gate = self.gate(lane);
        gate.breaker.is_open() && !gate.probed.swap(true, Relaxed)
    }

    pub(super) fn end_probing(&self, lane: Lane) {
        self.gate(lane).probed.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_holds_up_nothing_small_and_not_the_other_way_round() {
        let gates = Gates::default();
        assert!(gates.trip(Lane::Large, "is slow".into()));
        assert!(gates.lets(Lane::Small) && !gates.lets(Lane::Large));
        assert_eq!(gates.why(Lane::Large), "is slow");
        assert!(gates.begin_probing(Lane::Large) && !gates.begin_probing(Lane::Large));
        assert!(!gates.begin_probing(Lane::Small), "it is well");
        gates.well(Lane::Large);
        assert!(gates.trip(Lane::Small, "is away".into()));
        assert!(!gates.lets(Lane::Small) && !gates.lets(Lane::Large));
        assert_eq!(gates.why(Lane::Large), "is away");
        assert!(!gates.begin_probing(Lane::Large), "by itself it was well");
        gates.well(Lane::Small);
        assert!(gates.lets(Lane::Large));
    }
}
