//! `fmt` and `fmt --long`.

use lockgate_config::{format, load, long};

use crate::examples::{BANK, SHORT, SPELLINGS};
use crate::fake::{ALL, directory, good};

fn laid_out(text: &str) -> String {
    format("x.yaml", text).unwrap_or_else(|refusal| panic!("{refusal}\n{text}"))
}

#[test]
fn indentation_gaps_and_blank_lines_become_canonical() {
    let text = "\n# top\nlisteners:\n    web:   \":8080\"   # the only one\n\n\n\nroutes:\n  # first\n  \
                /a:\n        to:  http://a:1\n        tags:\n        - x\n        -   y\n  /b:\n    - when: { \
                method: GET }\n      to: http://b:1\n    -   to: |-\n            http://c:1\n  # last\n";
    let expected = "# top\nlisteners:\n  web: \":8080\"   # the only one\n\nroutes:\n  # first\n  /a:\n    \
                    to: http://a:1\n    tags:\n      - x\n      - y\n  /b:\n    - when: { method: GET \
                    }\n      to: http://b:1\n    - to: |-\n          http://c:1\n# last\n";
    let found = laid_out(text);
    assert_eq!(found, expected, "\n{found}");
    assert_eq!(good(text).document, good(&found).document);
}

#[test]
fn what_spans_lines_moves_as_a_whole() {
    let text = "plans:\n  p:\n      - text: |\n            one\n              two\n\n            three\n        list: [a,\n          \
                b]\n        plain: some words\n            and more\n        quoted: \"a\n          # no comment\"\n";
    let found = laid_out(text);
    assert_eq!(good(text).document.plans, good(&found).document.plans);
    assert!(
        found.contains("\n    - text: |\n          one\n            two\n\n          three\n"),
        "{found}"
    );
    assert_eq!(laid_out(&found), found);
    let text =
        "plans:\n p:\n  - |\n   # no comment\n   - no item\n  - >\n\n    x\n  - b: |\n    c: 1\n";
    let found = laid_out(text);
    assert_eq!(good(text).document.plans, good(&found).document.plans);
    assert_eq!(
        found,
        "plans:\n  p:\n    - |\n     # no comment\n     - no item\n    - >\n\n      x\n    - b: |\n      c: 1\n"
    );
}

#[test]
fn the_manuals_examples_keep_their_meaning_and_their_layout() {
    for text in [SHORT, BANK, SPELLINGS] {
        let found = laid_out(text);
        assert_eq!(good(&found).document, good(text).document);
        assert_eq!(laid_out(&found), found);
    }
}

#[test]
fn what_is_not_sure_is_refused() {
    for text in ["a: [", "? a\n: b\n", "%YAML 1.2\n---\na: 1\n", "a: &x 1\nb: *x\n", ""] {
        assert!(format("x.yaml", text).is_err(), "{text}");
    }
    assert!(format("x.toml", "a = 1\n").is_err());
    assert_eq!(
        format("x.json", "{\"b\":[1],\"a\":{}}").unwrap(),
        "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}\n"
    );
}

#[test]
fn the_long_form_loads_as_the_same_document() {
    for (name, text) in [("short", SHORT), ("bank", BANK), ("spellings", SPELLINGS)] {
        // The environment of the tests is not the process's.
        let text = text
            .replace("${env:JWT_SECRET}", "${file:key}")
            .replace("${env:ALICE_KEY}", "${file:key}");
        let files = [
            ("main.yaml", text.as_str()),
            ("ca.pem", ""),
            ("c.pem", ""),
            ("c.key", ""),
            ("key", "k"),
        ];
        let path = directory(&format!("long-{name}"), &files);
        let long = long(&path.join("main.yaml"), ALL).unwrap_or_else(|report| panic!("{report}"));
        std::fs::write(path.join("long.yaml"), &long).unwrap();
        let again =
            load(&path.join("long.yaml"), ALL).unwrap_or_else(|report| panic!("{report}\n{long}"));
        let first = load(&path.join("main.yaml"), ALL).unwrap();
        let value = |document| serde_json::to_value(document).unwrap();
        assert_eq!(value(&again.document), value(&first.document), "{long}");
    }
}

#[test]
fn every_setting_survives_the_long_form() {
    let text = "workers: 3
listeners: { a: { address: \":80\", redirect_https: 8443, proxy_protocol: require }, b: \"127.0.0.1:81\" }
admin: { address: 127.0.0.1:1, public: [/x], auth: { roles: [admin] } }
trusted_proxies: [10.0.0.0/8, \"::1\"]
http: { max_uri: 4KiB, http2: { max_streams_per_second: off } }
telemetry: { access_log: { to: log/a.log, format: ecs, sample: 12.5%, headers: [x-a] }, metrics: off, otlp: { to: http://c:4317, interval: 10s, resource: { a.b: c } }, traces: { to: http://c, protocol: grpc, sample: { ratio: 1%, per_second: off, errors: false, slow: 1s }, read: [b3, jaeger], headers: { a: \"${env:PATH}\" }, timeout: 1s, service_name: g } }
replicas: 3
stores:
  s: { redis_cluster: [\"a:1\", \"redis://b:2\"], prefix: p, timeout: 20ms }
  t: { redis_sentinel: { master: m, sentinels: [\"a:1\", b], username: u }, database: 2 }
  u: rediss://h:1/2
  memory: { max_size: 2MiB }
  own: memory
plans: { p: [[1, { a: [] }], \"yes\", off, ~, 1.5, \"1e3\", \"0x1f\", \"- x\", \"a: b\", \"#\", \"multi\\nline\", \"\", \" x \", \"off\", \"12\"] }
alerts:
  oncall: http://127.0.0.1:1
  mail: { email: { server: mail.local, from: a@b, to: c@d }, quiet: off, only: p99 }
  run: { command: [/bin/true, x] }
  rules: { p99: 1s, error_ratio: { above: 1%, for: 3m }, upstream_low: 50%, log_drops: off }
  quiet: \"22:00-07:00 Europe/Berlin\"
  repeat_after: 0s
upstreams:
  u:
    endpoints: { \"a:1\": { weight: 0, zone: z, priority: 2 }, \"[::1]:2\": 3 }
    balance: { maglev: [ip, \"header:x\"] }
    sticky: { header: x }
    health: { kind: tcp, status: [200, 204-299], body: \"ok: yes\", port: 9, host: h }
    outlier: { failures: 5% }
    breaker: { slow: 1s }
    retry: { on: [connect, 503], backoff: 1ms }
    tls: { sni: n }
    slow_start: 90s
    host: endpoint
  v: { endpoints: v:1, outlier: off, health: off, retry: off }
routes:
  GET example.com/a/{id}/*:
    - { when: { header: { A: x, B: true, C: off, D: { prefix: p } }, query: { q: { regex: \"^[0-9]+$\" } }, method: GET }, to: { u: 1, v: 0 }, timeout: 0s, priority: low, tags: [t], strict: [{ limit: 1 }, { limit: 2 }] }
    - { to: https://x.example/base, retry: { attempts: 0 }, rewrite: { strip_prefix: /a, host: h }, strict: { word: \"12\" } }
  /r: { to: { respond: { status: 204, body: \"# a\\n\\tb\", headers: {} } }, cors: ~ }
";
    let path = directory("long-all", &[("main.yaml", text)]);
    let long = long(&path.join("main.yaml"), ALL).unwrap_or_else(|report| panic!("{report}"));
    std::fs::write(path.join("long.yaml"), &long).unwrap();
    let again =
        load(&path.join("long.yaml"), ALL).unwrap_or_else(|report| panic!("{report}\n{long}"));
    let first = load(&path.join("main.yaml"), ALL).unwrap();
    let value = |document| serde_json::to_value(document).unwrap();
    assert_eq!(value(&again.document), value(&first.document), "{long}");
    assert_eq!(laid_out(&long), long, "the long form is laid out canonically");
}
