//! What the gateway tells of itself: metrics, the access log, and its own log.
//!
//! The request path only adds to counters that its worker alone writes, and appends lines to a
//! buffer that its worker alone owns. Reading, formatting for a scrape and writing to files
//! happen elsewhere. Nothing here may wait for a lock, a file or a reader on a worker.

mod log;
mod metrics;
mod own_log;
#[cfg(test)]
mod reference;

pub use log::{
    AccessLog, Entry, FIELDS, Field, LogCounts, WorkerLog, access_log_reference, rfc3339,
};
pub use metrics::{
    Collect, Decided, Encoder, InFlight, Latency, METRICS, Metric, MetricKind, Metrics,
    PolicySeries, RouteSeries, RouteTotals, Sample, Took, Totals, UpstreamTotals, WorkerSeries,
    WorkerTotals, metrics_reference, names,
};
pub use own_log::{OwnLogError, init_tracing};
