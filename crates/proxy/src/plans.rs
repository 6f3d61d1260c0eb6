//! What is counted by plan: how many requests its consumers make, and how they end. By plan and
//! never by consumer: there are as many series as the configuration has plans.

use std::collections::HashMap;
use std::sync::Arc;

use lockgate_config::model::Document;
use lockgate_core::{Build, Counter, Identities, Priority, Provide};
use lockgate_telemetry::names::PLAN_REQUESTS;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of each plan, by the class of the status.
pub(crate) struct Plans(HashMap<Box<str>, [Arc<Counter>; CLASSES.len()]>);

impl Plans {
    pub(crate) fn new(document: &Document, provide: &dyn Provide) -> Self {
        let none = Identities::new();
        let build = Build {
            route: "".into(),
            when: "".into(),
            place: "plans".into(),
            name: "plans".into(),
            priority: Priority::Normal,
            target: "".into(),
            identities: &none,
            provide,
        };
        let plans = document.plans.keys().map(|plan| {
            let counters = CLASSES.map(|class| build.counter(&PLAN_REQUESTS, &[plan, class]));
            (plan.as_str().into(), counters)
        });
        Self(plans.collect())
    }

    /// Counts a request of a plan's consumer. A plan that the configuration does not have is not
    /// counted: tokens may name any.
    pub(crate) fn count(&self, plan: &str, status: u16, worker: usize) {
        let Some(counters) = self.0.get(plan) else { return };
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = counters.get(class) {
            counter.add(worker, 1);
        }
    }
}
