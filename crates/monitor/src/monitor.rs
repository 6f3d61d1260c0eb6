//! The monitor: looks every second, keeps what it sees, tells who is to be told, and answers
//! questions about it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_config::model::Document;
use lockgate_core::{Clock, Outbound, Standing, Status};
use lockgate_upstream::Upstream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::alerts::find::{self, Findings, Found};
use crate::alerts::{AlertsView, Desk, Letter};
use crate::figures::Figures;
use crate::history::disk::Loaded;
use crate::history::view::{EndpointUptime, KeptWhere, UpstreamUptime};
use crate::history::{Book, Key};
use crate::keeper::{Keeper, Opened};
use crate::moment::Clocks;
use crate::tell::{Post, Spawn};
use crate::{Published, Sight, millis, sight};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two readings of all figures, two publications of the status, two looks at
/// certificates, two batches for the disk if nothing changes, and two attempts to open a disk that
/// fails.
const FIGURES: u64 = 5;
const PUBLISH: u64 = 5;
const CERTIFICATES: u64 = 60;
const WRITE: u64 = 10;
const TRY_AGAIN: u64 = 60;
/// So long nobody is told while another process has the history: that one tells, and this one
/// reads from it what has been told.
const PATIENCE: u64 = 60;
/// How long the end waits for messages that are under way.
const LAST_MESSAGES: Duration = Duration::from_secs(3);

/// What has happened, and who is told.
pub struct Monitor {
    sight: Box<dyn Sight>,
    outbound: Arc<dyn Outbound>,
    spawn: Spawn,
    clocks: Clocks,
    instance: String,
    book: Mutex<Book>,
    desk: Mutex<Desk>,
    keeper: Keeper,
    published: Arc<Published>,
    stop: watch::Sender<bool>,
}

/// What is handed to a monitor.
pub struct Outfit {
    /// What it looks at.
    pub sight: Box<dyn Sight>,
    /// How webhooks are sent.
    pub outbound: Arc<dyn Outbound>,
    /// How programs are started.
    pub spawn: Spawn,
    /// The time of day.
    pub clock: Clock,
    /// Where the history is kept, if anywhere.
    pub directory: Option<PathBuf>,
    /// Where the public's status is put.
    pub published: Arc<Published>,
}

/// What one look knows of those before.
#[derive(Default)]
struct Before {
    looks: u64,
    figures: Figures,
    document: Option<Arc<Document>>,
    certificates: Vec<Found>,
}

impl Monitor {
    /// One that has not looked yet.
    pub fn new(outfit: Outfit) -> Arc<Self> {
        let Outfit { sight, outbound, spawn, clock, directory, published } = outfit;
        let keeper = Keeper::new(directory);
        let (book, desk) = Default::default();
        let (instance, stop) = (instance(), watch::Sender::new(false));
        let clocks = Clocks::new(clock);
        Arc::new(Self {
            sight,
            outbound,
            spawn,
            clocks,
            instance,
            book,
            desk,
            keeper,
            published,
            stop,
        })
    }

    /// Looks every second until the process is about to end; then what is not on disk is written,
    /// and the disk left to a successor.
    pub async fn run(self: Arc<Self>) {
        // A disk that hangs keeps nobody from looking.
        tokio::join!(Arc::clone(&self).look_on(), self.keep_on());
    }

    /// The process ends now: nobody needs to wait for the next look.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn stopped(&self) {
        // The sender is a part of this, so it is there.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    async fn look_on(self: Arc<Self>) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Before::default();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.stopped() => break,
            }
            if self.sight.draining() {
                break;
            }
            self.look(&mut before);
            if self.keeper.is_settled() || before.looks >= PATIENCE {
                self.tell();
            }
            before.looks += 1;
        }
        let sent = async {
            while self.desk().is_sending() {
                tokio::time::sleep(LOOK / 20).await;
            }
        };
        let _ = tokio::time::timeout(LAST_MESSAGES, sent).await;
    }

    async fn keep_on(&self) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.stopped() => break,
            }
            if self.sight.draining() {
                break;
            }
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
        self.desk().view(self.clocks.day())
    }

    /// Times that the history could not be read or written.
    pub(crate) fn store_failures(&self) -> u64 {
        self.keeper.failures()
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        // A desk is whole after every step, so a poisoned one can be used.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A book is whole after every note, so a poisoned one can be used.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look at everything.
    fn look(&self, before: &mut Before) {
        let (document, upstreams) = (self.sight.document(), self.sight.upstreams());
        let now = Instant::now();
        let rules = &document.alerts.rules;
        let mut findings = Findings::default();
        let mut book = self.book();
        book.look(millis(self.clocks.day()));
        for upstream in upstreams.values() {
            note(&mut book, upstream, now);
            find::upstream(upstream, rules, now, &mut findings);
        }
        if before.looks.is_multiple_of(FIGURES) {
            let dropped = self.sight.lines_dropped();
            let reading = before.figures.read(self.sight.totals(), dropped);
            for (name, spread) in &reading.upstreams {
                if let Some(upstream) = upstreams.get(name) {
                    book.took(&Key::upstream(upstream.name()), spread);
                }
            }
        }
        if before.looks.is_multiple_of(PUBLISH) {
            let mut names: Vec<&Arc<str>> = upstreams.values().map(|one| one.name()).collect();
            names.sort();
            let services = names.into_iter().map(|name| book.status(name)).collect();
            self.published.publish(Status { at: self.clocks.day(), services });
        }
        drop(book);
        self.find(before, &document, findings);
    }

    /// What else is wrong, and what follows from all of it.
    fn find(&self, before: &mut Before, document: &Arc<Document>, mut findings: Findings) {
        let rules = &document.alerts.rules;
        let now = self.clocks.day();
        let is_new = !before.document.as_ref().is_some_and(|old| Arc::ptr_eq(old, document));
        if is_new || before.looks.is_multiple_of(CERTIFICATES) {
            before.certificates = find::certificates(&self.sight.certificates(), rules, now);
        }
        findings.found.extend(before.certificates.iter().cloned());
        find::figures(&before.figures, rules, &mut findings);
        let (stores, fails) = (self.sight.stores(), self.keeper.is_failing());
        let generation = self.sight.generation();
        find::gateway(document, &before.figures, generation, &stores, fails, &mut findings);
        let mut desk = self.desk();
        if is_new {
            desk.configure(&document.alerts, &document.base);
            before.document = Some(Arc::clone(document));
        }
        desk.step(self.clocks.now(), &findings);
    }

    /// Sends what is to be told now.
    fn tell(self: &Arc<Self>) {
        let mut desk = self.desk();
        for letter in desk.letters(self.clocks.day(), self.clocks.now()) {
            let sink = letter.sink.clone();
            let task = tokio::spawn(Arc::clone(self).deliver(letter));
            desk.under_way(&sink, task.abort_handle());
        }
    }

    async fn deliver(self: Arc<Self>, letter: Letter) {
        let Letter { sink, receiver, message } = letter;
        let now = || millis(self.clocks.day());
        let failed = |fail: &crate::tell::Fail| self.desk().failed(&sink, now(), fail);
        let Self { outbound, spawn, instance, .. } = &*self;
        let post = Post { outbound, spawn, instance, now: &now, failed: &failed };
        let lost = receiver.deliver(&post, &message).await;
        self.desk().done(&sink, self.clocks.now(), &lost);
    }

    /// The disk's part of a look.
    async fn keep(&self, looks: u64) {
        if !self.keeper.is_open() {
            let is_time = !self.keeper.is_failing() || looks.is_multiple_of(TRY_AGAIN);
            if is_time && let Opened::Now(loaded) = self.keeper.open().await {
                self.take(*loaded);
            }
            return;
        }
        let fresh = self.book().is_fresh() || self.desk().is_fresh();
        if fresh || looks.is_multiple_of(WRITE) {
            self.write(false).await;
        }
    }

    /// Takes what was on disk beneath what has been seen by now.
    fn take(&self, mut loaded: Loaded) {
        if let Some(alerts) = loaded.alerts.take() {
            self.desk().restore(&alerts, self.clocks.now());
        }
        self.book().take(loaded);
        self.keeper.settle();
    }

    async fn write(&self, last: bool) {
        let (mut batch, receipt) = self.book().batch(last);
        batch.alerts = Some(self.desk().kept());
        if self.keeper.write(batch).await {
            self.book().written(receipt);
        }
    }
}

/// An upstream and its endpoints in one look.
fn note(book: &mut Book, upstream: &Upstream, now: Instant) {
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
        book.note(&Key::upstream(upstream.name()), sight::upstream(upstream, &standings));
    }
}

/// This machine's name, as far as it is a plain word.
fn instance() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let good = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = name.trim().chars().filter(good).take(64).collect();
    if name.is_empty() { "lockgate".to_owned() } else { name }
}
