//! HTTP/2 requests that would become something else in HTTP/1.1, or that are none at all: nothing
//! of them reaches an upstream as if it were right.

use lockgate_testkit::{Frames, Raw, Step, Verdict, block, frame};

use crate::support::start_to;

const GOOD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/bad")];

/// The good fields with one replaced, or dropped when there is no value.
fn but(name: &str, value: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    let changed = GOOD.iter().filter_map(|(key, old)| match value {
        _ if *key != name => Some((*key, *old)),
        Some(value) => Some((*key, value)),
        None => None,
    });
    changed.collect()
}

fn and(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    GOOD.iter().chain(more).copied().collect()
}

fn is_refusal(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Answered(status) => status != Some(200),
        Verdict::Reset(_) | Verdict::Ended(_) => true,
    }
}

#[tokio::test]
async fn what_frames_by_hand_say_is_understood() {
    let raw = Raw::start(vec![Step::Request, Step::ok("fine")]).await;
    let gateway = start_to(raw.address()).await;
    let mut frames = Frames::connect(gateway.web()).await;
    frames.headers(1, &and(&[("x-a", "b")]), true).await;
    assert_eq!(frames.verdict(1).await, Verdict::Answered(Some(200)));
    assert!(raw.all().starts_with("GET /bad HTTP/1.1\r\n"), "{}", raw.all());
}

#[tokio::test]
async fn fields_that_would_change_the_framing_do_not_pass() {
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::ok("reached")])]).await;
    let gateway = start_to(raw.address()).await;
    let cases = [
        and(&[("transfer-encoding", "chunked")]),
        and(&[("connection", "close")]),
        and(&[("keep-alive", "timeout=5")]),
        and(&[("proxy-connection", "keep-alive")]),
        and(&[("upgrade", "websocket")]),
        and(&[("X-Upper", "a")]),
        and(&[("x-a", "b\r\nx-c: d")]),
        and(&[("x-a", "b\nx-c: d")]),
        and(&[("x-a", "b\rc")]),
        and(&[("x-a", "b\0c")]),
        and(&[("x-a: b\r\nx-c", "d")]),
        and(&[("x:a", "b")]),
        and(&[("x a", "b")]),
        and(&[("", "b")]),
        and(&[("content-length", "+3")]),
        and(&[("content-length", "3, 3")]),
        and(&[("content-length", "3"), ("content-length", "4")]),
        and(&[("content-length", "-1")]),
        and(&[(":path", "/other")]),
        and(&[(":unknown", "x")]),
        and(&[(":status", "200")]),
        [&[("x-a", "b")], &GOOD[..]].concat(),
    ];
    for fields in cases {
        let mut frames = Frames::connect(gateway.web()).await;
        frames.headers(1, &fields, true).await;
        let verdict = frames.verdict(1).await;
        assert!(is_refusal(verdict), "{fields:?}: {verdict:?}");
    }
    assert_eq!(raw.all(), "", "nothing goes upstream");
}

#[tokio::test]
async fn heads_that_are_none_do_not_pass() {
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::ok("reached")])]).await;
    let gateway = start_to(raw.address()).await;
    let cases = [
        but(":path", None),
        but(":path", Some("")),
        but(":path", Some("no-slash")),
        but(":path", Some("/a b")),
        but(":path", Some("/a\r\nx: y")),
        but(":path", Some("/a HTTP/1.1\r\nHost: evil.test\r\n\r\n")),
        but(":path", Some("/a\0")),
        but(":path", Some("/\u{e4}")),
        but(":path", Some("/a?\u{e4}")),
        but(":path", Some("*")),
        but(":method", None),
        but(":method", Some("")),
        but(":method", Some("GET /x HTTP/1.1\r\nX: ")),
        but(":method", Some("G@T")),
        but(":method", Some("CONNECT")),
        but(":scheme", None),
        but(":authority", Some("")),
        but(":authority", None),
        but(":authority", Some("a.test b.test")),
        but(":authority", Some("me@a.test")),
        but(":authority", Some("a.test/b")),
        but(":authority", Some("a.test\r\nx: y")),
        and(&[("host", "b.test")]),
    ];
    for fields in cases {
        let mut frames = Frames::connect(gateway.web()).await;
        frames.headers(1, &fields, true).await;
        let verdict = frames.verdict(1).await;
        assert!(is_refusal(verdict), "{fields:?}: {verdict:?}");
    }
    assert_eq!(raw.all(), "", "nothing goes upstream");
}

#[tokio::test]
async fn a_fragment_goes_no_further() {
    let raw = Raw::start(vec![Step::Request, Step::ok("fine")]).await;
    let gateway = start_to(raw.address()).await;
    let mut frames = Frames::connect(gateway.web()).await;
    frames.headers(1, &but(":path", Some("/a?b#/../admin")), true).await;
    if let Verdict::Answered(Some(200)) = frames.verdict(1).await {
        assert!(raw.all().starts_with("GET /a?b HTTP/1.1\r\n"), "{}", raw.all());
    }
    assert!(!raw.all().contains("admin"), "{}", raw.all());
}

#[tokio::test]
async fn a_host_alone_is_enough() {
    let raw = Raw::start(vec![Step::Request, Step::ok("fine")]).await;
    let gateway = start_to(raw.address()).await;
    let mut fields = but(":authority", None);
    fields.push(("host", "b.test"));
    let mut frames = Frames::connect(gateway.web()).await;
    frames.headers(1, &fields, true).await;
    assert_eq!(frames.verdict(1).await, Verdict::Answered(Some(200)));
    assert!(raw.all().to_ascii_lowercase().contains("host: b.test"), "{}", raw.all());
}

#[tokio::test]
async fn a_length_that_is_not_kept_never_becomes_a_whole_body() {
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::ok("whole")])]).await;
    let gateway = start_to(raw.address()).await;
    for (length, pieces) in [
        ("3", vec!["abcSMUGGLED"]),
        ("3", vec!["abc", "SMUGGLED"]),
        ("100", vec!["abc"]),
        ("100", vec![]),
    ] {
        let mut fields = and(&[("content-length", length)]);
        fields[0].1 = "POST";
        let mut frames = Frames::connect(gateway.web()).await;
        frames.headers(1, &fields, pieces.is_empty()).await;
        for (place, piece) in pieces.iter().enumerate() {
            frames.data(1, piece.as_bytes(), place + 1 == pieces.len()).await;
        }
        let verdict = frames.verdict(1).await;
        // An answer may have been on its way when the length was overrun.
        assert!(is_refusal(verdict) || pieces.len() == 2, "{length} {pieces:?}: {verdict:?}");
    }
    assert!(!raw.all().contains("SMUGGLED"), "{}", raw.all());
}

#[tokio::test]
async fn a_head_without_an_end_is_cut() {
    let raw = Raw::start(vec![Step::Drain]).await;
    let gateway = start_to(raw.address()).await;
    let mut frames = Frames::connect(gateway.web()).await;
    frames.frame(1, 0, 1, &block(&GOOD)).await;
    let more = block(&[("x-more", &"y".repeat(8000))]);
    let mut sent = 0;
    let limit = std::time::Duration::from_secs(5);
    while sent < 50 << 20 && frames.wire.try_send(&frame(9, 0, 1, &more), limit).await {
        sent += more.len();
    }
    assert!(sent < 50 << 20, "fifty megabytes of a head were taken");
    assert_eq!(raw.all(), "");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::ok("reached")])]).await;
    let gateway = start_to(raw.address()).await;
    let mut fields: Vec<(&str, &str)> = GOOD.to_vec();
    let large = "x".repeat(15_000);
    fields.push(("x-a", &large));
    let mut frames = Frames::connect(gateway.web()).await;
    frames.frame(1, 1, 1, &block(&fields)).await;
    for last in [0, 0, 4] {
        frames.frame(9, last, 1, &block(&[("x-more", &large)])).await;
    }
    assert!(is_refusal(frames.verdict(1).await));
    let many: Vec<(&str, &str)> =
        GOOD.iter().copied().chain(std::iter::repeat_n(("x-many", "y"), 150)).collect();
    let mut frames = Frames::connect(gateway.web()).await;
    frames.headers(1, &many, true).await;
    assert!(is_refusal(frames.verdict(1).await));
    assert_eq!(raw.all(), "");
}

#[tokio::test]
async fn frames_that_are_none_end_the_connection_and_nothing_else() {
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::ok("reached")])]).await;
    let gateway = start_to(raw.address()).await;
    let cases = [
        frame(0, 1, 1, b"data on a stream that is not open"),
        frame(1, 5, 2, &block(&GOOD)),
        frame(1, 5, 0, &block(&GOOD)),
        frame(1, 5, 1, b"\xff\xff\xff\xff\xff no compression"),
        frame(4, 0, 0, b"12345"),
        frame(6, 0, 0, b"short"),
        frame(8, 0, 0, &[0, 0, 0, 0]),
        frame(9, 4, 1, &block(&GOOD)),
        frame(5, 4, 1, b"a push from a client"),
        vec![0xff; 100],
    ];
    for bytes in cases {
        let mut frames = Frames::connect(gateway.web()).await;
        frames.wire.send(&bytes).await;
        let verdict = frames.verdict(1).await;
        assert!(matches!(verdict, Verdict::Ended(_) | Verdict::Reset(_)), "{bytes:?}: {verdict:?}");
    }
    assert_eq!(raw.all(), "");
    assert_eq!(gateway.get("/").await.status, 200);
}
