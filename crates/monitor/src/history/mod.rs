//! How services were: looked at every second, kept in memory as far as it is bounded, and on disk
//! if there is one.

pub(crate) mod disk;
pub(crate) mod line;
#[cfg(test)]
mod tests;
pub(crate) mod took;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockgate_core::{ServiceStatus, Standing, WINDOWS};
use lockgate_telemetry::Spread;

use disk::{Batch, Loaded, Prune};
use line::{Kept, Line, Sums};
use took::{TookRow, Tooks};
use view::{Past, WindowPast};

/// Most upstreams and endpoints, together, that have a history.
pub(crate) const MOST_SERVICES: usize = 2_000;
/// How long anything is kept.
const KEEP: u64 = 90 * DAY;
const DAY: u64 = 86_400_000;
/// Days that are told one by one.
const DAYS: usize = 90;
/// Intervals that are shown.
const SHOWN: usize = 50;
/// Between two prunings of the disk.
const PRUNE: u64 = 3_600_000;

/// Whose history it is: an upstream's, or one of its endpoints'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) upstream: Arc<str>,
    /// An address; empty for the upstream itself.
    pub(crate) endpoint: Arc<str>,
}

impl Key {
    pub(crate) fn upstream(name: &Arc<str>) -> Self {
        Self { upstream: Arc::clone(name), endpoint: Arc::from("") }
    }

    pub(crate) fn endpoint(upstream: &Arc<str>, address: &Arc<str>) -> Self {
        Self { upstream: Arc::clone(upstream), endpoint: Arc::clone(address) }
    }
}

/// All histories.
#[derive(Default)]
pub(crate) struct Book {
    services: BTreeMap<Key, Service>,
    /// The number of the last look.
    look: u64,
    at: u64,
    pruned: u64,
    /// Whether a span has begun since the last batch.
    fresh: bool,
    /// How many are too many to have a history.
    pub(crate) left_out: usize,
}

#[derive(Default)]
struct Service {
    line: Line,
    tooks: Tooks,
    /// The look that saw it last.
    look: u64,
    /// The probe whose time was noted last.
    probe: Option<u64>,
}

/// What a batch will have written.
pub(crate) struct Receipt {
    lines: Vec<(Key, Kept)>,
    tooks: Vec<(Key, Vec<TookRow>)>,
    pruned: Option<u64>,
}

impl Book {
    /// Begins a look at everything.
    pub(crate) fn look(&mut self, now: u64) {
        self.look += 1;
        self.at = now;
        self.left_out = 0;
    }

    /// One service in this look.
    pub(crate) fn note(&mut self, key: &Key, standing: Standing) {
        let (look, now) = (self.look, self.at);
        let Some(service) = self.service(key) else { return };
        let begins = service.line.note(standing, now);
        service.look = look;
        self.fresh |= begins;
    }

    /// A probe's time, once for each probe.
    pub(crate) fn probed(&mut self, key: &Key, checked: u64, took: Duration) {
        let now = self.at;
        let Some(service) = self.services.get_mut(key) else { return };
        if service.probe == Some(checked) {
            return;
        }
        // The first one may be from long before.
        if service.probe.replace(checked).is_some() || now.saturating_sub(checked) < 60_000 {
            let mut spread = Spread::default();
            spread.note(took);
            service.tooks.add(now, &spread);
        }
    }

    /// How long requests took since the last time.
    pub(crate) fn took(&mut self, key: &Key, spread: &Spread) {
        let now = self.at;
        if spread.count() > 0
            && let Some(service) = self.services.get_mut(key)
        {
            service.tooks.add(now, spread);
        }
    }

    fn service(&mut self, key: &Key) -> Option<&mut Service> {
        if !self.services.contains_key(key) {
            if self.services.len() >= MOST_SERVICES && !self.forget_one() {
                self.left_out += 1;
                return None;
            }
            self.services.insert(key.clone(), Service::default());
        }
        self.services.get_mut(key)
    }

    /// Makes room: what has been gone for the longest time goes first.
    fn forget_one(&mut self) -> bool {
        let last = self.look.saturating_sub(1);
        let gone = self.services.iter().filter(|(_, service)| service.look < last);
        let oldest = gone.min_by_key(|(_, service)| service.line.last().map_or(0, |span| span.to));
        let oldest = oldest.map(|(key, _)| key.clone());
        oldest.is_some_and(|key| self.services.remove(&key).is_some())
    }

    /// Takes what was on disk beneath what is known by now.
    pub(crate) fn take(&mut self, loaded: Loaded) {
        let keep_from = self.at.saturating_sub(KEEP);
        for (key, spans) in loaded.spans {
            if spans.last().is_some_and(|span| span.to >= keep_from)
                && let Some(service) = self.service(&key)
            {
                service.line.prepend(spans);
                service.line.forget(keep_from);
            }
        }
        let now = self.at;
        for (key, rows) in loaded.tooks {
            if let Some(service) = self.service(&key) {
                rows.iter().for_each(|row| service.tooks.put(row));
                service.tooks.forget(now);
            }
        }
    }

    /// Whether something has changed that should be on disk soon.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// What is not on disk yet. `last`: nobody will look again.
    pub(crate) fn batch(&mut self, last: bool) -> (Batch, Receipt) {
        self.fresh = false;
        let mut batch = Batch { seen: self.at, ..Batch::default() };
        let mut receipt = Receipt { lines: Vec::new(), tooks: Vec::new(), pruned: None };
        for (key, service) in &mut self.services {
            let live = !last && service.look == self.look;
            let (rows, kept) = service.line.unwritten(live);
            if !rows.is_empty() {
                batch.spans.push((key.clone(), rows));
                receipt.lines.push((key.clone(), kept));
            }
            let rows = service.tooks.unwritten();
            if !rows.is_empty() {
                batch.tooks.push((key.clone(), rows.clone()));
                receipt.tooks.push((key.clone(), rows));
            }
        }
        if self.at.saturating_sub(self.pruned) >= PRUNE {
            let before = self.at.saturating_sub(KEEP);
            for service in self.services.values_mut() {
                service.line.forget(before);
                service.tooks.forget(self.at);
            }
            self.services.retain(|_, one| !one.line.is_empty() || !one.tooks.is_empty());
            batch.prune = Some(Prune { before, oldest: took::oldest(self.at) });
            receipt.pruned = Some(self.at);
        }
        (batch, receipt)
    }

    /// A batch is on disk.
    pub(crate) fn written(&mut self, receipt: Receipt) {
        for (key, kept) in receipt.lines {
            if let Some(service) = self.services.get_mut(&key) {
                service.line.written(kept);
            }
        }
        for (key, rows) in receipt.tooks {
            if let Some(service) = self.services.get_mut(&key) {
                service.tooks.written(&rows);
            }
        }
        self.pruned = receipt.pruned.unwrap_or(self.pruned);
    }

    /// How something was.
    pub(crate) fn past(&self, key: &Key) -> Past {
        let Some(service) = self.services.get(key) else { return Past::default() };
        let now = self.at;
        let windows = std::iter::once(("1h", 1)).chain(WINDOWS).map(|(window, hours)| {
            let sums = service.line.sums(now.saturating_sub(hours * 3_600_000), now);
            let response = service.tooks.window(now, hours).latency();
            let availability = sums.availability();
            WindowPast { window, availability, seconds: sums.into(), response }
        });
        let last = service.line.last().filter(|_| service.look == self.look);
        Past {
            standing: last.map(|span| span.standing),
            since: last.map(|span| span.from),
            known_since: service.line.first().map(|span| span.from),
            windows: windows.collect(),
            intervals: service.line.newest(SHOWN),
            days: self.days(service),
        }
    }

    /// How an upstream is and was, for the public.
    pub(crate) fn status(&self, name: &Arc<str>) -> ServiceStatus {
        let service = self.services.get(&Key::upstream(name));
        let last = service.and_then(|one| one.line.last().filter(|_| one.look == self.look));
        let share = |hours: u64| {
            let from = self.at.saturating_sub(hours * 3_600_000);
            service.and_then(|one| one.line.sums(from, self.at).availability())
        };
        ServiceStatus {
            name: Arc::clone(name),
            standing: last.map(|span| span.standing),
            since: last.map(|span| span.from),
            availability: WINDOWS.map(|(_, hours)| share(hours)),
            days: service.map(|one| self.days(one)).unwrap_or_default(),
        }
    }

    fn days(&self, service: &Service) -> Vec<Option<f64>> {
        let first = (self.at / DAY).saturating_sub(DAYS as u64 - 1);
        let days = service.line.slots(first, DAYS, DAY).into_iter();
        days.map(Sums::availability).collect()
    }
}
