//! A collector of OTLP that decodes by OpenTelemetry's own definitions, as a process, for the
//! tests of what the gateway tells one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lockgate_testkit::{Leaf, Port, Wire, may_be_skipped, request, until};
use serde_json::Value;

/// Where `cargo xtask test` has installed what the collector needs, when there is Python.
fn installed() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/otlp");
    let python = home.join("bin/python");
    let check = "import grpc, opentelemetry.proto.trace.v1.trace_pb2, prometheus_client";
    let has_all = Command::new(&python).args(["-c", check]).stderr(Stdio::null()).status();
    if has_all.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    let missing = "the tests against a real OTLP collector need Python and the packages of \
                   tests/otlp/requirements.txt in target/otlp: `cargo xtask test` installs them";
    may_be_skipped("LOCKGATE_SKIP_OTLP", missing);
    None
}

/// The collector; it ends when dropped.
pub(crate) struct Collector {
    child: Child,
    grpc: Port,
    http: Port,
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Collector {
    /// Starts one; `None` where it is not installed and need not be.
    pub(crate) async fn start() -> Option<Self> {
        Self::run(&[]).await
    }

    /// Starts one that speaks TLS by gRPC.
    pub(crate) async fn secure(dir: &Path, leaf: &Leaf) -> Option<Self> {
        let (cert, key) = (dir.join("collector.pem"), dir.join("collector.key"));
        std::fs::write(&cert, &leaf.cert).unwrap();
        std::fs::write(&key, &leaf.key).unwrap();
        Self::run(&[cert, key]).await
    }

    async fn run(more: &[PathBuf]) -> Option<Self> {
        let python = installed()?;
        let (grpc, http) = (Port::reserve(), Port::reserve());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp/receiver.py");
        let child = Command::new(python)
            .arg(script)
            .args([&grpc, &http].map(|port| port.address().port().to_string()))
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut collector = Self { child, grpc, http };
        until("the collector listens", async || {
            let ended = collector.child.try_wait().unwrap();
            assert!(ended.is_none(), "the collector ended: {ended:?}");
            // It listens by gRPC before.
            Wire::try_connect(collector.http.address()).await.is_ok()
        })
        .await;
        Some(collector)
    }

    /// Its URL by gRPC.
    pub(crate) fn grpc(&self) -> String {
        format!("http://{}", self.grpc.address())
    }

    /// Its port by gRPC.
    pub(crate) fn grpc_port(&self) -> u16 {
        self.grpc.address().port()
    }

    /// Its URL by HTTP.
    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.http.address())
    }

    async fn ask(&self, method: &str, path: &str) -> Value {
        let mut wire = Wire::connect(self.http.address()).await;
        let answer = wire.ask(request(method, path, &[], "")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if method == "GET" { answer.json() } else { Value::Null }
    }

    /// The next requests are refused, in a way that says: come again.
    pub(crate) async fn fail(&self, requests: u32) {
        self.ask("PUT", &format!("/fail/{requests}")).await;
    }

    /// What it got: `/spans`, `/metrics` or `/headers`.
    pub(crate) async fn got(&self, path: &str) -> Vec<Value> {
        self.ask("GET", path).await.as_array().unwrap().clone()
    }

    /// The spans of a trace, once there are so many.
    pub(crate) async fn trace(&self, trace: &str, count: usize) -> Vec<Value> {
        let mut spans = Vec::new();
        until("the spans", async || {
            spans = self.got("/spans").await;
            spans.retain(|span| span["trace"] == trace);
            spans.len() >= count
        })
        .await;
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

/// What an independent reader of OpenMetrics makes of a page; `None` where it is not
/// installed and need not be.
pub(crate) fn open_metrics(page: &str) -> Option<String> {
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import \
                  text_string_to_metric_families as read\nfor family in read(sys.stdin.read()):\n  \
                  for sample in family.samples:\n    print(family.name, family.type, sample.name, \
                  sample.labels, sample.value, sample.exemplar)";
    let mut child = Command::new(installed()?)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{page}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
