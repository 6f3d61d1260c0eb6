//! What the monitor counts, for the metrics.

use lockgate_telemetry::{Collect, Encoder, names};

use crate::Monitor;
use crate::history::view::KeptWhere;
use crate::tell::message::word;

impl Collect for Monitor {
    fn collect(&self, out: &mut Encoder) {
        let desk = self.desk();
        for ((rule, severity), count) in desk.firing() {
            out.count(&names::ALERTS_FIRING, &[&rule, word(severity)], count);
        }
        for (sink, counts) in desk.counts() {
            for (outcome, count) in [
                ("delivered", counts.delivered),
                ("failed", counts.failed),
                ("given_up", counts.given_up),
            ] {
                out.count(&names::ALERT_DELIVERIES, &[&sink, outcome], count);
            }
        }
        drop(desk);
        out.count(&names::HISTORY_FAILURES, &[], self.store_failures());
        let on_disk = matches!(self.kept_where(), KeptWhere::Disk { .. });
        out.count(&names::HISTORY_ON_DISK, &[], u64::from(on_disk));
        out.count(&names::HISTORY_LEFT_OUT, &[], self.left_out() as u64);
    }
}
