//! Samples as the data points of OTLP (`opentelemetry.proto.metrics.v1`), in messages of a bounded
//! size: a collector refuses what is too large.

use std::collections::HashMap;

use super::exemplar::Example;
use super::names::{Metric, MetricKind};
use crate::otlp::attribute;
use crate::otlp::proto::{bytes, double, fixed64, message, packed64, text, uint};

/// A message that has so much is full.
const FULL: usize = 1024 * 1024;

// The fields of a metric, and of its points.
const METRICS: u32 = 2;
const GAUGE: u32 = 5;
const SUM: u32 = 7;
const HISTOGRAM: u32 = 9;
const SUMMARY: u32 = 11;
const POINTS: u32 = 1;
const START: u32 = 2;
const TIME: u32 = 3;

/// Points by metric.
pub(super) struct Points {
    /// Nanoseconds since 1970 when the counting began, and now.
    since: u64,
    now: u64,
    families: Vec<Family>,
    places: HashMap<&'static str, usize>,
    full: Vec<Message>,
}

struct Family {
    metric: &'static Metric,
    points: Vec<u8>,
    count: u64,
}

/// Metrics as fields of a `ScopeMetrics`, and how many points they have.
type Message = (Vec<u8>, u64);

impl Points {
    pub(super) fn new(since: u64, now: u64) -> Self {
        let (families, places, full) = Default::default();
        Self { since, now, families, places, full }
    }

    pub(super) fn count(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        self.point(metric, labels, 7, |out| fixed64(out, 6, value));
    }

    pub(super) fn number(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.point(metric, labels, 7, |out| double(out, 4, value));
    }

    pub(super) fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        bounds: &[f64],
        counts: &[u64],
        nanos: u64,
        examples: &[Option<Example>],
    ) {
        self.point(metric, labels, 9, |out| {
            fixed64(out, 4, counts.iter().sum());
            double(out, 5, nanos as f64 / 1e9);
            packed64(out, 6, counts.iter().copied());
            packed64(out, 7, bounds.iter().map(|bound| bound.to_bits()));
            for example in examples.iter().flatten() {
                message(out, 8, |out| {
                    fixed64(out, 2, example.unix_nanos);
                    double(out, 3, example.nanos as f64 / 1e9);
                    bytes(out, 4, &example.span.bytes());
                    bytes(out, 5, &example.trace.bytes());
                });
            }
        });
    }

    pub(super) fn summary(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        nanos: u64,
        count: u64,
    ) {
        self.point(metric, labels, 7, |out| {
            fixed64(out, 4, count);
            double(out, 5, nanos as f64 / 1e9);
        });
    }

    /// The messages, none much larger than what is full.
    pub(super) fn finish(mut self) -> Vec<(Vec<u8>, u64)> {
        let mut all = std::mem::take(&mut self.full);
        let mut open = Message::default();
        for family in self.families {
            family.close(&mut open);
            if open.0.len() >= FULL {
                all.push(std::mem::take(&mut open));
            }
        }
        all.extend((open.1 > 0).then_some(open));
        all
    }

    /// Adds a point. `labels_at` is the field of its attributes.
    fn point(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        labels_at: u32,
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        let (since, now) = (self.since, self.now);
        let next = self.families.len();
        let place = *self.places.entry(metric.name).or_insert(next);
        if place == next {
            self.families.push(Family { metric, points: Vec::new(), count: 0 });
        }
        let Some(family) = self.families.get_mut(place) else { return };
        message(&mut family.points, POINTS, |out| {
            for (name, label) in metric.labels.iter().zip(labels) {
                attribute(out, labels_at, name, label);
            }
            fixed64(out, START, since);
            fixed64(out, TIME, now);
            value(out);
        });
        family.count += 1;
        if family.points.len() >= FULL {
            let fresh = Family { metric, points: Vec::new(), count: 0 };
            let mut full = Message::default();
            std::mem::replace(family, fresh).close(&mut full);
            self.full.push(full);
        }
    }
}

impl Family {
    fn close(self, out: &mut Message) {
        if self.count == 0 {
            return;
        }
        let Self { metric, points, count } = self;
        message(&mut out.0, METRICS, |out| {
            text(out, 1, metric.name);
            text(out, 2, metric.help);
            if metric.name.ends_with("_seconds") || metric.name.ends_with("_seconds_total") {
                text(out, 3, "s");
            } else if metric.name.ends_with("_bytes") || metric.name.ends_with("_bytes_total") {
                text(out, 3, "By");
            }
            let kind = match metric.kind {
                MetricKind::Gauge => GAUGE,
                MetricKind::Counter => SUM,
                MetricKind::Histogram => HISTOGRAM,
                MetricKind::Summary => SUMMARY,
            };
            message(out, kind, |out| {
                out.extend_from_slice(&points);
                if matches!(metric.kind, MetricKind::Counter | MetricKind::Histogram) {
                    // Counted since the start.
                    uint(out, 2, 2);
                }
                if metric.kind == MetricKind::Counter {
                    uint(out, 3, 1);
                }
            });
        });
        out.1 += count;
    }
}
