//! What came in the last minute, from figures that are sums since the start.

use std::collections::{HashMap, VecDeque};

use lockgate_telemetry::{Spread, Totals};

/// Readings that make a minute.
const READINGS: usize = 12;

/// The last readings, and what they are told from.
#[derive(Default)]
pub(crate) struct Figures {
    routes: HashMap<String, Count>,
    upstreams: HashMap<String, Spread>,
    dropped: u64,
    readings: VecDeque<Reading>,
    /// Readings so far.
    pub(crate) count: usize,
    /// Whether the last configuration that was read was taken.
    pub(crate) config_taken: bool,
}

/// What came in between two readings.
#[derive(Default)]
pub(crate) struct Reading {
    routes: HashMap<String, Count>,
    pub(crate) upstreams: HashMap<String, Spread>,
    dropped: u64,
}

/// Requests, and those of them that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
}

impl Figures {
    /// Takes a reading. Only what something came for is kept of it.
    pub(crate) fn read(&mut self, totals: Totals, dropped: u64) -> &Reading {
        let mut reading = Reading::default();
        let mut routes = HashMap::with_capacity(totals.routes.len());
        for route in totals.routes {
            let failed = |status: &String| status.parse::<u16>().is_ok_and(|code| code >= 500);
            let failures = route.by_status.iter().filter(|(status, _)| failed(status));
            let now =
                Count { requests: route.requests, failed: failures.map(|(_, count)| count).sum() };
            let then = self.routes.get(&route.route).copied().unwrap_or_default();
            let came = Count {
                requests: now.requests.saturating_sub(then.requests),
                failed: now.failed.saturating_sub(then.failed),
            };
            if came.requests > 0 {
                reading.routes.insert(route.route.clone(), came);
            }
            routes.insert(route.route, now);
        }
        let mut upstreams = HashMap::with_capacity(totals.upstreams.len());
        for one in totals.upstreams {
            let came = match self.upstreams.get(&one.upstream) {
                Some(then) => one.seconds.since(then),
                None => one.seconds.clone(),
            };
            if came.count() > 0 {
                reading.upstreams.insert(one.upstream.clone(), came);
            }
            upstreams.insert(one.upstream, one.seconds);
        }
        // A log that was opened anew counts from zero.
        reading.dropped = dropped.checked_sub(self.dropped).unwrap_or(dropped);
        (self.routes, self.upstreams, self.dropped) = (routes, upstreams, dropped);
        self.config_taken = totals.config_taken;
        self.count += 1;
        if self.readings.len() == READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back(reading);
        let last = self.readings.len() - 1;
        // Just pushed, so it is there.
        #[expect(clippy::indexing_slicing)]
        &self.readings[last]
    }

    /// Whether they are of a whole minute.
    pub(crate) fn is_whole(&self) -> bool {
        self.readings.len() == READINGS
    }

    /// The requests of each route that had any in the last minute.
    pub(crate) fn routes(&self) -> HashMap<&str, Count> {
        let mut sums: HashMap<&str, Count> = HashMap::new();
        for (route, count) in self.readings.iter().flat_map(|reading| &reading.routes) {
            let sum = sums.entry(route).or_default();
            sum.requests += count.requests;
            sum.failed += count.failed;
        }
        sums
    }

    /// How long the answers of each upstream took that were had in the last minute.
    pub(crate) fn upstreams(&self) -> HashMap<&str, Spread> {
        let mut sums: HashMap<&str, Spread> = HashMap::new();
        for (upstream, spread) in self.readings.iter().flat_map(|reading| &reading.upstreams) {
            sums.entry(upstream).or_default().add(spread);
        }
        sums
    }

    /// Lines of the access log that were lost in the last minute.
    pub(crate) fn dropped(&self) -> u64 {
        self.readings.iter().map(|reading| reading.dropped).sum()
    }
}
