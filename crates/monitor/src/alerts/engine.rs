//! From what is wrong to alerts: pending, firing, over. An alert that comes back within the grace
//! never was over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lockgate_config::model::Severity;

use super::find::{Findings, Found, Id};
use super::view::AlertView;
use crate::moment::Moment;

/// Alerts that are over and still shown.
const RECENT: usize = 100;
/// Most alerts at once: what is beyond is not looked at until others are over.
pub(crate) const MOST_ALERTS: usize = 5_000;

/// All alerts.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    alerts: BTreeMap<Id, Alert>,
    recent: VecDeque<AlertView>,
}

#[derive(Debug)]
struct Alert {
    severity: Severity,
    summary: String,
    since: Moment,
    fired: Option<u64>,
    absent: Option<Moment>,
}

impl Alert {
    fn view(&self, id: &Id, ended: Option<u64>) -> AlertView {
        AlertView {
            rule: id.rule.clone(),
            subject: id.subject.clone(),
            severity: self.severity,
            summary: self.summary.clone(),
            since: self.since.at,
            fired_at: self.fired,
            ended_at: ended,
        }
    }
}

impl Engine {
    /// Takes what is wrong now: whether an alert has begun to fire or is over.
    pub(crate) fn step(&mut self, now: Moment, findings: &Findings, grace: Duration) -> bool {
        let mut changed = false;
        for found in &findings.found {
            changed |= self.take(now, found);
        }
        let present: std::collections::BTreeSet<&Id> =
            findings.found.iter().map(|found| &found.id).collect();
        let mut over = Vec::new();
        self.alerts.retain(|id, alert| {
            if present.contains(id) || findings.is_unsure(id) {
                return true;
            }
            if alert.fired.is_none() {
                return false;
            }
            let absent = *alert.absent.get_or_insert(now);
            let stays = now.since(absent) < grace;
            if !stays {
                over.push(alert.view(id, Some(absent.at)));
            }
            stays
        });
        changed |= !over.is_empty();
        for alert in over {
            tracing::info!(rule = alert.rule, subject = alert.subject, "alert over");
            self.recent.push_front(alert);
            self.recent.truncate(RECENT);
        }
        changed
    }

    fn take(&mut self, now: Moment, found: &Found) -> bool {
        let room = self.alerts.len() < MOST_ALERTS || self.alerts.contains_key(&found.id);
        if !room {
            return false;
        }
        let alert = self.alerts.entry(found.id.clone()).or_insert_with(|| Alert {
            severity: found.severity,
            summary: String::new(),
            since: now,
            fired: None,
            absent: None,
        });
        alert.severity = found.severity;
        found.summary.clone_into(&mut alert.summary);
        alert.absent = None;
        let fires = alert.fired.is_none() && now.since(alert.since) >= found.lasting;
        if fires {
            alert.fired = Some(now.at);
            tracing::warn!(
                rule = found.id.rule,
                subject = found.id.subject,
                "alert: {}",
                found.summary
            );
        }
        fires
    }

    /// Those that fire.
    pub(crate) fn firing(&self) -> BTreeMap<Id, AlertView> {
        let firing = self.alerts.iter().filter(|(_, alert)| alert.fired.is_some());
        firing.map(|(id, alert)| (id.clone(), alert.view(id, None))).collect()
    }

    /// Those that do not fire yet.
    pub(crate) fn pending(&self) -> Vec<AlertView> {
        let pending = self.alerts.iter().filter(|(_, alert)| alert.fired.is_none());
        pending.map(|(id, alert)| alert.view(id, None)).collect()
    }

    /// Those that are over, the newest first.
    pub(crate) fn recent(&self) -> Vec<AlertView> {
        self.recent.iter().cloned().collect()
    }

    /// When an alert was over, if it was.
    pub(crate) fn ended(&self, id: &Id) -> Option<u64> {
        let mut recent = self.recent.iter();
        recent.find(|one| one.rule == id.rule && one.subject == id.subject)?.ended_at
    }

    /// Takes those that fired when the process before this one ended.
    pub(crate) fn restore(&mut self, firing: Vec<AlertView>, recent: Vec<AlertView>) {
        for one in firing.into_iter().take(MOST_ALERTS) {
            let id = Id { rule: one.rule, subject: one.subject };
            let alert = Alert {
                severity: one.severity,
                summary: one.summary,
                // It fires already, so nobody asks how long it has lasted.
                since: Moment { at: one.since, steady: 0 },
                fired: one.fired_at,
                absent: None,
            };
            match self.alerts.get_mut(&id) {
                Some(here) => (here.since, here.fired) = (alert.since, alert.fired),
                None => drop(self.alerts.insert(id, alert)),
            }
        }
        self.recent.extend(recent);
        self.recent.truncate(RECENT);
    }
}
