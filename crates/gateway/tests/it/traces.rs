//! Traces: what passes of a client's trace context with traces off, and what a collector is told
//! with traces on, as it decodes it by OpenTelemetry's own definitions.

use lockgate_testkit::{Authority, Dir, Echo, Gateway, H2, Wire, request, until};
use serde_json::{Value, json};

use crate::collector::{Collector, open_metrics};
use crate::support::{launch, pool, start};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_context_passes_as_it_came_when_traces_are_off() {
    let (h1, h2) = (Echo::start("a").await, Echo::h2c("b").await);
    for (echo, settings) in [(&h1, ""), (&h2, "http2: true")] {
        let gateway = start(&pool(&[echo.address()], settings)).await;
        let headers = [
            ("traceparent", PARENT),
            ("tracestate", "vendor=1,other=2"),
            ("baggage", "user=1;p, b=2"),
        ];
        gateway.ask("GET", "/", &headers, "").await;
        for (name, value) in headers {
            assert_eq!(echo.last().header(name), Some(value), "{name}");
        }
        let line = gateway.logged(|line| line["path"] == "/").await;
        assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert!(line.get("span_id").is_none());

        gateway.ask("GET", "/none", &[], "").await;
        assert_eq!(echo.last().header("traceparent"), None);
        let line = gateway.logged(|line| line["path"] == "/none").await;
        assert!(line.get("trace_id").is_none());
    }
}

#[tokio::test]
async fn what_is_malformed_is_never_forwarded() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "")).await;
    for bad in [
        [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-01"), ("tracestate", "a=1")],
        [("TraceParent", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("a", "b")],
        [("traceparent", PARENT), ("traceparent", PARENT)],
        [("tracestate", "a=1"), ("baggage", "no equals sign")],
    ] {
        gateway.ask("GET", "/", &bad, "").await;
        for name in ["traceparent", "tracestate", "baggage"] {
            assert_eq!(echo.last().header(name), None, "{bad:?}");
        }
    }
    let mut client = H2::plain(gateway.web()).await;
    let request = client.request("GET", "a.test", "/").header("tracestate", "A=1");
    let request = request.header("traceparent", PARENT).header("baggage", "k=v");
    client.ask(request.body(lockgate_testkit::Pieces::whole("")).unwrap()).await.unwrap();
    let seen = echo.last();
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(PARENT), None));
    assert_eq!(seen.header("baggage"), Some("k=v"));
}

/// The spans of a kind (1: internal, 2: server, 3: client) below a parent, in order.
fn child<'s>(spans: &'s [Value], parent: &str, kind: u64) -> Vec<&'s Value> {
    let mut found: Vec<_> =
        spans.iter().filter(|span| span["parent"] == parent && span["kind"] == kind).collect();
    found.sort_by_key(|span| span["start"].as_u64());
    found
}

fn id(span: &Value) -> &str {
    span["id"].as_str().unwrap()
}

fn parent_of(trace: &str, flags: &str) -> String {
    format!("00-{trace}-b7ad6b7169203331-{flags}")
}

/// A trace's id of its own for each test.
fn trace(number: u64) -> String {
    format!("4bf92f3577b34da6{:016x}", 0xa000_0000_0000_0000 + number)
}

#[tokio::test]
async fn a_collector_sees_one_tree_through_two_gateways_and_a_backend() {
    let Some(collector) = Collector::start().await else { return };
    let (bad, good, auth) =
        (Echo::start("bad").await, Echo::start("b").await, Echo::start("c").await);
    bad.answer_with(503);
    let second = start(&format!(
        "telemetry: {{ traces: {{ to: \"{}\", service_name: second }} }}\nupstreams:\n  \
         stock:\n    endpoints: {{ \"{}\": 1000, \"{}\": 1 }}\n    health: off\n    \
         retry: {{ attempts: 2, on: [503], backoff: 1ms }}\nroutes:\n  /shop/{{id}}: {{ to: stock }}\n",
        collector.http(),
        bad.address(),
        good.address(),
    ))
    .await;
    let first = start(&format!(
        "telemetry:\n  traces:\n    to: \"{}\"\n    protocol: grpc\n    service_name: first\n    \
         resource: {{ deployment.environment.name: test }}\nidentity:\n  who: {{ forward: {{ url: \
         \"http://{}/status/200\", send: [authorization], name: \"\" }} }}\nroutes:\n  GET /shop/*: {{ auth: \
         who, to: \"http://{}\" }}\n",
        collector.grpc(),
        auth.address(),
        second.web(),
    ))
    .await;
    let trace = trace(1);
    let parent = parent_of(&trace, "01");
    let headers = [("traceparent", &*parent), ("tracestate", "v=1"), ("authorization", "Bearer x")];
    let answer = first.ask("GET", "/shop/7?token=s3cr3t&a=b", &headers, "").await;
    assert_eq!((answer.status, answer.endpoint()), (200, "b"));

    let spans = collector.trace(&trace, 6).await;
    let [root] = child(&spans, "b7ad6b7169203331", 2)[..] else { panic!("{spans:#?}") };
    assert_eq!((&root["name"], &root["way"]), (&"GET /shop/*".into(), &"grpc".into()));
    assert_eq!(root["resource"]["service.name"], "first");
    assert_eq!(root["resource"]["deployment.environment.name"], "test");
    assert_eq!((&root["state"], &root["status"]), (&"v=1".into(), &0.into()));
    assert_eq!(root["flags"], 0x301, "sampled, and its parent is remote");
    let told = &root["attributes"];
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/shop/*"),
        ("url.path", "/shop/7"),
        ("url.query", "token=[redacted]&a=b"),
        ("url.scheme", "http"),
        ("server.address", "example.test"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("lockgate.route", "GET /shop/*"),
        ("lockgate.origin", "upstream"),
    ] {
        assert_eq!(told[key], value, "{key}: {told}");
    }
    assert_eq!(told["http.response.status_code"], 200);

    let [policy] = child(&spans, id(root), 1)[..] else { panic!("{spans:#?}") };
    assert_eq!(policy["attributes"], json!({ "lockgate.policy": "auth" }));
    let asked = format!("00-{trace}-{}-01", id(root));
    assert_eq!(auth.last().header("traceparent"), Some(&*asked), "whoever is asked is below it");
    let [hop] = child(&spans, id(root), 3)[..] else { panic!("{spans:#?}") };
    assert_eq!((&hop["name"], &hop["status"]), (&"GET".into(), &0.into()));
    assert_eq!(hop["attributes"]["server.port"], second.web().port());

    let [server] = child(&spans, id(hop), 2)[..] else { panic!("{spans:#?}") };
    assert_eq!((&server["name"], &server["way"]), (&"GET /shop/{id}".into(), &"http".into()));
    assert_eq!(server["resource"]["service.name"], "second");
    let [failed, again] = child(&spans, id(server), 3)[..] else { panic!("{spans:#?}") };
    let told = &failed["attributes"];
    assert_eq!((&told["error.type"], &failed["status"]), (&"503".into(), &2.into()));
    assert_eq!(told["lockgate.endpoint"], bad.address().to_string());
    let told = &again["attributes"];
    assert_eq!(told["http.request.resend_count"], 1);
    assert_eq!(told["lockgate.upstream"], "stock");
    assert_eq!(again["status"], 0);

    for (echo, span) in [(&bad, failed), (&good, again)] {
        let sent = format!("00-{trace}-{}-01", id(span));
        assert_eq!(echo.last().header("traceparent"), Some(&*sent));
        assert_eq!(echo.last().header("tracestate"), Some("v=1"));
    }
    for (outer, inner) in [(root, policy), (root, hop), (hop, server), (server, failed)] {
        // Two processes read the clock, each a moment apart.
        let within = |key: &str| (outer[key].as_u64().unwrap(), inner[key].as_u64().unwrap());
        let (slack, (from, begun), (to, ended)) = (50_000_000, within("start"), within("end"));
        assert!(from <= begun + slack && ended <= to + slack, "{outer:#?} {inner:#?}");
    }
    assert!(policy["end"].as_u64() <= hop["start"].as_u64());
    let line = first.logged(|line| line["path"] == "/shop/7").await;
    assert_eq!((&line["trace_id"], &line["span_id"]), (&root["trace"], &root["id"]));
}

/// A gateway that sends all to one address, and tells this collector by these settings.
async fn telling(collector: &Collector, to: &Echo, settings: &str) -> Gateway {
    start(&format!(
        "telemetry: {{ traces: {{ to: \"{}\", {settings} }} }}\n{}",
        collector.http(),
        pool(&[to.address()], "retry: off\noutlier: off\nbreaker: off")
    ))
    .await
}

#[tokio::test]
async fn errors_are_told_although_nothing_was_chosen() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let gateway = telling(&collector, &echo, "sample: 0%").await;
    let (fine, refused, failed) = (trace(2), trace(3), trace(4));
    let paths = [(&fine, "/"), (&refused, "/status/404"), (&failed, "/status/500")];
    for (trace, path) in paths {
        gateway.ask("GET", path, &[("traceparent", &parent_of(trace, "00"))], "").await;
        let sent = echo.last().header("traceparent").unwrap().to_owned();
        assert!(sent.starts_with(&format!("00-{trace}-")) && sent.ends_with("-00"), "{sent}");
    }
    let spans = collector.trace(&failed, 2).await;
    let [server] = child(&spans, "b7ad6b7169203331", 2)[..] else { panic!("{spans:#?}") };
    assert_eq!(
        (&server["status"], &server["attributes"]["error.type"]),
        (&2.into(), &"500".into())
    );
    let [attempt] = child(&spans, id(server), 3)[..] else { panic!("{spans:#?}") };
    let sent = echo.last().header("traceparent").unwrap().to_owned();
    assert_eq!(sent, format!("00-{failed}-{}-00", id(attempt)));
    // A request that never reached an endpoint has its own span alone, and the reason.
    let gone = trace(5);
    drop(echo);
    gateway.ask("GET", "/", &[("traceparent", &parent_of(&gone, "00"))], "").await;
    let spans = collector.trace(&gone, 2).await;
    let told: Vec<_> = spans.iter().map(|span| &span["attributes"]["error.type"]).collect();
    assert_eq!(told, ["upstream_refused", "upstream_refused"], "{spans:#?}");
    let all = collector.got("/spans").await;
    let others = all.iter().filter(|span| span["trace"] == fine || span["trace"] == refused);
    assert_eq!(others.count(), 0);
}

#[tokio::test]
async fn no_more_are_told_than_a_limit_lets_and_whoever_asks() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let gateway = telling(&collector, &echo, "sample: { per_second: 1, errors: false }").await;
    for number in 0..20 {
        let parent = parent_of(&trace(100 + number), "01");
        gateway.ask("GET", "/", &[("traceparent", &parent)], "").await;
    }
    let seen = echo.seen();
    let sampled = seen.iter().filter_map(|seen| seen.header("traceparent"));
    let sampled = sampled.filter(|parent| parent.ends_with("-01")).count();
    assert!((1..10).contains(&sampled), "{sampled}");
    let spans = collector.trace(&trace(100), 2).await;
    assert_eq!(spans[0]["attributes"]["http.route"], "/*");
}

#[tokio::test]
async fn other_contexts_are_read_when_that_is_said() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let gateway = telling(&collector, &echo, "read: [b3, jaeger]").await;
    let (one, other) = (trace(6), trace(7));
    let b3 = format!("{one}-b7ad6b7169203331-1");
    let jaeger = format!("{other}:b7ad6b7169203331:0:1");
    for (trace, header) in [(&one, ("b3", &*b3)), (&other, ("uber-trace-id", &*jaeger))] {
        gateway.ask("GET", "/", &[header], "").await;
        let spans = collector.trace(trace, 2).await;
        let [server] = child(&spans, "b7ad6b7169203331", 2)[..] else { panic!("{spans:#?}") };
        let [attempt] = child(&spans, id(server), 3)[..] else { panic!("{spans:#?}") };
        let sent = echo.last().header("traceparent").unwrap().to_owned();
        assert_eq!(sent, format!("00-{trace}-{}-01", id(attempt)));
    }
    // One that leaves it to the gateway is sampled as the gateway says: all of them.
    let third = trace(15);
    let b3 = [("x-b3-traceid", &*third), ("x-b3-spanid", "b7ad6b7169203331")];
    gateway.ask("GET", "/", &b3, "").await;
    collector.trace(&third, 2).await;
    // One that says no more than that it is not sampled begins a trace that is not.
    for said in [("b3", "0"), ("x-b3-sampled", "0")] {
        gateway.ask("GET", "/", &[said], "").await;
        let sent = echo.last().header("traceparent").unwrap().to_owned();
        assert!(sent.ends_with("-02"), "{said:?}: {sent}");
        gateway.ask("GET", "/", &[(said.0, "1")], "").await;
        let sent = echo.last().header("traceparent").unwrap().to_owned();
        assert!(sent.ends_with("-03"), "{said:?}: {sent}");
    }
}

#[tokio::test]
async fn a_new_trace_begins_where_none_is_said() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let gateway = telling(&collector, &echo, "sample: 100%").await;
    let bad = [("traceparent", "00-x"), ("tracestate", "a=1")];
    gateway.ask("BREW", "/new", &bad, "").await;
    let sent = echo.last().header("traceparent").unwrap().to_owned();
    assert_eq!((sent.len(), echo.last().header("tracestate")), (55, None));
    let spans = collector.trace(&sent[3..35], 2).await;
    let [server] = child(&spans, "", 2)[..] else { panic!("{spans:#?}") };
    assert_eq!(server["name"], "HTTP /*", "a client's own word names no span");
    assert_eq!(server["attributes"]["http.request.method"], "_OTHER");
    assert_eq!(server["attributes"]["http.request.method_original"], "BREW");
}

#[tokio::test]
async fn a_collector_over_tls_gets_its_headers_and_nobody_else_sees_them() {
    let dir = Dir::new();
    let authority = Authority::new("ours");
    let leaf = authority.server(&["127.0.0.1", "localhost"]);
    let Some(collector) = Collector::secure(dir.path(), &leaf).await else { return };
    let echo = Echo::start("a").await;
    let config = format!(
        "telemetry:\n  traces:\n    to: \"https://localhost:{}\"\n    protocol: grpc\n    ca: \
         ca.pem\n    headers: {{ authorization: \"Bearer ${{env:TOKEN}}\" }}\n{}",
        collector.grpc_port(),
        pool(&[echo.address()], "")
    );
    let launch = launch().file("ca.pem", &authority.pem).env("TOKEN", "s3cr3t-of-the-test");
    let gateway = launch.start(&config).await;
    let trace = trace(8);
    gateway.ask("GET", "/", &[("traceparent", &parent_of(&trace, "01"))], "").await;
    collector.trace(&trace, 2).await;
    let headers = collector.got("/headers").await;
    assert_eq!(headers[0]["authorization"], "Bearer s3cr3t-of-the-test");
    assert!(!gateway.said().contains("s3cr3t"));
    let shown = gateway.admin("GET", "/admin/config", "").await.text();
    assert!(shown.contains("\"traces\"") && !shown.contains("s3cr3t"), "{shown}");
}

#[tokio::test]
async fn what_is_refused_for_now_is_sent_again() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let gateway = telling(&collector, &echo, "service_name: x").await;
    collector.fail(1).await;
    let trace = trace(9);
    gateway.ask("GET", "/", &[("traceparent", &parent_of(&trace, "01"))], "").await;
    collector.trace(&trace, 2).await;
    until("what was sent is counted", async || {
        let metrics = gateway.metrics().await;
        let count = |result| metrics.sum("lockgate_trace_spans_total", &[("result", result)]);
        count("sent") == 2.0 && count("dropped") == 0.0
    })
    .await;
    let failures = [("signal", "traces")];
    assert_eq!(gateway.metrics().await.sum("lockgate_otlp_failures_total", &failures), 1.0);
}

#[tokio::test]
async fn what_is_not_sent_yet_is_sent_at_the_end() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let mut gateway = telling(&collector, &echo, "service_name: x").await;
    let trace = trace(10);
    gateway.ask("GET", "/", &[("traceparent", &parent_of(&trace, "01"))], "").await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await, 0);
    assert_eq!(collector.trace(&trace, 2).await.len(), 2);
}

#[tokio::test]
async fn what_runs_once_is_told_whole_although_its_client_leaves() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let gateway = start(&format!(
        "telemetry: {{ traces: \"{}\" }}\nroutes:\n  /*: {{ idempotency: on, to: \"http://{}\" }}\n",
        collector.http(),
        echo.address()
    ))
    .await;
    let trace = trace(16);
    let parent = parent_of(&trace, "01");
    let headers = [("Idempotency-Key", "k"), ("traceparent", &*parent)];
    let mut wire = gateway.wire().await;
    wire.send(request("POST", "/wait", &headers, "7")).await;
    until("the upstream to have it", async || echo.hits() == 1).await;
    drop(wire);
    gateway.logged(|line| line["reason"] == "client_closed").await;
    echo.open(1);
    let spans = collector.trace(&trace, 3).await;
    let [server] = child(&spans, "b7ad6b7169203331", 2)[..] else { panic!("{spans:#?}") };
    assert_eq!(server["attributes"]["error.type"], "client_closed");
    let [policy] = child(&spans, id(server), 1)[..] else { panic!("{spans:#?}") };
    assert_eq!(policy["name"], "policy idempotency");
    let [attempt] = child(&spans, id(server), 3)[..] else { panic!("{spans:#?}") };
    assert_eq!(attempt["attributes"]["http.response.status_code"], 200);
    assert_eq!(attempt["status"], 0);
    let sent = echo.last().header("traceparent").unwrap().to_owned();
    assert_eq!(sent, format!("00-{trace}-{}-01", id(attempt)));
}

#[tokio::test]
async fn a_reload_switches_traces_on_and_off() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let routes = pool(&[echo.address()], "");
    let on = format!("telemetry: {{ traces: \"{}\" }}\n{routes}", collector.http());
    let gateway = start(&routes).await;
    let parent = parent_of(&trace(11), "01");
    let passes = async || {
        gateway.ask("GET", "/", &[("traceparent", &parent)], "").await;
        echo.last().header("traceparent") == Some(&*parent)
    };
    assert!(passes().await);
    gateway.rewrite(&on);
    until("traces are on", async || !passes().await).await;
    let sent = echo.last().header("traceparent").unwrap().to_owned();
    until("its span", async || {
        collector.got("/spans").await.iter().any(|span| id(span) == &sent[36..52])
    })
    .await;
    gateway.rewrite(&routes);
    until("traces are off", passes).await;
}

#[tokio::test]
async fn metrics_have_exemplars_for_whoever_asks_for_them() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    let gateway = telling(&collector, &echo, "sample: 0%").await;
    let (told, untold) = (trace(12), trace(13));
    gateway.ask("GET", "/", &[("traceparent", &parent_of(&told, "01"))], "").await;
    gateway.ask("GET", "/", &[("traceparent", &parent_of(&untold, "00"))], "").await;
    let scrape = async |accept: &str| {
        let mut wire = Wire::connect(gateway.at("ADMIN")).await;
        let headers = [("Host", "127.0.0.1"), ("Accept", accept)];
        wire.ask(request("GET", "/metrics", &headers, "")).await
    };
    // As Prometheus asks.
    let open = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4";
    let mut page = String::new();
    until("both are counted", async || {
        let answer = scrape(open).await;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.header("content-type"), Some(kind));
        page = answer.text();
        page.contains("lockgate_requests_total{route=\"/*\",status=\"200\"} 2\n")
    })
    .await;
    assert!(page.ends_with("# EOF\n"));
    let read = open_metrics(&page).unwrap();
    let bucket = read.lines().find(|line| line.contains("'trace_id'")).unwrap();
    let begins = "lockgate_request_seconds histogram lockgate_request_seconds_bucket";
    assert!(bucket.starts_with(begins) && bucket.contains(&told), "{bucket}");
    assert!(read.contains("lockgate_requests counter lockgate_requests_total"), "{read}");
    assert!(!read.contains(&untold));

    let plain = scrape("text/plain").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!plain.text().contains("trace_id") && !plain.text().contains("# EOF"));
}

#[tokio::test]
async fn metrics_go_to_a_collector_too() {
    let Some(collector) = Collector::start().await else { return };
    let echo = Echo::start("a").await;
    for (to, way) in [(collector.grpc(), "grpc"), (collector.http(), "http")] {
        let gateway = start(&format!(
            "telemetry:\n  traces: \"{}\"\n  otlp: {{ to: \"{to}\", protocol: {way}, interval: 1s, \
             service_name: {way} }}\n{}",
            collector.http(),
            pool(&[echo.address()], "")
        ))
        .await;
        let trace = trace(14);
        gateway.ask("GET", "/", &[("traceparent", &parent_of(&trace, "01"))], "").await;
        let mut points = Vec::new();
        let named = |points: &[Value], name: &str| {
            points.iter().rfind(|point| point["name"] == name).cloned()
        };
        until("the request's point", async || {
            points = collector.got("/metrics").await;
            points.retain(|point| point["way"] == way);
            named(&points, "lockgate_requests_total").is_some()
        })
        .await;
        let count = named(&points, "lockgate_requests_total").unwrap();
        assert_eq!((&count["kind"], &count["asInt"]), (&"sum".into(), &"1".into()));
        assert_eq!((&count["monotonic"], &count["temporality"]), (&true.into(), &2.into()));
        assert_eq!(count["attributes"], json!({ "route": "/*", "status": "200" }));
        assert_eq!(count["resource"]["service.name"], way);
        let spread = named(&points, "lockgate_request_seconds").unwrap();
        assert_eq!((&spread["kind"], &spread["count"]), (&"histogram".into(), &"1".into()));
        assert_eq!(
            (&spread["unit"], &spread["exemplars"][0]["trace"]),
            (&"s".into(), &trace.into())
        );
        let buckets = spread["bucketCounts"].as_array().unwrap();
        assert_eq!(buckets.len(), spread["explicitBounds"].as_array().unwrap().len() + 1);
        assert_eq!(named(&points, "process_open_fds").unwrap()["kind"], "gauge");
    }
}
