//! The dashboards for Grafana: small tables of panels, each with the queries that it draws, and one
//! place that makes of them the JSON that Grafana reads. A query says `@` where the choice of job
//! and gateways stands.

mod overview;
mod paint;
mod policies;
mod routes;
mod stores;
mod upstreams;

use std::path::{Path, PathBuf};

/// Where they are committed.
const FOLDER: &str = "deploy/grafana/dashboards";

/// One page of Grafana.
struct Dashboard {
    uid: &'static str,
    title: &'static str,
    about: &'static str,
    /// What may be chosen beside the source, the job and the gateways.
    choices: &'static [Choice],
    rows: &'static [Row],
}

/// A variable: values of one label.
struct Choice {
    label: &'static str,
    title: &'static str,
    /// The metric whose label it is.
    of: &'static str,
}

struct Row {
    title: &'static str,
    panels: &'static [Panel],
}

struct Panel {
    title: &'static str,
    about: &'static str,
    shape: Shape,
    /// Grafana's name of it.
    unit: &'static str,
    /// Of 24.
    width: u32,
    /// Each with what its lines are called.
    queries: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy)]
enum Shape {
    Line,
    /// Lines one above the other.
    Stack,
    /// One number, good at any value.
    Number,
    /// One number that should be zero.
    Zero,
    /// One number that should be one.
    One,
    /// Buckets of a histogram by time.
    Heat,
    /// The newest values, in rows.
    Table,
}

const ALL: [&Dashboard; 5] = [
    &overview::DASHBOARD,
    &routes::DASHBOARD,
    &upstreams::DASHBOARD,
    &policies::DASHBOARD,
    &stores::DASHBOARD,
];

/// What each file holds, by its path from the root.
pub(super) fn files() -> impl Iterator<Item = (PathBuf, String)> {
    ALL.iter().map(|dashboard| {
        let name = format!("{}.json", dashboard.uid);
        (Path::new(FOLDER).join(name), paint::page(dashboard))
    })
}
