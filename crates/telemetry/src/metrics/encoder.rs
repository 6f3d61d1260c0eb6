//! Prometheus text format 0.0.4: families grouped with their HELP and TYPE, values escaped.
//! Refuses to grow without end: samples beyond a cap are left out and counted.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::cell::{BOUNDS, Spread};
use super::names::{Metric, MetricKind};

/// Most samples in one scrape, about 100 MB of text.
const MAX_SAMPLES: usize = 1_000_000;

/// Takes samples in any order and writes them grouped by metric.
pub struct Encoder {
    families: Vec<Family>,
    places: HashMap<&'static str, usize>,
    room: usize,
}

struct Family {
    metric: &'static Metric,
    lines: String,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { families: Vec::new(), places: HashMap::new(), room: MAX_SAMPLES }
    }

    /// A whole number. `labels` are values, in the order of the metric's label names.
    pub fn count(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        self.sample(metric, "", labels, None, |out| {
            out.push_str(itoa::Buffer::new().format(value));
        });
    }

    /// A number with a fraction. `labels` are values, in the order of the metric's label names.
    pub fn number(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.sample(metric, "", labels, None, |out| push_number(out, value));
    }

    /// Buckets, sum and count.
    pub(super) fn histogram(&mut self, metric: &'static Metric, labels: &[&str], spread: &Spread) {
        self.buckets(metric, labels, &BOUNDS, &spread.buckets, spread.nanos);
    }

    /// A histogram: how often in each bucket, whose bounds are in seconds (one more bucket than
    /// bounds), and the time of all.
    pub fn buckets(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        bounds: &[f64],
        counts: &[u64],
        nanos: u64,
    ) {
        let mut below = 0;
        for (bound, in_bucket) in bounds.iter().copied().chain([f64::INFINITY]).zip(counts) {
            below += in_bucket;
            self.sample(metric, "_bucket", labels, Some(bound), |out| {
                out.push_str(itoa::Buffer::new().format(below));
            });
        }
        self.sum_and_count(metric, labels, nanos, below);
    }

    /// Sum and count.
    pub(super) fn sum_and_count(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        nanos: u64,
        count: u64,
    ) {
        self.sample(metric, "_sum", labels, None, |out| push_number(out, nanos as f64 / 1e9));
        self.sample(metric, "_count", labels, None, |out| {
            out.push_str(itoa::Buffer::new().format(count));
        });
    }

    pub(super) fn finish(self) -> String {
        let size = self.families.iter().map(|family| family.lines.len() + 200).sum();
        let mut page = String::with_capacity(size);
        for Family { metric, lines } in &self.families {
            page.push_str("# HELP ");
            page.push_str(metric.name);
            page.push(' ');
            for c in metric.help.chars() {
                match c {
                    '\\' => page.push_str("\\\\"),
                    '\n' => page.push_str("\\n"),
                    c => page.push(c),
                }
            }
            let _ = writeln!(page, "\n# TYPE {} {}", metric.name, metric.kind.word());
            page.push_str(lines);
        }
        page
    }

    fn sample(
        &mut self,
        metric: &'static Metric,
        suffix: &str,
        labels: &[&str],
        bound: Option<f64>,
        value: impl FnOnce(&mut String),
    ) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        debug_assert!(
            suffix.is_empty() == matches!(metric.kind, MetricKind::Counter | MetricKind::Gauge),
            "{}",
            metric.name
        );
        let Some(room) = self.room.checked_sub(1) else { return };
        self.room = room;
        let lines = self.lines(metric);
        lines.push_str(metric.name);
        lines.push_str(suffix);
        let mut open = '{';
        for (name, text) in metric.labels.iter().zip(labels) {
            lines.push(open);
            open = ',';
            lines.push_str(name);
            lines.push_str("=\"");
            push_label(lines, text);
            lines.push('"');
        }
        if let Some(bound) = bound {
            lines.push(open);
            open = ',';
            lines.push_str("le=\"");
            push_number(lines, bound);
            lines.push('"');
        }
        if open == ',' {
            lines.push('}');
        }
        lines.push(' ');
        value(lines);
        lines.push('\n');
    }

    fn lines(&mut self, metric: &'static Metric) -> &mut String {
        let next = self.families.len();
        let place = *self.places.entry(metric.name).or_insert(next);
        if place == next {
            self.families.push(Family { metric, lines: String::new() });
        }
        // The place is always there; an empty family is only how the compiler is told so.
        let last = self.families.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "places come from the length, just above")]
        &mut self.families[place.min(last)].lines
    }
}

fn push_label(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

fn push_number(out: &mut String, number: f64) {
    if number.is_nan() {
        out.push_str("NaN");
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let _ = write!(out, "{number}");
    }
}
