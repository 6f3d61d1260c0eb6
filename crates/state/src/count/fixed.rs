//! Windows that begin and end at round times: of the clock, or of the calendar.

use std::time::Duration;

use lockgate_core::{Algorithm, Grant, Limit};

use super::Taking;
use crate::clock::{Now, nanos};
use crate::view::Name;

#[derive(Default)]
pub(crate) struct Fixed {
    /// The window's begin, in nanoseconds since 1970.
    begin: u64,
    count: u64,
    /// What operators call it, if they may ask.
    pub(crate) name: Option<Box<Name>>,
}

/// The window around a moment, in nanoseconds since 1970.
fn around(limit: &Limit, now: Now) -> (u64, u64) {
    if let Algorithm::Calendar(calendar) = limit.algorithm {
        let (begin, end) = calendar.around(now.unix);
        return (nanos(begin), nanos(end));
    }
    let (length, unix) = (nanos(limit.window).max(1), nanos(now.unix));
    let begin = unix - unix % length;
    (begin, begin.saturating_add(length))
}

impl Fixed {
    /// What counts in the window around a moment. A clock that was set back a little does not
    /// open the window before once more: the later one holds on.
    fn window(&self, limit: &Limit, now: Now) -> (u64, u64, u64) {
        let (begin, end) = around(limit, now);
        if self.begin == begin {
            return (begin, end, self.count);
        }
        if self.begin > begin && self.begin - begin <= end - begin {
            let later = Now { unix: Duration::from_nanos(self.begin), ..now };
            let (begin, end) = around(limit, later);
            return (begin, end, self.count);
        }
        (begin, end, 0)
    }

    pub(super) fn look(&self, limit: &Limit, now: Now, cost: u64) -> Grant {
        let (_, end, count) = self.window(limit, now);
        said(limit, now, cost, end, count)
    }

    /// Takes what a look has allowed. When the window ends.
    pub(super) fn spend(&mut self, limit: &Limit, now: Now, cost: u64) -> u64 {
        let (begin, end, count) = self.window(limit, now);
        (self.begin, self.count) = (begin, count.saturating_add(cost));
        now.mono.saturating_add(end.saturating_sub(nanos(now.unix)))
    }

    /// A look and, if it allows, a spending, in one go.
    #[inline(always)]
    pub(super) fn take(&mut self, limit: &Limit, now: Now, cost: u64) -> Taking {
        let (begin, end, count) = self.window(limit, now);
        let Some(remaining) = limit.count.saturating_sub(count).checked_sub(cost) else {
            return Taking::Refused(said(limit, now, cost, end, count));
        };
        (self.begin, self.count) = (begin, count + cost);
        Taking::Here(remaining, now.mono.saturating_add(end.saturating_sub(nanos(now.unix))))
    }

    /// The same once more, if it bears no name.
    pub(super) fn copied(&self) -> Option<Self> {
        let Self { begin, count, name: None } = *self else { return None };
        Some(Self { begin, count, name: None })
    }

    pub(super) fn give_back(&mut self, now: Now, cost: u64, at: u64) {
        let since = now.mono.saturating_sub(at);
        if nanos(now.unix).saturating_sub(since) >= self.begin {
            self.count = self.count.saturating_sub(cost);
        }
    }

    pub(crate) fn counted(&self) -> u64 {
        self.count
    }

    pub(super) fn heap(&self) -> usize {
        self.name.as_ref().map_or(0, |name| name.heap())
    }
}

/// What there is to say of a window that counts so much.
fn said(limit: &Limit, now: Now, cost: u64, end: u64, count: u64) -> Grant {
    let remaining = limit.count.saturating_sub(count);
    let left = Duration::from_nanos(end.saturating_sub(nanos(now.unix)));
    let allowed = cost <= remaining;
    Grant {
        allowed,
        remaining,
        reset: if count == 0 { Duration::ZERO } else { left },
        wait: if allowed { Duration::ZERO } else { left },
        at: 0,
    }
}
