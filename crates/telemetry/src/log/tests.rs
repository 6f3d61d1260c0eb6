//! What stands in a line whatever is sent, what must not, and where lines go when their target
//! is slow, full, gone or renamed.

mod hostile;
mod targets;
mod template;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use lockgate_core::{Blame, ClientCertificate, Percent, Tls};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn config(to: model::LogTo, format: model::LogFormat) -> model::AccessLog {
    model::AccessLog { to, format, sample: Percent(1.0), headers: Vec::new() }
}

fn stdout_json() -> model::AccessLog {
    config(model::LogTo::Stdout, model::LogFormat::Json)
}

fn choices(names: &[&str]) -> Vec<HeaderChoice> {
    names.iter().filter_map(|name| HeaderChoice::new(name)).collect()
}

fn json(entry: &Entry<'_>, headers: &[&str], ecs: bool) -> (String, Value) {
    let (mut clock, mut memo) = (Clock::new(), Memo::default());
    let lines = [(); 3].map(|()| {
        let mut out = Vec::new();
        json::push_line(&mut out, &mut clock, &mut memo, &choices(headers), ecs, entry);
        String::from_utf8(out).unwrap()
    });
    // The first is written, the third of what was kept of the second.
    assert!(lines.iter().all(|line| *line == lines[0]));
    let [line, ..] = lines;
    let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (line, value)
}

fn text(entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    text::push_line(&mut out, &mut Clock::new(), false, entry);
    String::from_utf8(out).unwrap()
}

fn full_tls() -> Tls {
    let client = ClientCertificate {
        subject: "CN=ada,O=\"x\"".into(),
        common_name: Some("ada".into()),
        issuer: "CN=ca".into(),
        names: Vec::new(),
        serial: "01".into(),
        fingerprint: "ab".into(),
    };
    Tls {
        sni: Some("shop.example".into()),
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        names: Arc::from([]),
        client: Some(Arc::new(client)),
    }
}

fn full_entry<'a>(tls: &'a Tls, headers: &'a HeaderMap, tags: &'a [String]) -> Entry<'a> {
    Entry {
        time: UNIX_EPOCH + Duration::from_millis(1_795_203_628_123),
        id: "4f2a",
        client_ip: "2001:db8::1".parse().unwrap(),
        peer: "10.0.0.9:4711".parse().unwrap(),
        worker: 1,
        listener: "web",
        protocol: "HTTP/1.1",
        scheme: "https",
        method: "POST",
        host: "shop.example",
        path: "/users/7?a=1&token=abc",
        status: 502,
        reason: Some("upstream_closed"),
        blame: Some(Blame::Upstream),
        story: "connection reset: \"by peer\"",
        route: Some("POST /users/{id}"),
        consumer: Some("alice"),
        identity: Some("idp"),
        plan: Some("gold"),
        upstream: Some("users"),
        endpoint: Some("127.0.0.1:3001"),
        attempts: 2,
        upstream_status: Some(200),
        cache: Some("miss"),
        limit: Some("per-ip"),
        total: Duration::from_nanos(12_345_678),
        queued: Duration::from_micros(50),
        connect: Duration::from_millis(2),
        first_byte: Some(Duration::from_micros(1)),
        body: Duration::from_secs(3),
        received: 10,
        sent: 2_000,
        user_agent: Some(b"curl/8"),
        referer: Some(b"https://x.example/?code=1&b=2"),
        tls: Some(tls),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c"),
        span_id: Some("b7ad6b7169203331"),
        tags,
        headers: Some(headers),
        ..Entry::default()
    }
}

#[test]
fn a_full_line_says_all_of_it() {
    let mut headers = HeaderMap::new();
    headers.insert("x-demo", HeaderValue::from_static("1"));
    headers.append("x-demo", HeaderValue::from_static("2"));
    headers.insert("authorization", HeaderValue::from_static("Bearer abc"));
    let (tls, tags) = (full_tls(), ["money".to_owned(), "eu\"".to_owned()]);
    let entry = full_entry(&tls, &headers, &tags);
    let (_, line) = json(&entry, &["x-demo", "authorization", "absent", "bad name"], false);
    // Two maps: one is more than the macro takes.
    let mut wanted = serde_json::json!({
        "time": "2026-11-20T19:40:28.123Z", "id": "4f2a", "client_ip": "2001:db8::1",
        "peer": "10.0.0.9:4711", "worker": 1, "listener": "web", "protocol": "HTTP/1.1",
        "scheme": "https", "method": "POST", "host": "shop.example", "path": "/users/7",
        "query": "a=1&token=[redacted]", "status": 502, "reason": "upstream_closed",
        "blame": "upstream", "story": "connection reset: \"by peer\"", "origin": "gateway",
        "route": "POST /users/{id}", "consumer": "alice", "identity": "idp", "plan": "gold",
    });
    let upstream = serde_json::json!({
        "upstream": "users", "endpoint": "127.0.0.1:3001",
        "attempts": 2, "upstream_status": 200, "cache": "miss", "limit": "per-ip",
        "total_ms": 12.345, "queue_ms": 0.05,
        "connect_ms": 2.0, "first_byte_ms": 0.001, "body_ms": 3000.0, "received": 10,
        "sent": 2000, "user_agent": "curl/8",
        "referer": "https://x.example/?code=[redacted]&b=2", "tls_version": "TLSv1.3",
        "tls_cipher": "TLS_AES_128_GCM_SHA256", "tls_sni": "shop.example",
        "tls_client": "CN=ada,O=\"x\"", "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "tags": ["money", "eu\""], "headers": { "x-demo": "1, 2", "authorization": "[redacted]" },
    });
    let rest = upstream.as_object().unwrap().clone();
    wanted.as_object_mut().unwrap().extend(rest);
    assert_eq!(line, wanted);
    // The table and the serialiser speak of the same fields, in the same order.
    let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, FIELDS.iter().map(|field| field.name).collect::<Vec<_>>());

    let (_, line) = json(&entry, &["x-demo"], true);
    let line = line.as_object().unwrap();
    for field in FIELDS {
        assert!(line.contains_key(field.ecs), "{}", field.ecs);
    }
    assert_eq!(line.len(), FIELDS.len() + 8);
    assert_eq!((&line["source.ip"], &line["source.port"]), (&"10.0.0.9".into(), &4711.into()));
    assert_eq!(line["event.duration"], 12_345_678);
    assert_eq!(line["event.outcome"], "failure");
    assert_eq!((&line["http.version"], &line["tls.version"]), (&"1.1".into(), &"1.3".into()));
}

#[test]
fn a_bare_line_has_what_is_always_there_and_no_more() {
    let (_, line) = json(&Entry::default(), &["x-demo"], false);
    let line = line.as_object().unwrap();
    for field in FIELDS {
        assert_eq!(line.contains_key(field.name), !field.optional, "{}", field.name);
    }
}

#[test]
fn a_line_for_people_is_short_and_aligned() {
    let (tls, headers) = (full_tls(), HeaderMap::new());
    let entry = full_entry(&tls, &headers, &[]);
    assert_eq!(
        text(&entry),
        "19:40:28.123 502 POST      12.3 ms   2.0 kB  shop.example/users/7?a=1&token=[redacted] \
         -> users 127.0.0.1:3001 (2 attempts) upstream_closed: connection reset: \\\"by peer\\\"  \
         2001:db8::1 alice 4f2a\n"
    );
    let mut out = Vec::new();
    text::push_line(&mut out, &mut Clock::new(), true, &entry);
    assert!(String::from_utf8(out).unwrap().contains("\x1b[31m502\x1b[0m"));
}

#[test]
fn the_reference_page_agrees_with_the_table() {
    crate::reference::agrees("access-log.md", &access_log_reference());
}

fn piped(queue: usize) -> (Arc<AccessLog>, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let sink = Sink::new(fs::File::from(OwnedFd::from(writer)));
    (AccessLog::with_sink(&stdout_json(), sink, queue).unwrap(), reader)
}

fn ids(reader: impl io::Read) -> Vec<u64> {
    let lines = BufReader::new(reader).lines().map(Result::unwrap);
    let id = |line: String| {
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        value["id"].as_str().unwrap().parse().unwrap()
    };
    lines.filter(|line| !line.is_empty()).map(id).collect()
}

fn write_id(log: &WorkerLog, id: u64) {
    log.write(&mut Entry { id: &id.to_string(), ..Entry::default() });
}

fn redacted_url(url: &str) -> String {
    let mut out = Vec::new();
    redact::push_url(&mut out, url.as_bytes());
    String::from_utf8(out).unwrap()
}

#[test]
fn secret_query_values_are_not_shown() {
    for (url, shown) in [
        ("/x", "/x"),
        ("/x?", "/x?"),
        ("/x?a=1&b=2", "/x?a=1&b=2"),
        ("/x?token=s3cret", "/x?token=[redacted]"),
        ("/x?a=1&access_token=s&b=2", "/x?a=1&access_token=[redacted]&b=2"),
        ("/x?API-Key=s", "/x?API-Key=[redacted]"),
        ("/x?%74oken=s", "/x?%74oken=[redacted]"),
        ("/x?%54%4f%4B%65%6e=s", "/x?%54%4f%4B%65%6e=[redacted]"),
        ("/x?to+ken=s", "/x?to+ken=[redacted]"),
        ("/x?a=1;password=s", "/x?a=1;password=[redacted]"),
        ("/x?user[password]=s", "/x?user[password]=[redacted]"),
        ("/x?user%5Bpassword%5D=s", "/x?user%5Bpassword%5D=[redacted]"),
        ("/x?tokens[]=s&code[]=s", "/x?tokens[]=[redacted]&code[]=[redacted]"),
        ("/x?to=%2Fcb%3Fcode%3Ds%26a%3D1&b=2", "/x?to=%2Fcb%3Fcode%3D[redacted]%26a%3D1&b=2"),
        ("/x?to=%2Fcb%3fa%3d1%26id_token%3ds", "/x?to=%2Fcb%3fa%3d1%26id_token%3d[redacted]"),
        ("/x?to=/cb?code=s", "/x?to=/cb?code=[redacted]"),
        ("/x?to=/cb?a=1?token=s&b=2", "/x?to=/cb?a=1?token=[redacted]&b=2"),
        ("/x?to=/cb?token=s?s=s&b=2", "/x?to=/cb?token=[redacted]&b=2"),
        ("/x?to=/cb?code%3Ds", "/x?to=/cb?code%3D[redacted]"),
        ("/x?to=/cb%3Fcode=s", "/x?to=/cb%3Fcode=[redacted]"),
        ("/x?to=/a?to=/b?to=/c?pin=s", "/x?to=/a?to=/b?to=/c?pin=[redacted]"),
        ("/x?to=a%3Dto%3D%2Fcb%3Fcode%3Ds", "/x?to=a%3Dto%3D%2Fcb%3Fcode%3D[redacted]"),
        (
            "/x?to=%252Fcb%253Fcode%253Ds%2526a%253D1",
            "/x?to=%252Fcb%253Fcode%253D[redacted]%2526a%253D1",
        ),
        ("/x?%2Fcb%3Fcode%3Ds", "/x?%2Fcb%3Fcode%3D[redacted]"),
        ("/x?to=/cb#token=s", "/x?to=/cb#token=[redacted]"),
        ("/x?to=/cb?token=", "/x?to=/cb?token="),
        ("/x?to=/cb?code=s%26s", "/x?to=/cb?code=[redacted]"),
        ("/x?to=%2Fcb%3Fpin%3Ds%2526s%26a%3D1", "/x?to=%2Fcb%3Fpin%3D[redacted]%26a%3D1"),
        ("/x?a=%3D&b=%3d%3D&c=%3", "/x?a=%3D&b=%3d%3D&c=%3"),
        ("/x?login.secret=s", "/x?login.secret=[redacted]"),
        ("/x?X-Amz-Signature=s", "/x?X-Amz-Signature=[redacted]"),
        ("/x?X-Amz-Security-Token=s", "/x?X-Amz-Security-Token=[redacted]"),
        ("/x?sig=s==&code=s&key=s", "/x?sig=[redacted]&code=[redacted]&key=[redacted]"),
        ("/x?token=a=b", "/x?token=[redacted]"),
        ("/x?y?token=s", "/x?y?token=[redacted]"),
        ("/x?token=&token", "/x?token=&token"),
        ("/x?monkey=1&decode=2&passenger=3", "/x?monkey=1&decode=2&passenger=3"),
        ("/x?%zz=1&%=2&%7=3", "/x?%zz=1&%=2&%7=3"),
    ] {
        assert_eq!(redacted_url(url), shown);
    }
    let long = format!("/x?{}=s3cret", "a".repeat(65));
    assert!(!redacted_url(&long).contains("s3cret"), "a name too long to judge hides its value");
}

#[test]
fn tokens_are_cut_after_their_header_wherever_they_stand() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
    let shown = "eyJhbGciOiJIUzI1NiJ9.[redacted]";
    for (url, wanted) in [
        (format!("/t/{jwt}/x"), format!("/t/{shown}/x")),
        (format!("/t?state={jwt}&a=1"), format!("/t?state={shown}&a=1")),
        (format!("/t?{jwt}"), format!("/t?{shown}")),
        (format!("/{jwt}/{jwt}"), format!("/{shown}/{shown}")),
        (format!("/{jwt}.a.b/x"), format!("/{shown}/x")),
        ("/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJh".to_owned(), format!("/{shown}")),
        ("/eyJ.eyJhbGciOiJIUzI1NiJ9.cGF5".to_owned(), "/eyJ.[redacted]".to_owned()),
        ("/eyJub3QgYSB0b2tlbg/J".to_owned(), "/eyJub3QgYSB0b2tlbg/J".to_owned()),
        ("/eyJ.".to_owned(), "/eyJ.".to_owned()),
    ] {
        assert_eq!(redacted_url(&url), wanted);
    }
    let mut headers = HeaderMap::new();
    for name in ["x-forwarded-token-info", "cookie", "x-api-key", "proxy-authorization", "x-uri"] {
        let value = format!("/cb?code=s3cret&p={jwt}");
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
    }
    let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    let entry = Entry {
        user_agent: Some(jwt.as_bytes()),
        referer: Some(jwt.as_bytes()),
        story: jwt,
        endpoint: Some(jwt),
        headers: Some(&headers),
        ..Entry::default()
    };
    for line in [json(&entry, &names, false).0, json(&entry, &names, true).0, text(&entry)] {
        assert!(!line.contains("eyJzdWIi") && !line.contains("c2lnbmF0"), "{line}");
        assert!(!line.contains("s3cret"), "{line}");
    }
    let (_, line) = json(&entry, &names, false);
    assert_eq!(line["headers"]["cookie"], "[redacted]");
    assert_eq!(line["headers"]["x-api-key"], "[redacted]");
    assert_eq!(line["headers"]["x-uri"], format!("/cb?code=[redacted]&p={shown}"));
}

#[test]
fn long_values_are_cut() {
    let path = format!("/{}", "a".repeat(100_000));
    let agent = "ü".repeat(100_000);
    let entry = Entry { path: &path, user_agent: Some(agent.as_bytes()), ..Entry::default() };
    let (line, value) = json(&entry, &[], false);
    assert!(line.len() < 14_000, "{}", line.len());
    assert!(value["path"].as_str().unwrap().ends_with("...[cut]"));
    assert!(text(&entry).len() < 5_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_payload_of_a_token_gets_through(
        before in "[ -~]{0,20}", after in "[ -~]{0,20}", payload in "[A-Za-z0-9_-]{40,60}",
    ) {
        let text = format!("{before} eyJhbGciOiJub25lIn0.{payload}.{after}");
        prop_assert!(!redacted_url(&text).contains(&payload));
        let twice = format!("/{text}?{text}");
        prop_assert!(!redacted_url(&twice).contains(&payload));
    }
}

#[test]
fn the_sample_leaves_errors_alone() {
    let (reader, writer) = io::pipe().unwrap();
    let sink = Sink::new(fs::File::from(OwnedFd::from(writer)));
    let none = model::AccessLog { sample: Percent(0.0), ..stdout_json() };
    let log = AccessLog::with_sink(&none, sink, 64).unwrap();
    let worker = log.worker(0);
    for (id, status, reason) in
        [("1", 200, None), ("2", 404, None), ("3", 404, Some("no_route")), ("4", 500, None)]
    {
        worker.write(&mut Entry { id, status, reason, ..Entry::default() });
    }
    drop(worker);
    assert!(log.close(LONG));
    drop(log);
    assert_eq!(ids(reader), [3, 4]);

    let (log, reader) = piped(64);
    let half = Arc::new(AccessLog { sample: 0.5, ..Arc::into_inner(log).unwrap() });
    let worker = half.worker(0);
    (0..4_000).for_each(|id| write_id(&worker, id));
    drop(worker);
    let reading = thread::spawn(move || ids(reader).len());
    assert!(half.close(LONG));
    drop(half);
    let kept = reading.join().unwrap();
    assert!((1_700..2_300).contains(&kept), "{kept} of 4000");
}

#[test]
fn a_torn_line_does_not_spoil_the_next() {
    let (log, reader) = {
        let (reader, writer) = io::pipe().unwrap();
        let mut sink = Sink::new(fs::File::from(OwnedFd::from(writer)));
        sink.tear(b"{\"id\":\"9");
        (AccessLog::with_sink(&stdout_json(), sink, 8).unwrap(), reader)
    };
    let worker = log.worker(0);
    write_id(&worker, 1);
    drop(worker);
    assert!(log.close(LONG));
    drop(log);
    let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], "{\"id\":\"9");
    assert!(serde_json::from_str::<Value>(&lines[1]).is_ok());
}
