//! Upstreams that break in every way before their answer's head is whole.

use std::time::Duration;

use lockgate_testkit::{Answer, Port, Raw, Step};

use crate::support::{pool, start};

/// The one answer to a GET when every try meets this script.
async fn answer(script: Vec<Step>) -> Answer {
    let raw = Raw::start(script).await;
    let settings =
        "outlier: off\ntimeout: { headers: 300ms }\nretry: { attempts: 1, budget: 100% }";
    let gateway = start(&pool(&[raw.address()], settings)).await;
    let answer = gateway.get("/").await;
    let line = gateway.logged(|line| line["path"] == "/").await;
    assert_eq!(line["reason"].as_str(), answer.reason(), "{line}");
    assert_eq!(line["attempts"], 2, "{line}");
    assert_eq!(gateway.get("/").await.status, answer.status, "the gateway lives on");
    answer
}

fn verdict(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.reason().unwrap_or(""))
}

#[tokio::test]
async fn it_refuses_connections() {
    let port = Port::reserve();
    let gateway = start(&pool(&[port.address()], "outlier: off")).await;
    let answer = gateway.ask("POST", "/", &[], "body").await;
    assert_eq!(verdict(&answer), (502, "upstream_refused"));
}

#[tokio::test]
async fn it_closes_before_it_answers() {
    assert_eq!(verdict(&answer(vec![Step::Close]).await), (502, "upstream_closed"));
    let late = answer(vec![Step::Request, Step::Close]).await;
    assert_eq!(verdict(&late), (502, "upstream_closed"));
}

#[tokio::test]
async fn it_resets_before_it_answers() {
    let answer = answer(vec![Step::Request, Step::Reset]).await;
    assert_eq!(verdict(&answer), (502, "upstream_closed"));
}

#[tokio::test]
async fn it_closes_in_its_head() {
    let head = Step::send("HTTP/1.1 200 OK\r\nContent-Le");
    let (status, reason) = {
        let answer = answer(vec![Step::Request, head, Step::Close]).await;
        (answer.status, answer.reason().unwrap_or("").to_owned())
    };
    assert_eq!(status, 502);
    assert!(["upstream_closed", "upstream_bad_answer"].contains(&reason.as_str()), "{reason}");
}

#[tokio::test]
async fn it_sends_garbage() {
    let answer = answer(vec![Step::Request, Step::garbage(), Step::Close]).await;
    assert_eq!(verdict(&answer), (502, "upstream_bad_answer"));
}

#[tokio::test]
async fn its_head_breaks_the_rules() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX : y\r\n\r\na",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: a\0b\r\n\r\na",
        "HTTP/1.1 2x0 OK\r\nContent-Length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        "ICY 200 OK\r\n\r\n",
        "\x15\x03\x01\x00\x02\x02\x50",
    ] {
        let answer = answer(vec![Step::Request, Step::send(head), Step::HalfClose]).await;
        assert_eq!(answer.status, 502, "{head:?}: {answer:?}");
        let reason = answer.reason().unwrap_or("");
        assert!(["upstream_bad_answer", "upstream_closed"].contains(&reason), "{head:?}: {reason}");
    }
}

#[tokio::test]
async fn its_head_is_too_large() {
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let answer = answer(vec![Step::Request, Step::send(&head)]).await;
    assert_eq!(verdict(&answer), (502, "upstream_bad_answer"));
}

#[tokio::test]
async fn it_drips_its_head() {
    let drip = Step::Dribble(b"HTTP/1.1 200 OK\r\nX: y\r\n".repeat(9), Duration::from_millis(50));
    let answer = answer(vec![Step::Request, drip]).await;
    assert_eq!(verdict(&answer), (503, "upstream_all_timed_out"));
}

#[tokio::test]
async fn it_never_answers() {
    let answer = answer(vec![Step::Request, Step::Drain]).await;
    assert_eq!(verdict(&answer), (503, "upstream_all_timed_out"));
}

#[tokio::test]
async fn it_switches_protocols_unasked() {
    let switch = Step::send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    let answer = answer(vec![Step::Request, switch]).await;
    assert_eq!(verdict(&answer), (502, "upstream_bad_answer"));
}

#[tokio::test]
async fn its_interim_answers_do_not_stand_in_the_way() {
    let raw = Raw::start(vec![
        Step::Request,
        Step::send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        Step::ok("final"),
    ])
    .await;
    let gateway = start(&crate::support::to(raw.address())).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "final"));
}

#[tokio::test]
async fn what_it_sends_beyond_its_answer_is_nobody_elses_answer() {
    let extra = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none\
                 HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let first = vec![Step::Request, Step::send(extra)];
    let raw =
        Raw::each(vec![first, vec![Step::Repeat(vec![Step::Request, Step::ok("good")])]]).await;
    let gateway = start(&crate::support::to(raw.address())).await;
    assert_eq!(gateway.get("/1").await.text(), "one");
    for n in 2..5 {
        assert_eq!(gateway.get(&format!("/{n}")).await.text(), "good");
    }
}
