//! A real Prometheus that scrapes a gateway under load, records, and alerts: with the rules that
//! are deployed, but for the time that an alert waits before it fires.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lockgate_testkit::{Answer, Dir, Echo, Load, Port, Wire, needs, request, until};
use serde_json::Value;

use crate::support::{pool, start};

/// A running Prometheus; dropping it kills it.
struct Prometheus {
    child: Child,
    port: Port,
    dir: Dir,
}

impl Prometheus {
    /// Starts one that scrapes this address, five times a second.
    async fn start(scraped: SocketAddr) -> Self {
        needs("prometheus");
        let (port, dir) = (Port::reserve(), Dir::new());
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus");
        let config = std::fs::read_to_string(deployed.join("prometheus.yml")).unwrap();
        let config = config
            .replace("127.0.0.1:9901", &scraped.to_string())
            .replace("_interval: 15s", "_interval: 200ms")
            .replace("rules/*.yml", "./*.rules.yml");
        dir.write("prometheus.yml", config);
        for name in ["alerts", "recording"] {
            let rules = deployed.join(format!("rules/{name}.yml"));
            let rules = std::fs::read_to_string(rules).unwrap();
            let soon = rules.lines().filter(|line| !line.starts_with("        for: "));
            dir.write(&format!("{name}.rules.yml"), soon.collect::<Vec<_>>().join("\n"));
        }
        let said = std::fs::File::create(dir.path().join("said")).unwrap();
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={}", port.address()))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        let mut prometheus = Self { child, port, dir };
        until("Prometheus to be ready", async || {
            let runs = matches!(prometheus.child.try_wait(), Ok(None));
            assert!(runs, "Prometheus ended: {}", prometheus.dir.read("said"));
            prometheus.ask("/-/ready").await.is_some_and(|answer| answer.status == 200)
        })
        .await;
        prometheus
    }

    async fn ask(&self, path: &str) -> Option<Answer> {
        let mut wire = Wire::try_connect(self.port.address()).await.ok()?;
        wire.send(request("GET", path, &[], "")).await;
        wire.answer_to("GET").await.ok()
    }

    /// What a query's series are now: their labels and values.
    async fn series(&self, query: &str) -> Vec<(Value, f64)> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.ask(&format!("/api/v1/query?query={encoded}")).await.unwrap();
        let told = answer.json();
        assert_eq!(told["status"], "success", "{query}: {told}");
        let result = told["data"]["result"].as_array().unwrap();
        let read = |one: &Value| {
            let value = one["value"][1].as_str().unwrap().parse().unwrap();
            (one["metric"].clone(), value)
        };
        result.iter().map(read).collect()
    }

    /// The only series of a query, or nothing.
    async fn value(&self, query: &str) -> Option<f64> {
        match &*self.series(query).await {
            [] => None,
            [(_, value)] => Some(*value),
            more => panic!("{query}: {more:?}"),
        }
    }

    /// Whether an alert fires, for these labels.
    async fn fires(&self, alert: &str, label: &str, value: &str) -> bool {
        let query = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
        self.series(&query).await.iter().any(|(labels, _)| labels[label] == value)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what Prometheus said\n{}---", self.dir.read("said"));
        }
    }
}

#[tokio::test]
async fn a_real_prometheus_scrapes_records_and_alerts() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let settings = "health: { interval: 100ms, unhealthy_after: 1 }\noutlier: off";
    let config = pool(&[a.address(), b.address()], settings) + "  /ill/*: { to: pool }\n";
    let mut gateway = start(&config).await;
    let scraped = gateway.at("ADMIN");
    let prometheus = Prometheus::start(scraped).await;
    let load = Load::start(gateway.web(), 4, &request("GET", "/x", &[], ""));

    until("a scrape", async || prometheus.value("up{job=\"lockgate\"}").await == Some(1.0)).await;
    let instance = scraped.to_string();
    let info = prometheus.series("lockgate_build_info").await;
    assert_eq!(info.len(), 1, "{info:?}");
    assert_eq!(info[0].0["instance"], *instance);
    assert_eq!(info[0].0["version"], env!("CARGO_PKG_VERSION"));
    let rate = "sum by (route) (rate(lockgate_requests_total{status=\"200\"}[30s]))";
    until("a rate", async || prometheus.value(rate).await.is_some_and(|rate| rate > 1.0)).await;
    let recorded = "job_route:lockgate_requests:rate5m{route=\"/*\"}";
    until("what is recorded", async || {
        prometheus.value(recorded).await.is_some_and(|rate| rate > 0.0)
    })
    .await;
    let p99 = "job_route:lockgate_request_seconds:p99_5m{route=\"/*\"}";
    until("a p99", async || prometheus.value(p99).await.is_some_and(|p99| p99 > 0.0)).await;
    // No alert of a gateway that serves. One of a gateway that was not known yet has passed.
    let firing = "count(ALERTS{alertstate=\"firing\"}) or vector(0)";
    until("no alert", async || prometheus.value(firing).await == Some(0.0)).await;
    assert_eq!(prometheus.value("min(lockgate_endpoint_up)").await, Some(1.0));

    let tally = load.stop().await;
    tally.flawless(10);
    until("every answer to be counted", async || {
        let counted = prometheus.value("sum(lockgate_requests_total)").await;
        counted == Some(tally.answers() as f64)
    })
    .await;

    drop(a);
    let out = "count(lockgate_endpoint_up == 0)";
    until("one to be out", async || prometheus.value(out).await == Some(1.0)).await;
    assert!(!prometheus.fires("LockgateNoHealthyEndpoint", "upstream", "pool").await);
    drop(b);
    until("the alert of an upstream without an endpoint", async || {
        prometheus.fires("LockgateNoHealthyEndpoint", "upstream", "pool").await
    })
    .await;
    // A route of its own, of which all requests fail: the other has served many by now.
    until("the alert of a route that fails", async || {
        assert_eq!(gateway.get("/ill/x").await.status, 503);
        prometheus.fires("LockgateRouteFails", "route", "/ill/*").await
    })
    .await;

    gateway.rewrite("routes: nonsense\n");
    until("the alert of a refused configuration", async || {
        prometheus.fires("LockgateReloadRefused", "instance", &instance).await
    })
    .await;
    gateway.kill();
    until("the alert of a gateway that is gone", async || {
        prometheus.fires("LockgateDown", "instance", &instance).await
    })
    .await;
}
