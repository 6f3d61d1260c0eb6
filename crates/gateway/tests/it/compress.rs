//! Compressed answers as a client reads them: whole, in pieces while the upstream pauses, and cut
//! where the upstream cuts them.

use std::io::{Read, Write};

use lockgate_testkit::{Answer, Echo, Fail, Gateway, H2, Pieces, Raw, Step, request};

use crate::support::{start, start_to};

fn plain(answer: &Answer) -> String {
    let mut out = String::new();
    let coded = answer.body.as_slice();
    match answer.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(coded).read_to_string(&mut out).unwrap(),
        Some("br") => brotli::Decompressor::new(coded, 4096).read_to_string(&mut out).unwrap(),
        Some("zstd") => zstd::Decoder::new(coded).unwrap().read_to_string(&mut out).unwrap(),
        None => return answer.text(),
        other => panic!("{other:?}"),
    };
    out
}

async fn asked(gateway: &Gateway, path: &str, accept: &str) -> Answer {
    gateway.ask("GET", path, &[("Accept-Encoding", accept)], "").await
}

#[tokio::test]
async fn each_coding_is_read_back() {
    let long: String = (0..20_000).map(|n| format!("{n},")).collect();
    let length = long.len();
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n\r\n\
         {length:x}\r\n{long}\r\n0\r\n\r\n"
    );
    let raw = Raw::start(vec![Step::Repeat(vec![Step::Request, Step::send(&chunked)])]).await;
    let gateway = start(&format!(
        "defaults: {{ compress: {{}} }}\nroutes:\n  /short: {{ to: {{ respond: {{ body: {} }} }} }}\n  \
         /long: {{ to: \"http://{}\" }}\n",
        "word".repeat(1000),
        raw.address()
    ))
    .await;
    for coding in ["gzip", "br", "zstd"] {
        let answer = asked(&gateway, "/short", coding).await;
        assert_eq!(answer.header("content-encoding"), Some(coding));
        let told: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert_eq!(told, answer.body.len());
        assert!(told < 200, "{coding}: {told}");
        assert_eq!(plain(&answer), "word".repeat(1000));

        let answer = asked(&gateway, "/long", coding).await;
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(answer.header("etag"), Some("W/\"v1\""));
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        assert_eq!(answer.header("content-length"), None);
        assert!(answer.body.len() < length / 2, "{coding}: {}", answer.body.len());
        assert!(plain(&answer) == long, "{coding}");
    }
    let answer = asked(&gateway, "/long", "identity").await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    assert_eq!(answer.header("etag"), Some("\"v1\""));
    assert!(answer.text() == long);

    let mut h2 = H2::plain(gateway.web()).await;
    let request = h2.request("GET", "a.test", "/long").header("accept-encoding", "br");
    let answer = h2.ask(request.body(Pieces::whole("")).unwrap()).await.unwrap();
    assert_eq!(answer.header("content-encoding"), Some("br"));
    assert!(plain(&answer) == long);
}

/// What a client has read so far of a stream in gzip.
fn read(decoder: &mut flate2::write::GzDecoder<Vec<u8>>, piece: &[u8]) -> String {
    decoder.write_all(piece).unwrap();
    decoder.flush().unwrap();
    String::from_utf8(decoder.get_ref().clone()).unwrap()
}

#[tokio::test]
async fn an_event_is_not_held_back_for_the_next() {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: \
                chunked\r\n\r\n";
    let raw = Raw::start(vec![
        Step::Request,
        Step::send(&format!("{head}{}", chunk("data: one\n\n"))),
        Step::Gate,
        Step::send(&chunk("data: two\n\n")),
        Step::Gate,
        Step::send("0\r\n\r\n"),
    ])
    .await;
    let gateway = start(&format!(
        "routes:\n  /*:\n    compress: {{ types: [text/event-stream], codings: [gzip] }}\n    to: \
         \"http://{}\"\n",
        raw.address()
    ))
    .await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/", &[("Accept-Encoding", "gzip")], "")).await;
    let mut head = wire.head("GET").await.unwrap();
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    for events in ["data: one\n\n", "data: one\n\ndata: two\n\n"] {
        let mut seen = String::new();
        while seen != events {
            let piece = wire.piece(&mut head).await.unwrap().expect("more of the stream");
            seen = read(&mut decoder, &piece);
        }
        raw.open(1);
    }
    while let Some(piece) = wire.piece(&mut head).await.unwrap() {
        read(&mut decoder, &piece);
    }
    assert_eq!(decoder.finish().unwrap(), b"data: one\n\ndata: two\n\n");
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off() {
    let long = "x,".repeat(30_000);
    let begun =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 99999\r\n\r\n{long}");
    let raw = Raw::start(vec![Step::Request, Step::send(&begun), Step::Close]).await;
    let gateway =
        start(&format!("routes:\n  /*: {{ compress: {{}}, to: \"http://{}\" }}\n", raw.address()))
            .await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/", &[("Accept-Encoding", "br")], "")).await;
    assert_eq!(wire.answer_to("GET").await.unwrap_err(), Fail::Broken);
}

#[tokio::test]
async fn without_it_nothing_is_compressed() {
    let echo = Echo::start("a").await;
    let gateway = start_to(echo.address()).await;
    let answer = asked(&gateway, "/", "gzip").await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.seen("accept-encoding").as_deref(), Some("gzip"));
}
