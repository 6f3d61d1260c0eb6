//! Prometheus' text format 0.0.4, OpenMetrics 1.0, or the data points of OTLP. In text, families
//! are grouped with their HELP and TYPE, and values escaped.
//! Refuses to grow without end: samples beyond a cap are left out and counted.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::cell::{BOUNDS, Spread};
use super::exemplar::{Example, Examples};
use super::names::{Metric, MetricKind};
use super::points::Points;

/// Most samples in one scrape, about 100 MB of text.
const MAX_SAMPLES: usize = 1_000_000;

/// In which form samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl Form {
    /// The form that a scraper asks for by its `Accept`: OpenMetrics when it wants that at least
    /// as much as plain text.
    pub fn asked(accept: &str) -> Self {
        let wants = |kind: &str| {
            let ranges = accept.split(',').map(|range| range.split(';'));
            let weights = ranges.filter_map(|mut parts| {
                (parts.next()?.trim().eq_ignore_ascii_case(kind)).then(|| {
                    let q = parts.find_map(|part| part.trim().strip_prefix("q="));
                    q.map_or(1.0, |q| q.trim().parse().unwrap_or(0.0))
                })
            });
            weights.fold(0.0, f64::max)
        };
        let open = wants("application/openmetrics-text");
        if open > 0.0 && open >= wants("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Takes samples in any order and writes them grouped by metric.
pub struct Encoder {
    out: Out,
    room: usize,
}

enum Out {
    Page(Page),
    Otlp(Points),
}

/// A page of text.
struct Page {
    form: Form,
    families: Vec<Family>,
    places: HashMap<&'static str, usize>,
}

struct Family {
    metric: &'static Metric,
    lines: String,
}

impl Encoder {
    pub(super) fn page(form: Form) -> Self {
        let (families, places) = Default::default();
        Self { out: Out::Page(Page { form, families, places }), room: MAX_SAMPLES }
    }

    pub(super) fn otlp(points: Points) -> Self {
        Self { out: Out::Otlp(points), room: MAX_SAMPLES }
    }

    /// A whole number. `labels` are values, in the order of the metric's label names.
    pub fn count(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        if !self.has_room(1) {
            return;
        }
        match &mut self.out {
            Out::Page(page) => page.sample(metric, "", labels, None, |out| push_count(out, value)),
            Out::Otlp(points) => points.count(metric, labels, value),
        }
    }

    /// A number with a fraction. `labels` are values, in the order of the metric's label names.
    pub fn number(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        if !self.has_room(1) {
            return;
        }
        match &mut self.out {
            Out::Page(page) => {
                page.sample(metric, "", labels, None, |out| push_number(out, value));
            }
            Out::Otlp(points) => points.number(metric, labels, value),
        }
    }

    /// Buckets, sum and count, and an example of some buckets.
    pub(super) fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        spread: &Spread,
        examples: &Examples,
    ) {
        self.spread(metric, labels, &BOUNDS, &spread.buckets, spread.nanos, examples);
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
        self.spread(metric, labels, bounds, counts, nanos, &[]);
    }

    fn spread(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        bounds: &[f64],
        counts: &[u64],
        nanos: u64,
        examples: &[Option<Example>],
    ) {
        if !self.has_room(counts.len() + 2) {
            return;
        }
        let page = match &mut self.out {
            Out::Page(page) => page,
            Out::Otlp(points) => {
                return points.histogram(metric, labels, bounds, counts, nanos, examples);
            }
        };
        let mut below = 0;
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        for (place, (bound, in_bucket)) in bounds.zip(counts).enumerate() {
            below += in_bucket;
            let example = match page.form {
                Form::OpenMetrics => examples.get(place).copied().flatten(),
                Form::Text => None,
            };
            page.sample(metric, "_bucket", labels, Some(bound), |out| {
                push_count(out, below);
                example.iter().for_each(|example| push_example(out, example));
            });
        }
        page.sum_and_count(metric, labels, nanos, below);
    }

    /// Sum and count.
    pub(super) fn sum_and_count(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        nanos: u64,
        count: u64,
    ) {
        if !self.has_room(2) {
            return;
        }
        match &mut self.out {
            Out::Page(page) => page.sum_and_count(metric, labels, nanos, count),
            Out::Otlp(points) => points.summary(metric, labels, nanos, count),
        }
    }

    /// The page; empty when none was written.
    pub(super) fn finish(self) -> String {
        match self.out {
            Out::Page(page) => page.finish(),
            Out::Otlp(_) => String::new(),
        }
    }

    /// The messages, each with the number of its points; none when a page was written.
    pub(super) fn finish_otlp(self) -> Vec<(Vec<u8>, u64)> {
        match self.out {
            Out::Page(_) => Vec::new(),
            Out::Otlp(points) => points.finish(),
        }
    }

    fn has_room(&mut self, samples: usize) -> bool {
        let room = self.room.checked_sub(samples);
        self.room = room.unwrap_or(0);
        room.is_some()
    }
}

impl Page {
    fn sum_and_count(&mut self, metric: &'static Metric, labels: &[&str], nanos: u64, count: u64) {
        self.sample(metric, "_sum", labels, None, |out| push_number(out, nanos as f64 / 1e9));
        self.sample(metric, "_count", labels, None, |out| push_count(out, count));
    }

    fn finish(self) -> String {
        let size = self.families.iter().map(|family| family.lines.len() + 200).sum();
        let mut page = String::with_capacity(size);
        for Family { metric, lines } in &self.families {
            let (name, kind) = self.named(metric);
            page.push_str("# HELP ");
            page.push_str(name);
            page.push(' ');
            for c in metric.help.chars() {
                match c {
                    '\\' => page.push_str("\\\\"),
                    '\n' => page.push_str("\\n"),
                    '"' if self.form == Form::OpenMetrics => page.push_str("\\\""),
                    c => page.push(c),
                }
            }
            let _ = writeln!(page, "\n# TYPE {name} {kind}");
            page.push_str(lines);
        }
        if self.form == Form::OpenMetrics {
            page.push_str("# EOF\n");
        }
        page
    }

    /// A family's name and kind. OpenMetrics names that of a counter without what its samples end
    /// in, unless another one has that name: then what it counts is left open.
    fn named(&self, metric: &'static Metric) -> (&'static str, &'static str) {
        let stripped = metric.name.strip_suffix("_total");
        if self.form == Form::Text || metric.kind != MetricKind::Counter {
            return (metric.name, metric.kind.word());
        }
        match stripped.filter(|name| !self.places.contains_key(name)) {
            Some(name) => (name, metric.kind.word()),
            None => (metric.name, "unknown"),
        }
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
        let form = self.form;
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
            if form == Form::OpenMetrics && bound.fract() == 0.0 {
                lines.push_str(".0");
            }
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

/// ` # {trace_id="..",span_id=".."} 0.0031 1763668828.123`
fn push_example(out: &mut String, example: &Example) {
    let Example { trace, span, nanos, unix_nanos } = example;
    let seconds = *nanos as f64 / 1e9;
    let (second, millis) = (unix_nanos / 1_000_000_000, unix_nanos / 1_000_000 % 1_000);
    let _ = write!(
        out,
        " # {{trace_id=\"{trace:?}\",span_id=\"{span:?}\"}} {seconds} {second}.{millis:03}"
    );
}

fn push_count(out: &mut String, value: u64) {
    out.push_str(itoa::Buffer::new().format(value));
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
