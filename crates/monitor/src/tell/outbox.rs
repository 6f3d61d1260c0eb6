//! What one sink has been told, and what it is to be told next. What changes within `group_wait` is
//! one message; one message is under way at a time, and what comes meanwhile is the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockgate_config::model::Severity;
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::alerts::{AlertView, Id};
use crate::moment::Moment;

/// After a message was given up, so long nothing is sent.
const HOLD: Duration = Duration::from_secs(300);

/// What a sink wants to be told, now.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Only these rules; all when empty.
    pub(crate) only: Vec<String>,
    pub(crate) least: Severity,
    /// Whether only what is critical is told now.
    pub(crate) quiet: bool,
    /// Whether the end of an alert is told.
    pub(crate) resolved: bool,
    pub(crate) group_wait: Duration,
    /// None: what still fires is not told of again.
    pub(crate) repeat: Option<Duration>,
}

impl Policy {
    fn wants(&self, alert: &AlertView) -> bool {
        let rule = self.only.is_empty() || self.only.contains(&alert.rule);
        rule && alert.severity >= self.least
    }

    /// Whether it may be told at this hour.
    fn lets(&self, alert: &AlertView) -> bool {
        !self.quiet || alert.severity == Severity::Critical
    }
}

/// One sink's side of the alerts.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    told: BTreeMap<Id, Told>,
    /// What it had been told of those in the message under way.
    before: BTreeMap<Id, Option<Told>>,
    /// Since when something is to be told.
    first: Option<Moment>,
    /// When a message was given up: nothing is sent for a while.
    held: Option<Moment>,
    /// The same of single alerts, though others are sent.
    held_alone: BTreeMap<Id, Moment>,
}

/// What is to be told: what fires and has not been told, or not lately; and what is over.
struct Due {
    begun: Vec<Id>,
    over: Vec<Id>,
}

/// An alert that a sink has been told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) alert: AlertView,
    /// When it was told last: milliseconds since 1970.
    at: u64,
    /// The same by the clock of this process.
    #[serde(skip)]
    steady: i64,
}

impl Told {
    fn now(alert: AlertView, now: Moment) -> Self {
        Self { alert, at: now.at, steady: now.steady }
    }

    /// Of a process before this one, of which the time of day alone was kept.
    pub(crate) fn restored(&mut self, now: Moment) {
        self.steady = now.before(self.at).steady;
    }

    fn moment(&self) -> Moment {
        Moment { at: self.at, steady: self.steady }
    }
}

impl Outbox {
    /// What was told when the process before this one ended.
    pub(crate) fn restored(told: Vec<Told>) -> Self {
        let id = |told: &Told| Id::new(&told.alert.rule, told.alert.subject.as_str());
        let told = told.into_iter().map(|told| (id(&told), told)).collect();
        Self { told, ..Self::default() }
    }

    /// What has arrived, for the process after this one.
    pub(crate) fn kept(&self) -> Vec<Told> {
        let told = self.told.iter().filter(|(id, _)| !self.before.contains_key(id));
        let told = told.map(|(_, told)| told).chain(self.before.values().flatten());
        told.cloned().collect()
    }

    pub(crate) fn is_sending(&self) -> bool {
        !self.before.is_empty()
    }

    /// The next message, if it is time for one. It is then under way until [`Outbox::done`].
    /// `ended` says when an alert was over.
    pub(crate) fn next(
        &mut self,
        now: Moment,
        policy: &Policy,
        firing: &BTreeMap<Id, AlertView>,
        ended: &dyn Fn(&Id) -> Option<u64>,
    ) -> Option<Message> {
        if self.is_sending() {
            return None;
        }
        self.held_alone.retain(|_, since| now.since(*since) < HOLD);
        self.told.retain(|id, told| {
            let over = !firing.contains_key(id);
            policy.wants(&told.alert) && (policy.resolved || !over)
        });
        let Due { begun, over } = self.due(now, policy, firing);
        if begun.is_empty() && over.is_empty() {
            self.first = None;
            return None;
        }
        let first = *self.first.get_or_insert(now);
        let is_held = self.held.is_some_and(|since| now.since(since) < HOLD);
        if now.since(first) < policy.group_wait || is_held {
            return None;
        }
        self.first = None;
        let mut message = Message { at: now.at, ..Message::default() };
        for id in begun {
            let Some(alert) = firing.get(&id).cloned() else { continue };
            message.firing.push(alert.clone());
            let before = self.told.insert(id.clone(), Told::now(alert, now));
            self.before.insert(id, before);
        }
        for id in over {
            if let Some(told) = self.told.remove(&id) {
                let mut alert = told.alert.clone();
                alert.ended_at = ended(&id).or(Some(now.at));
                message.resolved.push(alert);
                self.before.insert(id, Some(told));
            }
        }
        message.sort();
        Some(message)
    }

    /// What there is to be told, as far as this hour lets it.
    fn due(&self, now: Moment, policy: &Policy, firing: &BTreeMap<Id, AlertView>) -> Due {
        let stale =
            |told: &Told| policy.repeat.is_some_and(|repeat| now.since(told.moment()) >= repeat);
        let is_due = |id: &Id, alert: &AlertView| match self.told.get(id) {
            Some(told) => told.alert.severity < alert.severity || stale(told),
            None => true,
        };
        let lets =
            |id: &Id, alert: &AlertView| policy.lets(alert) && !self.held_alone.contains_key(id);
        let begun = firing
            .iter()
            .filter(|(id, alert)| policy.wants(alert) && lets(id, alert) && is_due(id, alert));
        let over = self
            .told
            .iter()
            .filter(|(id, told)| !firing.contains_key(*id) && lets(id, &told.alert));
        Due {
            begun: begun.map(|(id, _)| id.clone()).collect(),
            over: over.map(|(id, _)| id.clone()).collect(),
        }
    }

    /// The message under way has arrived but for what is lost: that is told anew after a while, if
    /// it is still true.
    pub(crate) fn done(&mut self, now: Moment, lost: &BTreeSet<Id>) {
        let sent = std::mem::take(&mut self.before);
        // Where something arrives, what is lost keeps nothing else from it.
        if sent.keys().all(|id| lost.contains(id)) {
            self.held = Some(now);
        }
        for (id, before) in sent.into_iter().filter(|(id, _)| lost.contains(id)) {
            self.held_alone.insert(id.clone(), now);
            match before {
                Some(before) => self.told.insert(id, before),
                None => self.told.remove(&id),
            };
        }
    }
}
