//! `mirror`: a copy of the request goes somewhere else too, and its answer is dropped. Never delays
//! the request itself: what has no room is left out, and counted.

mod queue;
mod settings;
mod tee;

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, Request, Uri, request::Parts};
use lockgate_core::{
    Body, Build, Call, ConfigError, Exchange, Fault, Metric, MetricKind, Policy, PolicyPlugin,
    Stage, Step, Task, Verdict, decode,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

use crate::service::Service;
use queue::{Counts, Queue};
use settings::Config;
use tee::Tee;

/// Says to whoever gets a copy that it is one.
const MIRRORED: HeaderName = HeaderName::from_static("lockgate-mirror");
/// Most bytes of an answer that is read to keep its connection.
const MAX_ANSWER: usize = 64 * 1024;

static REQUESTS: Metric = Metric {
    name: "lockgate_mirror_requests_total",
    kind: MetricKind::Counter,
    labels: &["route", "result"],
    help: "Requests chosen for mirroring, by what became of the copy: sent, failed, no_room, too_large, broke_off",
};

/// The entry in the list of plugins.
pub(crate) struct Mirror;

impl PolicyPlugin for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Transform
    }

    fn metrics(&self) -> &'static [&'static Metric] {
        const METRICS: &[&Metric] = &[&REQUESTS];
        METRICS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: Config = decode(config)?;
        let to = match config.to.contains("://") {
            true => Service::at_url(&config.to, config.ca.as_deref(), build),
            false => Service::at_upstream(&config.to, "/", build),
        };
        let to = to.map_err(|mut error| {
            // Either way it stands under `to`.
            if error.path.first().is_some_and(|key| key == "url" || key == "upstream") {
                error.path = vec!["to".to_owned()];
            }
            error
        })?;
        if to.uri.query().is_some() {
            return Err(ConfigError::new("the query is the request's own").at("to"));
        }
        if !(1..=256).contains(&config.max_in_flight) {
            let message = "between 1 and 256 copies can be under way";
            return Err(ConfigError::new(message).at("max_in_flight"));
        }
        let counts = Arc::new(Counts::new(build, &REQUESTS));
        let queue = Arc::new(Queue::new(build.provide.outbound(), Arc::clone(&counts)));
        let tasks = (0..config.max_in_flight).map(|_| {
            let queue = Arc::clone(&queue);
            build.provide.spawn(Box::pin(async move { queue.work().await }))
        });
        Ok(Box::new(Copying { _tasks: tasks.collect(), queue, counts, to, config }))
    }
}

struct Copying {
    config: Config,
    to: Service,
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    _tasks: Box<[Task]>,
}

impl Copying {
    /// The copy, but for its body.
    fn head(&self, exchange: &Exchange) -> Option<Parts> {
        let mut request = Request::new(());
        *request.method_mut() = exchange.head.method.clone();
        *request.headers_mut() = exchange.head.headers.clone();
        request.headers_mut().insert(MIRRORED, HeaderValue::from_static("true"));
        *request.uri_mut() = target(&self.to.uri, &exchange.head.uri)?;
        Some(request.into_parts().0)
    }

    fn call(&self, head: Parts, body: Bytes) -> Call {
        let request = Request::from_parts(head, body);
        let timeout = self.config.timeout.0;
        Call { request, to: self.to.to.clone(), timeout, max_body: MAX_ANSWER }
    }
}

impl Policy for Copying {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        let pass = Step::Now(Ok(Verdict::Pass));
        // A tunnel has no copy.
        if exchange.upgrade || fastrand::f64() >= self.config.percent.0 {
            return pass;
        }
        let worker = exchange.connection.worker;
        let max = usize::try_from(self.config.max_body.0).unwrap_or(usize::MAX);
        if self.config.body && exchange.body.len().is_some_and(|length| length > max as u64) {
            self.counts.too_large.add(worker, 1);
            return pass;
        }
        let Some(head) = self.head(exchange) else { return pass };
        let body = match &exchange.body {
            Body::Stream(_) if self.config.body => None,
            Body::Full(bytes) if self.config.body => Some(bytes.clone()),
            _ => Some(Bytes::new()),
        };
        match body {
            Some(body) => self.queue.put(self.call(head, body), worker),
            None => {
                let body = std::mem::take(&mut exchange.body);
                let (queue, counts) = (Arc::clone(&self.queue), Arc::clone(&self.counts));
                let call = self.call(head, Bytes::new());
                exchange.body = Body::stream(Tee::new(body, max, call, queue, counts, worker));
            }
        }
        pass
    }

    fn describe(&self) -> String {
        let body = if self.config.body { "" } else { ", without bodies" };
        format!("{} of requests to {}{body}", self.config.percent, self.to.name())
    }
}

/// The request's path and query, below the path of `to`.
fn target(to: &Uri, asked: &Uri) -> Option<Uri> {
    let prefix = to.path().trim_end_matches('/');
    let asked = asked.path_and_query().map_or("/", |target| target.as_str());
    let mut parts = to.clone().into_parts();
    parts.path_and_query = Some(format!("{prefix}{asked}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_the_requests_below_the_prefix() {
        let target = |to: &str, asked: &str| {
            target(&to.parse().unwrap(), &asked.parse().unwrap()).map(|uri| uri.to_string())
        };
        for (to, asked, expected) in [
            ("http://a.example", "/x?y=1", "http://a.example/x?y=1"),
            ("https://a.example:1/p/", "/x", "https://a.example:1/p/x"),
            ("/", "/x?y", "/x?y"),
        ] {
            assert_eq!(target(to, asked).as_deref(), Some(expected));
        }
    }
}
