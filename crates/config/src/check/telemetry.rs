//! Telemetry: collectors that can be reached as they are described.

use std::path::Path;

use lockgate_core::Time;

use super::Findings;
use crate::model::{Document, WrongCollector};

/// More requests in a second than this are told by no limit at all.
const MOST: u32 = 1_000_000;

pub(super) fn check(document: &Document, findings: &mut Findings<'_>) {
    let telemetry = &document.telemetry;
    if let Some(traces) = &telemetry.traces {
        let wrong = traces.collector().err();
        collector("traces", wrong, traces.ca.as_deref(), findings);
        let sample = &traces.sample;
        if sample.per_second.is_some_and(|most| !(1..=MOST).contains(&most)) {
            let message = "expected from 1 to 1000000; `off` is no limit";
            findings.error(&["telemetry", "traces", "sample", "per_second"], message);
        }
        if sample.slow.is_some_and(|slow| slow == Time::default()) {
            let message = "every request takes longer than that: `ratio: 100%` tells all";
            findings.error(&["telemetry", "traces", "sample", "slow"], message);
        }
    }
    if let Some(metrics) = &telemetry.otlp {
        collector("otlp", metrics.collector().err(), metrics.ca.as_deref(), findings);
    }
}

fn collector(
    signal: &str,
    wrong: Option<WrongCollector>,
    ca: Option<&Path>,
    findings: &mut Findings<'_>,
) {
    if let Some((key, message)) = wrong {
        // A secret may stand in the line.
        findings.error(&["telemetry", signal, key], message).hidden = key == "headers";
    }
    findings.file(&["telemetry", signal, "ca"], ca);
}
