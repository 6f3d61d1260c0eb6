//! Short forms, defaults, warnings: what a document that loads comes to mean.

use lockgate_config::model::{
    ClientAuth, HealthKind, LogTo, Match, ProxyProtocol, RetryOn, Rewrite, Sticky, Target,
};
use lockgate_config::{ChangeKind, diff};
use serde_json::json;

use crate::fake::{errors, good, warnings};

#[test]
fn an_almost_empty_document_has_safe_defaults() {
    let document = good("routes: {}\n").document;
    assert_eq!(document.listeners["web"].address.port(), 8080);
    let public = ["/health", "/metrics", "/admin/live", "/admin/ready"];
    assert_eq!(document.admin.public, public);
    assert_eq!(document.http.max_headers, 100);
    assert_eq!(document.http.http2.max_pending_resets, 20);
    assert!(document.telemetry.metrics && document.telemetry.access_log.is_some());
    assert_eq!(good("").document, document);
}

#[test]
fn each_short_form_is_its_long_form() {
    let pairs = [
        ("listeners: { a: \":80\" }", "listeners: { a: { address: \"[::]:80\" } }"),
        ("admin: 127.0.0.1:1", "admin: { address: 127.0.0.1:1 }"),
        ("admin: off", "admin: false"),
        ("workers: cores", "http: {}"),
        ("telemetry: { access_log: off }", "telemetry: { access_log: false }"),
        ("telemetry: { access_log: stdout }", "telemetry: { access_log: { to: stdout } }"),
        ("telemetry: { access_log: true }", "telemetry: {}"),
        ("telemetry: { traces: http://c }", "telemetry: { traces: { to: http://c } }"),
        ("telemetry: { traces: off, otlp: off }", "telemetry: {}"),
        (
            "telemetry: { traces: { to: http://c, sample: 5% } }",
            "telemetry: { traces: { to: http://c, sample: { ratio: 5%, per_second: 100 } } }",
        ),
        ("trusted_proxies: 10.0.0.1", "trusted_proxies: [10.0.0.1/32]"),
    ];
    for (short, long) in pairs {
        assert_eq!(good(short).document, good(long).document, "{short}");
    }
    let upstreams = [
        ("endpoints: a:1", "endpoints: { \"a:1\": { weight: 1, priority: 0 } }"),
        ("endpoints: { \"a:1\": 5 }", "endpoints: { \"a:1\": { weight: 5 } }"),
        ("endpoints: { \"a:1\": }", "endpoints: [\"a:1\"]"),
        ("endpoints: a:1, health: /up", "endpoints: a:1, health: { path: /up }"),
        ("endpoints: a:1, health: true", "endpoints: a:1"),
        ("endpoints: a:1, retry: off", "endpoints: a:1, retry: { attempts: 0 }"),
        ("endpoints: a:1, retry: 3", "endpoints: a:1, retry: { attempts: 3 }"),
        ("endpoints: a:1, timeout: 3s", "endpoints: a:1, timeout: { request: 3s }"),
        ("endpoints: a:1, tls: true", "endpoints: a:1, tls: {}"),
        ("endpoints: a:1, breaker: true", "endpoints: a:1, breaker: {}"),
        ("endpoints: a:1, sticky: cookie", "endpoints: a:1, sticky: { cookie: lockgate_sticky }"),
        (
            "endpoints: a:1, sticky: { cookie: c }",
            "endpoints: a:1, sticky: { cookie: { name: c } }",
        ),
        (
            "endpoints: a:1, sticky: { header: h }",
            "endpoints: a:1, sticky: { header: { name: h } }",
        ),
        ("endpoints: a:1, http2: on", "endpoints: a:1, http2: true"),
    ];
    for (short, long) in upstreams {
        let document =
            |settings: &str| good(&format!("upstreams: {{ u: {{ {settings} }} }}\n")).document;
        assert_eq!(document(short), document(long), "{short}");
    }
}

#[test]
fn off_takes_away_what_is_on_by_default() {
    let text = "upstreams: { u: { endpoints: a:1, health: off, outlier: off } }\n";
    let upstream = &good(text).document.upstreams["u"];
    assert!(upstream.health.is_none() && upstream.outlier.is_none());
    assert_eq!(good("admin: off\n").document.admin.address, None);
}

#[test]
fn statuses_and_reasons_to_retry_are_words_or_numbers() {
    let text = "upstreams: { u: { endpoints: a:1, health: { kind: grpc, status: [200, 300-399] }, \
                retry: { on: [connect, timeout, 502] } } }\n";
    let upstream = &good(text).document.upstreams["u"];
    let health = upstream.health.as_ref().unwrap();
    assert_eq!(health.status, [(200, 200), (300, 399)]);
    assert_eq!(health.kind, HealthKind::Grpc);
    let on = [RetryOn::Connect, RetryOn::Timeout, RetryOn::Status(502)];
    assert_eq!(upstream.retry.on, on);
}

#[test]
fn a_listeners_tls_names_certificates_and_authorities() {
    let text = "listeners:\n  a: { address: \":80\", redirect_https: true, proxy_protocol: accept }\n  \
                b: { address: \":443\", tls: { cert: c.pem, key: c.key, client_ca: ca.pem } }\n  c: { \
                address: localhost:1443, tls: { certificates: [{ cert: c.pem, key: c.key }], \
                client_ca: ca.pem, client_auth: request }, proxy_protocol: off }\n";
    let loaded = good(text);
    let listeners = &loaded.document.listeners;
    assert_eq!(listeners["a"].redirect_https, Some(443));
    assert_eq!(listeners["a"].proxy_protocol, ProxyProtocol::Accept);
    let tls = listeners["b"].tls.as_ref().unwrap();
    assert_eq!(tls.client_auth, ClientAuth::Require);
    assert_eq!(tls.certificates[0].cert, std::path::Path::new("tests/data/c.pem"));
    assert_eq!(listeners["c"].tls.as_ref().unwrap().client_auth, ClientAuth::Request);
    assert_eq!(listeners["c"].address, "127.0.0.1:1443".parse().unwrap());
    let files: Vec<_> = loaded.files.iter().map(|file| file.to_str().unwrap()).collect();
    assert_eq!(files, ["tests/data/c.key", "tests/data/c.pem", "tests/data/ca.pem"]);
}

#[test]
fn a_url_becomes_an_upstream_and_a_prefix() {
    let text = "routes:\n  /a/*: { to: HTTPS://Api.Example.com/base/ }\n".replace("HTTPS", "https");
    let document = good(&text).document;
    let route = &document.routes["/a/*"].routes[0];
    assert_eq!(route.to, Target::Upstream("https://api.example.com".into()));
    assert_eq!(route.rewrite.add_prefix.as_deref(), Some("/base"));
    let upstream = &document.upstreams["https://api.example.com"];
    assert!(upstream.endpoints.contains_key("api.example.com:443"));
    assert!(upstream.tls.is_some() && upstream.health.is_none());
    let text = "routes:\n  /a/*: { to: { \"http://a:1\": 3, \"http://[::1]:2\": 1 } }\n";
    let document = good(text).document;
    assert!(document.upstreams["http://[::1]:2"].endpoints.contains_key("[::1]:2"));
    assert!(
        matches!(&document.routes["/a/*"].routes[0].to, Target::Split(parts) if parts["http://a:1"] == 3)
    );
}

#[test]
fn conditions_take_words_numbers_and_switches() {
    let text = "routes:\n  /a:\n    - when: { header: { X-A: 2, X-B: true, X-C: off, X-D: on }, query: { q: { \
                prefix: p } }, cookie: { c: { regex: \"^x$\" } }, method: [GET, HEAD] }\n      to: \
                http://a:1\n";
    let when = &good(text).document.routes["/a"].routes[0].when;
    assert_eq!(when.header["x-a"], Match::Exact("2".into()));
    assert_eq!(when.header["x-b"], Match::Present);
    assert_eq!(when.header["x-c"], Match::Absent);
    assert_eq!(when.header["x-d"], Match::Exact("on".into()));
    assert_eq!(when.query["q"], Match::Prefix("p".into()));
    assert_eq!(when.cookie["c"], Match::Regex("^x$".into()));
    assert_eq!(when.method, ["GET", "HEAD"]);
}

#[test]
fn a_rewrite_joins_the_urls_prefix() {
    let text = "routes:\n  /a/{id}: { to: http://a:1/v2, rewrite: { add_prefix: /x, path: \"/{id}\", host: h } }\n";
    let rewrite = &good(text).document.routes["/a/{id}"].routes[0].rewrite;
    let expected = Rewrite {
        strip_prefix: None,
        add_prefix: Some("/v2/x".into()),
        path: Some("/{id}".into()),
        host: Some("h".into()),
    };
    assert_eq!(**rewrite, expected);
}

#[test]
fn a_plugin_gets_plain_words_in_the_spelling_that_it_takes() {
    let text = "routes: { /a: { to: http://a:1, strict: { word: off, on: off, more: [{ name: 12 }] } } }\n";
    let document = good(text).document;
    let config = &document.routes["/a"].routes[0].policies[0].config;
    assert_eq!(**config, json!({ "word": "off", "on": false, "more": [{ "name": "12" }] }));
}

#[test]
fn a_log_file_lies_beside_the_configuration() {
    let text = "telemetry: { access_log: { to: a.log, sample: 10%, headers: [User-Agent] } }\n";
    let log = good(text).document.telemetry.access_log.unwrap();
    assert_eq!(log.to, LogTo::File("tests/data/a.log".into()));
    assert_eq!(log.headers, ["user-agent"]);
}

#[test]
fn what_nothing_uses_is_a_warning() {
    let text = "identity: { idp: { jwt: {} }, own: { jwt: {} } }\nupstreams:\n  a: { endpoints: a:1 \
                }\n  b: { endpoints: b:1 }\n  c: { endpoints: c:1 }\nconsumers: { x: { plan: gold, \
                api_keys: [plain] } }\ntrusted_proxies: [0.0.0.0/0]\nroutes:\n  /x: { to: a, auth: \
                { any_of: [own] } }\n  /y: { to: { aggregate: { z: \"http://c/z\" } } }\n";
    assert_eq!(
        warnings(text),
        [
            "1:13 nothing requires the identity `idp`",
            "4:3 nothing uses the upstream `b`",
            "6:25 there is no plan `gold`",
            "6:42 a secret stands here in plain text [`${env:NAME}` or `${file:path}`]",
            "7:19 `0.0.0.0/0` lets every client say where it comes from",
        ]
    );
    let found = good(text).warnings;
    assert_eq!(found[3].excerpt, None, "a secret's line is not shown");
    assert_eq!(
        warnings("workers: 1\n"),
        ["1:1 there are no routes: every request is answered 404"]
    );
}

#[test]
fn a_sticky_header_has_its_name() {
    let text = "upstreams: { u: { endpoints: a:1, sticky: { header: X-User } } }\n";
    let sticky = good(text).document.upstreams["u"].sticky.clone();
    assert_eq!(sticky, Some(Sticky::Header { name: "X-User".into() }));
}

#[test]
fn a_difference_is_told_by_section_and_name() {
    let old = good("workers: 1\nroutes: { /a: { to: http://a:1 }, /b: { to: http://a:1 } }\n");
    let new = good(
        "admin: 127.0.0.1:9999\nlisteners: { web: \":8081\" }\nroutes: { /a: { to: http://a:1, \
         timeout: 1s }, /c: { to: http://a:1 } }\n",
    );
    let found = diff(&old.document, &new.document);
    let told: Vec<_> = found
        .iter()
        .map(|change| {
            (change.section, change.name.as_str(), change.kind, change.needs_restart.is_some())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("listeners", "web", ChangeKind::Changed, false),
            ("admin", "address", ChangeKind::Changed, true),
            ("workers", "", ChangeKind::Changed, true),
            ("routes", "/a", ChangeKind::Changed, false),
            ("routes", "/b", ChangeKind::Removed, false),
            ("routes", "/c", ChangeKind::Added, false),
        ]
    );
    assert_eq!(diff(&old.document, &old.document), []);
}

/// A reload compares marks, not routes: each part of a route must be in them.
#[test]
fn a_change_of_any_part_of_a_route_is_told() {
    let read = |route: &str| {
        let front =
            "upstreams:\n  a: { endpoints: x:1 }\n  b: { endpoints: y:1 }\nroutes:\n  /x/{id}: ";
        good(&format!("{front}{route}\n")).document
    };
    let parts = [
        "{ to: a }",
        "{ to: b }",
        "{ to: { a: 1, b: 2 } }",
        "{ to: { a: 1, b: 3 } }",
        "{ to: { aggregate: { z: \"http://c/z\" } } }",
        "{ to: { aggregate: { z: \"http://c/y\" } } }",
        "{ to: a, timeout: 1s }",
        "{ to: a, retry: 3 }",
        "{ to: a, retry: { attempts: 3, budget: 10% } }",
        "{ to: a, priority: low }",
        "{ to: a, tags: [one] }",
        "{ to: a, rewrite: { strip_prefix: /x } }",
        "{ to: a, rewrite: { add_prefix: /x } }",
        "{ to: a, cors: { max_age: 1m } }",
        "{ to: a, cors: { max_age: 2m } }",
        "{ to: a, cors: [{ max_age: 1m }, { max_age: 2m }] }",
        "[{ to: a, when: { header: { X: \"1\" } } }, { to: a }]",
        "[{ to: a, when: { header: { X: \"2\" } } }, { to: a }]",
        "[{ to: a, when: { cookie: { X: \"2\" } } }, { to: a }]",
        "[{ to: a, when: { method: [GET] } }, { to: a }]",
    ];
    let documents: Vec<_> = parts.iter().map(|route| read(route)).collect();
    for (n, old) in documents.iter().enumerate() {
        assert_eq!(diff(old, &read(parts[n])), [], "{}", parts[n]);
        for (m, new) in documents.iter().enumerate().filter(|(m, _)| *m != n) {
            assert_eq!(diff(old, new).len(), 1, "{} and {}", parts[n], parts[m]);
        }
    }
}

#[test]
fn who_is_told_by_which_rules() {
    let alerts = "alerts:\n  oncall: https://hooks.example/x\n  off-duty: off\n  rules: { p99: 300ms, \
                  error_ratio: { above: 2% }, log_drops: off }\n  group_wait: 1s\nroutes: {}\n";
    let alerts = good(alerts).document.alerts;
    assert_eq!(alerts.sinks.keys().collect::<Vec<_>>(), ["oncall"]);
    assert_eq!(alerts.sinks["oncall"].url.as_deref(), Some("https://hooks.example/x"));
    let error_ratio = alerts.rules.error_ratio.unwrap();
    assert_eq!((error_ratio.above.0, error_ratio.requests), (0.02, 20), "the rest as usual");
    assert_eq!(error_ratio.lasting.to_string(), "2m");
    assert_eq!(alerts.rules.p99.unwrap().above.to_string(), "300ms");
    assert_eq!(alerts.rules.log_drops, None);
    assert_eq!(alerts.rules.certificate.unwrap().within.to_string(), "14d");
    assert_eq!(alerts.group_wait.to_string(), "1s");
}

#[test]
fn a_sink_that_cannot_be_told_is_an_error() {
    let told = |sink: &str| {
        let text = format!("alerts:\n  a: {sink}\nroutes: {{}}\n");
        let found = errors(&text);
        assert_eq!(found.len(), 1, "{sink}: {found:?}");
        found[0].clone()
    };
    for (sink, says) in [
        ("{}", "who is told?"),
        ("{ url: \"http://h\", command: x }", "another sink for another way"),
        ("ftp://h/x", "expected an address such as `https://"),
        ("5", "expected an address"),
        ("{ kind: pagerduty }", "needs its routing `key`"),
        ("{ url: \"http://h\", key: x }", "only `kind: pagerduty` has a `key`"),
        ("{ url: \"http://h\", kind: slack, body: {} }", "only `kind: json`"),
        ("{ url: \"http://h\", body: { a: \"{{sumary}}\" } }", "did you mean `summary`?"),
        ("{ url: \"http://h\", only: p98 }", "did you mean `p99`?"),
        ("{ url: \"http://h\", quiet: \"22-07\" }", "are not hours such as"),
        ("{ url: \"http://h\", ca: ./gone.pem }", "cannot read"),
        ("{ email: { from: a@b, to: c@d } }", "expected a mail server"),
        ("{ email: { server: h, to: c@d } }", "the sender's address"),
        ("{ email: { server: h, from: a@b, to: \"c@d>\" } }", "expected addresses"),
        ("{ email: { server: h, from: a@b, to: c@d, user: x } }", "go together"),
        (
            "{ email: { server: h, tls: off, from: a@b, to: c@d, user: x, password: \"${env:SECRET}\" } }",
            "not sent without TLS",
        ),
        ("{ url: \"http://h\", severity: loud }", "`warning`"),
    ] {
        let found = told(sink);
        assert!(found.contains(says), "{sink}: {found}");
    }
    let typo = errors("alerts: { group_wiat: 5s }\nroutes: {}\n");
    assert!(typo[0].contains("did you mean `group_wait`?"), "{typo:?}");
    let plain = warnings(
        "alerts: { p: { kind: pagerduty, key: abc } }\nroutes:\n  /a: { to: \"http://a:1\" }\n",
    );
    assert!(plain[0].contains("a secret stands here in plain text"), "{plain:?}");
}

#[test]
fn a_text_with_a_secret_in_it_is_told_and_not_shown() {
    let text = "alerts:\n  hook: https://hooks.example/services/T0/a1b2c3d4e5f6g7h8i9j0k1\n  run: { \
                command: [notify, --token, abc, \"--key=${env:SECRET}\"] }\n  plain: \
                http://10.0.0.1/alerts\nupstreams:\n  a: { endpoints: \"a:1\", health: { path: \
                \"/health?token=abc\" } }\nroutes: { /x: { to: a } }\n";
    let secret = "a secret stands here in plain text [`${env:NAME}` or `${file:path}`]";
    let told = ["2:9", "3:37", "6:42"].map(|at| format!("{at} {secret}"));
    assert_eq!(warnings(text), told);
    assert!(good(text).warnings.iter().all(|one| one.excerpt.is_none()));
}
