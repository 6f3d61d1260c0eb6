//! The metrics to a collector by OTLP, every so often, on the control runtime.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lockgate_config::model::Collector;
use lockgate_core::Outbound;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Metrics;
use crate::otlp::{self, Sender};

/// Sends all metrics every so often, for ever. `ca` is the text of the collector's `ca`.
pub async fn export_metrics(
    metrics: Arc<Metrics>,
    collector: Collector,
    every: Duration,
    ca: Option<Bytes>,
    outbound: Arc<dyn Outbound>,
) {
    let resource = otlp::resource(&collector.resource);
    let sender = Sender::new(outbound, collector, ca);
    let mut tick = interval_at(Instant::now() + every, every);
    // What a collector was away for is not made up for: the next figures say it all.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for (told, points) in metrics.points() {
            let request = otlp::request(&resource, &told);
            sender.deliver(request, points, &metrics.exported).await;
        }
    }
}
