//! What differs between two documents, by section and name, and what of it a reload cannot do.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;

use crate::model::{Document, Routes};

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The section: `routes`, `upstreams` …
    pub section: &'static str,
    /// The name in the section; empty where a section is one thing.
    pub name: String,
    pub kind: ChangeKind,
    /// Why it takes a restart to come into force; `None`: a reload does it.
    pub needs_restart: Option<&'static str>,
}

impl Change {
    fn of(section: &'static str, name: &str, kind: ChangeKind) -> Self {
        Self { section, name: name.to_owned(), kind, needs_restart: None }
    }
}

/// How a thing differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
        };
        write!(f, "{mark} {}", self.section)?;
        if !self.name.is_empty() {
            write!(f, ".{}", self.name)?;
        }
        match self.needs_restart {
            Some(why) => write!(f, ": needs a restart ({why})"),
            None => Ok(()),
        }
    }
}

/// All that differs, in the order of the sections.
pub fn diff(old: &Document, new: &Document) -> Vec<Change> {
    let mut changes = Vec::new();
    named("listeners", &old.listeners, &new.listeners, &mut changes);
    if old.admin.address != new.admin.address {
        changes.push(Change {
            section: "admin",
            name: "address".into(),
            kind: ChangeKind::Changed,
            needs_restart: Some("the admin listener is bound once, when the process starts"),
        });
    }
    if old.admin.state_dir != new.admin.state_dir {
        changes.push(Change {
            section: "admin",
            name: "state_dir".into(),
            kind: ChangeKind::Changed,
            needs_restart: Some("what is kept is read once, when the process starts"),
        });
    }
    let other_admin = old.admin.token != new.admin.token
        || old.admin.public != new.admin.public
        || old.admin.also_on != new.admin.also_on
        || old.admin.auth != new.admin.auth;
    whole("admin", other_admin, &mut changes);
    if old.workers != new.workers {
        changes.push(Change {
            section: "workers",
            name: String::new(),
            kind: ChangeKind::Changed,
            needs_restart: Some("worker threads are started once, with the process"),
        });
    }
    whole("http", old.http != new.http, &mut changes);
    whole("trusted_proxies", old.trusted_proxies != new.trusted_proxies, &mut changes);
    named("identity", &old.identity, &new.identity, &mut changes);
    named("consumers", &old.consumers, &new.consumers, &mut changes);
    named("stores", &old.stores, &new.stores, &mut changes);
    whole("replicas", old.replicas != new.replicas, &mut changes);
    named("plans", &old.plans, &new.plans, &mut changes);
    named("upstreams", &old.upstreams, &new.upstreams, &mut changes);
    routes(&old.routes, &new.routes, &mut changes);
    whole("telemetry", old.telemetry != new.telemetry, &mut changes);
    whole("alerts", old.alerts != new.alerts, &mut changes);
    changes
}

fn whole(section: &'static str, differs: bool, changes: &mut Vec<Change>) {
    if differs {
        changes.push(Change::of(section, "", ChangeKind::Changed));
    }
}

fn named<T: PartialEq>(
    section: &'static str,
    old: &IndexMap<String, T>,
    new: &IndexMap<String, T>,
    changes: &mut Vec<Change>,
) {
    let mut add = |name: &String, kind| changes.push(Change::of(section, name, kind));
    for (name, value) in old {
        match new.get(name) {
            None => add(name, ChangeKind::Removed),
            Some(other) if other != value => add(name, ChangeKind::Changed),
            Some(_) => {}
        }
    }
    for name in new.keys().filter(|name| !old.contains_key(*name)) {
        add(name, ChangeKind::Added);
    }
}

/// [`named`] of thousands, most of which are the same objects in the same places.
fn routes(old: &Routes, new: &Routes, changes: &mut Vec<Change>) {
    let mut add = |name: &str, kind| changes.push(Change::of("routes", name, kind));
    for (first, piece) in old.pieces_beside(Some(new)) {
        for (place, (pattern, set)) in piece.iter().enumerate() {
            match new.find(first + place, pattern) {
                None => add(pattern, ChangeKind::Removed),
                Some((.., other)) if !Arc::ptr_eq(other, set) && other != set => {
                    add(pattern, ChangeKind::Changed);
                }
                Some(_) => {}
            }
        }
    }
    for (first, piece) in new.pieces_beside(Some(old)) {
        for (place, pattern) in piece.iter().map(|(pattern, _)| pattern).enumerate() {
            if old.find(first + place, pattern).is_none() {
                add(pattern, ChangeKind::Added);
            }
        }
    }
}
