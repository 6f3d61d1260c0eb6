//! Where alerts and those who are told of them meet: the engine, and an outbox for each sink of the
//! configuration in force.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lockgate_config::model::{AlertSink, Alerts, Severity};
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use super::engine::Engine;
use super::find::{Findings, Id};
use super::view::{AlertView, AlertsView, SinkView};
use crate::moment::Moment;
use crate::tell::message::Message;
use crate::tell::outbox::{Outbox, Policy, Told};
use crate::tell::{Fail, Receiver};

/// An Alertmanager is told anew this often: it forgets after five minutes.
const ANEW: Duration = Duration::from_secs(60);

/// Alerts and sinks.
#[derive(Default)]
pub(crate) struct Desk {
    engine: Engine,
    settings: Alerts,
    sinks: BTreeMap<String, Sink>,
    /// What sinks had been told when the process before this one ended.
    before: BTreeMap<String, Vec<Told>>,
    /// Whether something has changed since it was kept.
    fresh: bool,
}

struct Sink {
    settings: AlertSink,
    /// What keeps it from being told, or how it is told.
    receiver: Result<Arc<Receiver>, String>,
    outbox: Outbox,
    delivery: Option<AbortHandle>,
    counts: Counts,
}

/// What deliveries came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) given_up: u64,
    delivered_at: Option<u64>,
    failed_at: Option<u64>,
    last_error: Option<String>,
}

/// A message that is to be delivered.
pub(crate) struct Letter {
    pub(crate) sink: String,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) message: Message,
}

/// What is kept over restarts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    firing: Vec<AlertView>,
    recent: Vec<AlertView>,
    told: BTreeMap<String, Vec<Told>>,
}

impl Desk {
    /// Takes a configuration's alerts. Sinks that stay as they are keep what they have been told;
    /// what is under way to one that changes is broken off, and told anew.
    pub(crate) fn configure(&mut self, settings: &Alerts, directory: &Path) {
        let mut old = std::mem::take(&mut self.sinks);
        for (name, sink) in &settings.sinks {
            let before = match old.remove(name) {
                Some(same) if same.settings == *sink && same.receiver.is_ok() => {
                    self.sinks.insert(name.clone(), same);
                    continue;
                }
                other => other,
            };
            let receiver = Receiver::new(name, sink, directory).map(Arc::new);
            if let Err(why) = &receiver {
                tracing::error!(sink = name, why, "a sink of alerts cannot be told");
            }
            let told = before.as_ref().map(|before| before.outbox.kept());
            let told = told.or_else(|| self.before.get(name).cloned()).unwrap_or_default();
            let sink = Sink {
                settings: sink.clone(),
                receiver,
                outbox: Outbox::restored(told),
                delivery: None,
                counts: before.map(|before| before.counts.clone()).unwrap_or_default(),
            };
            self.sinks.insert(name.clone(), sink);
        }
        self.settings = settings.clone();
    }

    /// Takes what is wrong now.
    pub(crate) fn step(&mut self, now: Moment, findings: &Findings) {
        self.fresh |= self.engine.step(now, findings, self.settings.group_wait.0);
    }

    /// What is to be told now; at some times of `day`, less.
    pub(crate) fn letters(&mut self, day: SystemTime, now: Moment) -> Vec<Letter> {
        let firing = self.engine.firing();
        let mut letters = Vec::new();
        for (name, sink) in &mut self.sinks {
            let Ok(receiver) = &sink.receiver else { continue };
            let policy = policy(&self.settings, &sink.settings, receiver, day);
            let ended = |id: &Id| self.engine.ended(id);
            if let Some(message) = sink.outbox.next(now, &policy, &firing, &ended) {
                let receiver = Arc::clone(receiver);
                letters.push(Letter { sink: name.clone(), receiver, message });
            }
        }
        letters
    }

    /// A message is under way by this task.
    pub(crate) fn under_way(&mut self, sink: &str, delivery: AbortHandle) {
        if let Some(sink) = self.sinks.get_mut(sink) {
            sink.delivery = Some(delivery);
        }
    }

    /// A try has failed.
    pub(crate) fn failed(&mut self, name: &str, now: u64, fail: &Fail) {
        let Some(sink) = self.sinks.get_mut(name) else { return };
        sink.counts.failed += 1;
        sink.counts.failed_at = Some(now);
        // Once for what goes on.
        if sink.counts.last_error.as_ref() != Some(&fail.why) {
            tracing::warn!(sink = name, why = fail.why, "an alert could not be delivered");
        }
        sink.counts.last_error = Some(fail.why.clone());
    }

    /// A message has arrived, but for what is lost.
    pub(crate) fn done(&mut self, name: &str, now: Moment, lost: &BTreeSet<Id>) {
        let Some(sink) = self.sinks.get_mut(name) else { return };
        self.fresh = true;
        sink.delivery = None;
        sink.outbox.done(now, lost);
        if lost.is_empty() {
            sink.counts.delivered += 1;
            sink.counts.delivered_at = Some(now.at);
            sink.counts.last_error = None;
        } else {
            sink.counts.given_up += 1;
            tracing::error!(sink = name, lost = lost.len(), "a message of alerts was given up");
        }
    }

    /// Whether any message is under way.
    pub(crate) fn is_sending(&self) -> bool {
        self.sinks.values().any(|sink| sink.outbox.is_sending())
    }

    /// What fires, by rule and severity.
    pub(crate) fn firing(&self) -> BTreeMap<(String, Severity), u64> {
        let mut counts = BTreeMap::new();
        for alert in self.engine.firing().into_values() {
            *counts.entry((alert.rule, alert.severity)).or_default() += 1;
        }
        counts
    }

    /// What deliveries came to, by sink.
    pub(crate) fn counts(&self) -> Vec<(String, Counts)> {
        self.sinks.iter().map(|(name, sink)| (name.clone(), sink.counts.clone())).collect()
    }

    /// All that is to be seen.
    pub(crate) fn view(&self, now: SystemTime) -> AlertsView {
        let mut firing: Vec<AlertView> = self.engine.firing().into_values().collect();
        firing.sort_by_key(|one| Reverse((one.severity, one.fired_at)));
        let sinks = self.sinks.iter().map(|(name, sink)| {
            let quiet = quiet(&self.settings, &sink.settings, now);
            let (kind, error) = match &sink.receiver {
                Ok(receiver) => (receiver.kind(), None),
                Err(why) => ("none", Some(why.clone())),
            };
            SinkView {
                name: name.clone(),
                kind,
                quiet,
                sending: sink.outbox.is_sending(),
                delivered: sink.counts.delivered,
                failed: sink.counts.failed,
                given_up: sink.counts.given_up,
                delivered_at: sink.counts.delivered_at,
                failed_at: sink.counts.failed_at,
                last_error: error.or_else(|| sink.counts.last_error.clone()),
            }
        });
        AlertsView {
            firing,
            pending: self.engine.pending(),
            recent: self.engine.recent(),
            sinks: sinks.collect(),
        }
    }

    /// Whether something has changed that should be on disk soon.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// What is kept over restarts, as JSON.
    pub(crate) fn kept(&mut self) -> String {
        self.fresh = false;
        let told = self.sinks.iter().map(|(name, sink)| (name.clone(), sink.outbox.kept()));
        let kept = Kept {
            firing: self.engine.firing().into_values().collect(),
            recent: self.engine.recent(),
            told: told.collect(),
        };
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Takes what a process before this one has kept. What cannot be read is let go.
    pub(crate) fn restore(&mut self, text: &str, now: Moment) {
        let Ok(mut kept) = serde_json::from_str::<Kept>(text) else {
            return tracing::warn!("what was kept of alerts cannot be read: it is let go");
        };
        self.engine.restore(kept.firing, kept.recent);
        kept.told.values_mut().flatten().for_each(|told| told.restored(now));
        for (name, told) in &kept.told {
            if let Some(sink) = self.sinks.get_mut(name) {
                sink.outbox = Outbox::restored(told.clone());
            }
        }
        self.before = kept.told;
    }
}

fn quiet(settings: &Alerts, sink: &AlertSink, now: SystemTime) -> bool {
    let hours = sink.quiet.as_ref().unwrap_or(&settings.quiet);
    hours.as_ref().is_some_and(|hours| hours.holds(now))
}

fn policy(settings: &Alerts, sink: &AlertSink, receiver: &Receiver, now: SystemTime) -> Policy {
    let said = settings.repeat_after.0;
    let repeat = (!said.is_zero()).then_some(said);
    let repeat = match receiver.forgets() {
        true => Some(repeat.map_or(ANEW, |repeat| repeat.min(ANEW))),
        false => repeat,
    };
    Policy {
        only: sink.only.clone(),
        least: sink.severity,
        quiet: quiet(settings, sink, now),
        resolved: sink.resolved,
        group_wait: settings.group_wait.0,
        repeat,
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(delivery) = &self.delivery {
            delivery.abort();
        }
    }
}
