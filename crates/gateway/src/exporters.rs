//! What goes to collectors: the traces and the metrics of the configuration in force. A reload
//! keeps an exporter whose settings are the same, with all that it has yet to send.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use lockgate_config::model::{self, Telemetry};
use lockgate_core::Outbound;
use lockgate_telemetry::{Metrics, TraceCounts, Traces, export_metrics};
use tokio::task::AbortHandle;

/// The exporters in force.
pub(crate) struct Exporters {
    outbound: Arc<dyn Outbound>,
    metrics: Arc<Metrics>,
    counts: Arc<TraceCounts>,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    traces: Option<Tracing>,
    otlp: Option<Otlp>,
}

/// Traces, and what they were made of.
#[derive(Clone)]
struct Tracing {
    settings: model::Traces,
    ca: Option<Bytes>,
    traces: Arc<Traces>,
}

/// The metrics' exporter, and what it was made of; it ends when dropped.
struct Otlp {
    settings: model::OtlpMetrics,
    ca: Option<Bytes>,
    task: AbortHandle,
}

impl Drop for Otlp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The exporters of a configuration that is not in force yet.
pub(crate) struct Prepared {
    traces: Option<Tracing>,
    otlp: Option<(model::OtlpMetrics, Option<Bytes>)>,
}

impl Prepared {
    /// The traces, if they are on.
    pub(crate) fn traces(&self) -> Option<Arc<Traces>> {
        self.traces.as_ref().map(|tracing| Arc::clone(&tracing.traces))
    }
}

impl Exporters {
    /// None yet.
    pub(crate) fn new(outbound: Arc<dyn Outbound>, metrics: &Arc<Metrics>) -> Self {
        let counts = Arc::<TraceCounts>::default();
        metrics.register(counts.clone());
        Self { outbound, metrics: Arc::clone(metrics), counts, now: Mutex::default() }
    }

    /// Those of a configuration. Nothing that runs has noticed yet. Must be called on the control
    /// runtime.
    ///
    /// # Errors
    /// Authorities that cannot be read.
    pub(crate) fn prepare(&self, telemetry: &Telemetry) -> anyhow::Result<Prepared> {
        let traces =
            telemetry.traces.as_ref().map(|settings| self.tracing(settings)).transpose()?;
        let otlp = match &telemetry.otlp {
            Some(settings) => Some((settings.clone(), read(settings.ca.as_deref())?)),
            None => None,
        };
        Ok(Prepared { traces, otlp })
    }

    /// Puts them in force.
    pub(crate) fn accept(&self, prepared: Prepared) {
        let Prepared { traces, otlp } = prepared;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.traces = traces;
        let same = match (&now.otlp, &otlp) {
            (Some(old), Some((settings, ca))) => old.settings == *settings && old.ca == *ca,
            (old, new) => old.is_none() && new.is_none(),
        };
        if !same {
            now.otlp = otlp.and_then(|(settings, ca)| self.exporting(settings, ca));
        }
    }

    fn tracing(&self, settings: &model::Traces) -> anyhow::Result<Tracing> {
        let ca = read(settings.ca.as_deref())?;
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = &now.traces
            && old.settings == *settings
            && old.ca == ca
        {
            return Ok(old.clone());
        }
        let collector = settings
            .collector()
            .map_err(|(key, what)| anyhow::anyhow!("`telemetry.traces.{key}`: {what}"))?;
        let (outbound, counts) = (Arc::clone(&self.outbound), Arc::clone(&self.counts));
        let (traces, work) = Traces::new(settings, collector, ca.clone(), outbound, counts);
        tokio::spawn(work);
        Ok(Tracing { settings: settings.clone(), ca, traces })
    }

    fn exporting(&self, settings: model::OtlpMetrics, ca: Option<Bytes>) -> Option<Otlp> {
        // It has been checked.
        let collector = settings.collector().ok()?;
        let (outbound, metrics) = (Arc::clone(&self.outbound), Arc::clone(&self.metrics));
        let work = export_metrics(metrics, collector, settings.interval.0, ca.clone(), outbound);
        let task = tokio::spawn(work).abort_handle();
        Some(Otlp { settings, ca, task })
    }
}

fn read(ca: Option<&Path>) -> anyhow::Result<Option<Bytes>> {
    ca.map(|path| {
        let text = std::fs::read(path);
        text.map(Bytes::from).with_context(|| format!("reading {}", path.display()))
    })
    .transpose()
}
