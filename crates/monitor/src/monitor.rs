//! The monitor: looks every second, keeps what it sees, and answers questions about it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_core::{Clock, Standing, Status};
use lockgate_telemetry::Spread;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::alerts::AlertsView;
use crate::history::view::{EndpointUptime, KeptWhere, UpstreamUptime};
use crate::history::{Book, Key};
use crate::keeper::{Keeper, Opened};
use crate::{Published, Sight, millis, sight};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two readings of all figures, two batches for the disk, two publications of the
/// status, and two attempts to open a disk that fails.
const FIGURES: u64 = 5;
const WRITE: u64 = 10;
const PUBLISH: u64 = 5;
const TRY_AGAIN: u64 = 60;

/// What has happened, and what is shown of it.
pub struct Monitor {
    sight: Box<dyn Sight>,
    clock: Clock,
    book: Mutex<Book>,
    keeper: Keeper,
    published: Arc<Published>,
}

/// What the look before knew.
#[derive(Default)]
struct Before {
    looks: u64,
    /// Figures are told as sums since the start.
    seconds: HashMap<String, Spread>,
}

impl Monitor {
    /// One that has not looked yet. The history is kept in `directory`, if there is one.
    pub fn new(
        sight: Box<dyn Sight>,
        clock: Clock,
        directory: Option<PathBuf>,
        published: Arc<Published>,
    ) -> Arc<Self> {
        let keeper = Keeper::new(directory);
        Arc::new(Self { sight, clock, book: Mutex::default(), keeper, published })
    }

    /// Looks every second until the process is about to end; then what is not on disk is written,
    /// and the disk left to a successor.
    pub async fn run(self: Arc<Self>) {
        // A disk that hangs keeps nobody from looking.
        tokio::join!(self.look_on(), self.keep_on());
    }

    async fn look_on(&self) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Before::default();
        while !self.sight.draining() {
            tick.tick().await;
            self.look(&mut before);
            before.looks += 1;
        }
    }

    async fn keep_on(&self) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0;
        while !self.sight.draining() {
            tick.tick().await;
            self.keep(looks).await;
            looks += 1;
        }
        if self.keeper.is_open() {
            self.write(true).await;
        }
        self.keeper.close().await;
    }

    /// The names of all upstreams.
    pub fn names(&self) -> Vec<Arc<str>> {
        let upstreams = self.sight.upstreams();
        let mut names: Vec<Arc<str>> =
            upstreams.values().map(|upstream| Arc::clone(upstream.name())).collect();
        names.sort();
        names
    }

    /// How an upstream and its endpoints were.
    pub fn upstream(&self, name: &str) -> Option<UpstreamUptime> {
        let upstreams = self.sight.upstreams();
        let upstream = upstreams.get(name)?;
        let book = self.book();
        let set = upstream.set();
        let endpoints = set.endpoints().iter().map(|endpoint| EndpointUptime {
            name: Arc::clone(endpoint.name()),
            address: Arc::clone(endpoint.label()),
            past: book.past(&Key::endpoint(upstream.name(), endpoint.label())),
        });
        Some(UpstreamUptime {
            name: Arc::clone(upstream.name()),
            past: book.past(&Key::upstream(upstream.name())),
            endpoints: endpoints.collect(),
        })
    }

    /// Where the history is kept.
    pub fn kept_where(&self) -> KeptWhere {
        self.keeper.kept_where()
    }

    /// How many upstreams and endpoints have no history, as there are too many.
    pub fn left_out(&self) -> usize {
        self.book().left_out
    }

    /// Alerts and who is told of them.
    pub fn alerts(&self) -> AlertsView {
        AlertsView {
            firing: Vec::new(),
            pending: Vec::new(),
            recent: Vec::new(),
            sinks: Vec::new(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A book is whole after every note, so a poisoned one can be used.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look at everything.
    fn look(&self, before: &mut Before) {
        let upstreams = self.sight.upstreams();
        let now = Instant::now();
        let mut book = self.book();
        book.look(millis(self.clock.now()));
        for upstream in upstreams.values() {
            let set = upstream.set();
            let mut standings: Vec<Standing> = Vec::with_capacity(set.endpoints().len());
            for endpoint in set.endpoints() {
                if !sight::is_known(upstream, endpoint) {
                    continue;
                }
                let probed = endpoint.probed();
                let standing = sight::endpoint(endpoint, probed.failures, now);
                let key = Key::endpoint(upstream.name(), endpoint.label());
                book.note(&key, standing);
                if let (Some(checked), Some(took)) = (probed.checked_ms, probed.took) {
                    book.probed(&key, checked, took);
                }
                standings.push(standing);
            }
            if !standings.is_empty() || set.endpoints().is_empty() {
                let standing = sight::upstream(upstream, &standings);
                book.note(&Key::upstream(upstream.name()), standing);
            }
        }
        if before.looks.is_multiple_of(FIGURES) {
            let totals = self.sight.totals();
            for one in totals.upstreams {
                let then = before.seconds.get(&one.upstream);
                if let Some((name, _)) = upstreams.get_key_value(&one.upstream)
                    && let Some(then) = then
                {
                    let key = Key { upstream: name.as_str().into(), endpoint: "".into() };
                    book.took(&key, &one.seconds.since(then));
                }
                before.seconds.insert(one.upstream, one.seconds);
            }
            before.seconds.retain(|name, _| upstreams.contains_key(name));
        }
        if before.looks.is_multiple_of(PUBLISH) {
            let mut names: Vec<&Arc<str>> = upstreams.values().map(|one| one.name()).collect();
            names.sort();
            let services = names.into_iter().map(|name| book.status(name)).collect();
            self.published.publish(Status { at: self.clock.now(), services });
        }
    }

    /// The disk's part of a look.
    async fn keep(&self, looks: u64) {
        if !self.keeper.is_open() {
            if !self.keeper.is_failing() || looks.is_multiple_of(TRY_AGAIN) {
                if let Opened::Now(loaded) = self.keeper.open().await {
                    self.book().take(*loaded);
                }
            }
            return;
        }
        if looks.is_multiple_of(WRITE) {
            self.write(false).await;
        }
    }

    async fn write(&self, last: bool) {
        let (batch, receipt) = self.book().batch(last);
        if self.keeper.write(batch).await {
            self.book().written(receipt);
        }
    }
}
