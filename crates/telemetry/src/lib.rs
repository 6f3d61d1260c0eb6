//! What the gateway tells of itself: metrics, the access log, and its own log.
//!
//! The request path only adds to counters that its worker alone writes, and appends lines to a
//! buffer that its worker alone owns. Reading, formatting for a scrape and writing to files
//! happen elsewhere. Nothing here may wait for a lock, a file or a reader on a worker.

mod failures;
mod log;
mod metrics;
mod otlp;
mod own_log;
#[cfg(test)]
mod reference;
mod traces;

pub use failures::{Failure, FailureKind, Failures, WorkerFailures};
pub use log::{
    AccessLog, Entry, FIELDS, Field, LogCounts, WorkerLog, access_log_reference, redacted_url,
    rfc3339,
};
pub use metrics::{
    BUCKETS, Collect, Decided, Encoder, Exemplar, Form, InFlight, Latency, METRICS, Metric,
    MetricKind, Metrics, PolicySeries, PolicyTotals, RouteSeries, RouteTotals, Sample, Spread,
    Took, Totals, UpstreamTotals, WorkerSeries, WorkerTotals, export_metrics, metrics_reference,
    names,
};
pub use own_log::{OwnLogError, init_tracing};
pub use traces::{Told, TraceCounts, Traces, WorkerTraces};
