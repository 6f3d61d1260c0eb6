//! What a reference stands for reaches the fields that need it, and nothing that is printed.

use lockgate_config::{load, long};
use serde_json::to_string;

use crate::fake::{ALL, SECRET, directory, errors, good, read};

/// Whether the secret, or a part long enough to betray it, stands in a text.
fn leaks(text: &str) -> bool {
    text.contains("s3cr3t") || text.contains("of-the-test")
}

const EVERYWHERE: &str = "admin: { token: \"${env:SECRET}\", auth: { x: \"${env:SECRET}\" } }
stores: { s: \"redis://:${env:SECRET}@h\", t: { redis_cluster: [\"redis://:${env:SECRET}@h\"] }, v: { url: \"redis://h\", password: \"${env:SECRET}\" } }
plans: { p: { x: \"${env:SECRET}\" } }
alerts: { a: \"http://h/${env:WORD}\", p: { kind: pagerduty, key: \"${env:SECRET}\" }, b: { url: \"http://h/${env:WORD}\", token: \"${env:WORD}\", body: { x: \"${env:SECRET}\" } }, m: { email: { server: h, from: a@b, to: c@d, user: u, password: \"${env:SECRET}\" } } }
identity: { i: { jwt: { secret: \"${env:SECRET}\" } } }
consumers: { c: { api_keys: [\"${env:SECRET}\"] } }
upstreams: { u: { endpoints: [\"${env:HOST}:80\"], sticky: { cookie: { secret: \"${env:SECRET}\" } } } }
routes:
  /a: { to: u, auth: { key: \"${env:SECRET}\" } }
  /b: { to: { respond: { body: \"x ${env:SECRET} y\" } } }
";

#[test]
fn secrets_arrive_where_they_are_used() {
    let document = good(EVERYWHERE).document;
    assert_eq!(document.admin.token.as_deref(), Some(SECRET));
    assert_eq!(document.stores["s"].url.as_deref(), Some(&*format!("redis://:{SECRET}@h")));
    assert_eq!(document.stores["v"].password.as_deref(), Some(SECRET));
    assert_eq!(document.consumers["c"].api_keys, [SECRET]);
    assert_eq!(document.alerts.sinks["a"].url.as_deref(), Some("http://h/s3cr3t-of-the-test"));
    assert_eq!(document.alerts.sinks["p"].key.as_deref(), Some(SECRET));
    assert_eq!(document.identity["i"].settings["secret"], SECRET);
    assert_eq!(document.routes["/a"].routes[0].policies[0].config["key"], SECRET);
    assert!(document.upstreams["u"].endpoints.contains_key("10.9.8.7:80"));
}

#[test]
fn nothing_that_is_printed_shows_them() {
    let loaded = good(EVERYWHERE);
    assert!(!leaks(&format!("{loaded:?}")));
    assert!(!leaks(&format!("{loaded:#?}")));
    assert!(!leaks(&to_string(&loaded.document).unwrap()));
    assert!(to_string(&loaded.document).unwrap().contains("${env:SECRET}"));
}

#[test]
fn errors_about_them_show_the_reference() {
    let wrong = [
        "http: { idle_timeout: \"${env:SECRET}\" }\nroutes: {}\n",
        "http: { max_headers: \"${env:SECRET}\" }\nroutes: {}\n",
        "workers: \"${env:SECRET}\"\nroutes: {}\n",
        "listeners: { a: \"${env:SECRET}\" }\nroutes: {}\n",
        "listeners: { a: { address: \":1\", protocol: \"${env:SECRET}\" } }\nroutes: {}\n",
        "listeners: { a: { address: \":1\", tls: { cert: \"${env:SECRET}\", key: c.key } } }\n",
        "trusted_proxies: [\"${env:SECRET}\"]\nroutes: {}\n",
        "upstreams: { u: { endpoints: [\"${env:SECRET}\"] } }\n",
        "upstreams: { u: { endpoints: a:1, balance: { maglev: \"${env:SECRET}\" } } }\n",
        "upstreams: { u: { endpoints: a:1, health: { status: \"${env:SECRET}\" } } }\n",
        "routes: { /a: { to: \"${env:SECRET}\" } }\n",
        "routes: { /a: { to: \"http://${env:SECRET}\" } }\n",
        "routes: { /a: { to: http://a:1, priority: \"${env:SECRET}\" } }\n",
        "routes: { /a: { to: http://a:1, when: { method: \"${env:SECRET}\" } } }\n",
        "routes: { /a: { to: http://a:1, when: { query: { q: { regex: \"(${env:SECRET}\" } } } } }\n",
        "routes: { /a: { to: http://a:1, rewrite: { path: \"/{${env:SECRET}}\" } } }\n",
        "routes: { /a: { to: http://a:1, strict: { word: \"${env:SECRET}\" } } }\n",
        "routes: { /a: { to: http://a:1, strict: { limit: \"${env:SECRET}\" } } }\n",
        "include: \"${env:SECRET}\"\nroutes: {}\n",
        "admin: { also_on: \"${env:SECRET}\" }\nroutes: {}\n",
    ];
    for text in wrong {
        let report = read(text).err().unwrap_or_else(|| panic!("loads: {text}"));
        for shown in [report.render(false), report.render(true), report.to_json().to_string()] {
            assert!(!leaks(&shown), "{text}\n{shown}");
            assert!(shown.contains("${env:SECRET}"), "{text}\n{shown}");
        }
        assert!(!leaks(&format!("{report:?}")));
    }
}

#[test]
fn a_wrong_value_behind_a_reference_is_told_by_its_name() {
    assert_eq!(
        errors("http: { idle_timeout: \"${env:LEVEL}\" }\nroutes: {}\n"),
        ["1:23 `${env:LEVEL}` is not a duration such as 250ms, 5s, 2m, 24h or 7d"]
    );
    assert_eq!(
        errors("http: { max_headers: \"${env:LEVEL}\" }\nroutes: {}\n"),
        ["1:22 expected a whole number, found the text `${env:LEVEL}`"]
    );
}

#[test]
fn a_reference_may_stand_for_a_number_and_inside_a_text() {
    let document =
        good("http: { max_headers: \"${env:COUNT}\" }\nworkers: ${env:COUNT}\n").document;
    assert_eq!((document.http.max_headers, document.workers), (7, Some(7)));
    let text =
        "routes: { /a: { to: \"http://${env:HOST}:1${env:COUNT}\", tags: \"$${env:X}\" } }\n";
    let document = good(text).document;
    assert!(document.upstreams.contains_key("http://10.9.8.7:17"));
    assert_eq!(*document.routes["/a"].routes[0].tags, ["${env:X}"]);
}

#[test]
fn a_file_stands_for_its_text_without_the_last_line_end() {
    let path = directory(
        "secret-file",
        &[
            ("main.yaml", "admin: { token: \"${file:token.txt}\" }\nroutes: {}\n"),
            ("token.txt", "s3cr3t-from-a-file\n"),
        ],
    );
    let loaded = load(&path.join("main.yaml"), ALL).unwrap();
    assert_eq!(loaded.document.admin.token.as_deref(), Some("s3cr3t-from-a-file"));
    assert!(loaded.files.iter().any(|file| file.ends_with("token.txt")));
    assert!(!leaks(&format!("{loaded:?}")));
}

#[test]
fn the_long_form_keeps_the_spelling() {
    // SAFETY of the environment: the file form needs none.
    let text = EVERYWHERE
        .replace("${env:SECRET}", "${file:token.txt}")
        .replace("${env:WORD}", "${file:token.txt}")
        .replace("${env:HOST}", "${file:host.txt}");
    let path = directory(
        "secret-long",
        &[("main.yaml", &text), ("token.txt", "s3cr3t-of-the-test"), ("host.txt", "10.9.8.7")],
    );
    let long = long(&path.join("main.yaml"), ALL).unwrap_or_else(|report| panic!("{report}"));
    assert!(!leaks(&long), "{long}");
    assert!(long.matches("${file:token.txt}").count() >= 8, "{long}");
    std::fs::write(path.join("long.yaml"), &long).unwrap();
    let again = load(&path.join("long.yaml"), ALL).unwrap_or_else(|report| panic!("{report}"));
    let first = load(&path.join("main.yaml"), ALL).unwrap();
    assert_eq!(to_string(&again.document).unwrap(), to_string(&first.document).unwrap());
    assert_eq!(again.document.admin.token, first.document.admin.token);
    assert_eq!(again.document.consumers, first.document.consumers);
}
