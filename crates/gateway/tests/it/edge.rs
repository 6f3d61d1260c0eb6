//! The small policies at the gateway's edge, as a client meets them: ids, closed routes, failures
//! on purpose.

use lockgate_testkit::{Echo, within};

use crate::support::{launch, start};

#[tokio::test]
async fn an_id_is_whose_the_route_says() {
    let echo = Echo::start("a").await;
    let to = echo.address();
    let gateway = start(&format!(
        "routes:\n  /none/*: {{ request_id: {{ accept: false, format: uuid }}, to: \"http://{to}\" }}\n  \
         /trusted/*: {{ request_id: {{ accept: trusted, format: ulid }}, to: \"http://{to}\" }}\n  \
         /other/*: {{ request_id: {{ header: X-Correlation-Id }}, to: \"http://{to}\" }}\n"
    ))
    .await;
    let sent = [("X-Request-Id", "chosen"), ("X-Forwarded-For", "192.0.2.1")];
    for (path, length) in [("/none/", 36), ("/trusted/", 26)] {
        let answer = gateway.ask("GET", path, &sent, "").await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(id.len(), length, "{path}: {id}");
        assert_eq!(answer.seen_all("x-request-id"), std::slice::from_ref(&id), "{path}");
        assert_eq!(gateway.logged(|line| line["path"] == path).await["id"], id.as_str());
    }
    let answer = gateway.ask("GET", "/other/", &[("X-Correlation-Id", "chosen")], "").await;
    assert_eq!(answer.all("x-correlation-id").collect::<Vec<_>>(), ["chosen"]);
    assert_eq!(answer.all("x-request-id").collect::<Vec<_>>(), ["chosen"]);
    assert_eq!(answer.seen_all("x-correlation-id"), ["chosen"]);
}

#[tokio::test]
async fn a_closed_route_shows_its_page_and_opens_to_a_secret() {
    let config = "routes:\n  /*:\n    maintenance:\n      retry_after: 90s\n      html: \
                  \"${file:closed.html}\"\n      bypass_header: { name: X-Preview, value: \
                  \"${env:PREVIEW}\" }\n    to: { respond: { body: open } }\n";
    let launch = launch().file("closed.html", "<h1>Back at noon</h1>\n");
    let gateway = launch.env("PREVIEW", "s3cr3t-of-the-test").start(config).await;
    let answer = gateway.ask("GET", "/", &[("Accept", "text/html")], "").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("maintenance")));
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("retry-after"), Some("90"));
    assert_eq!(answer.text(), "<h1>Back at noon</h1>");
    let answer = gateway.get("/").await;
    assert_eq!(answer.json()["reason"], "maintenance");
    let line = gateway.logged(|line| line["status"] == 503).await;
    assert_eq!(line["reason"], "maintenance", "{line}");
    let answer = gateway.ask("GET", "/", &[("X-Preview", "s3cr3t-of-the-test")], "").await;
    assert_eq!(answer.text(), "open");
    let ran = gateway.cli(&["explain", "GET", "/", "-c", "lockgate.yaml"]).await;
    assert!(!ran.text().contains("s3cr3t"), "{}", ran.text());
}

#[tokio::test]
async fn failures_on_purpose_have_their_status_and_end_with_the_deadline() {
    let echo = Echo::start("a").await;
    let to = echo.address();
    let gateway = start(&format!(
        "routes:\n  /abort: {{ fault: {{ abort: 418 }}, to: \"http://{to}\" }}\n  /late: {{ timeout: \
         200ms, fault: {{ delay: 4m }}, to: \"http://{to}\" }}\n  /held: {{ fault: {{ delay: 10ms }}, \
         to: \"http://{to}\" }}\n"
    ))
    .await;
    let answer = gateway.get("/abort").await;
    assert_eq!((answer.status, answer.reason()), (418, Some("fault_injected")));
    assert_eq!(answer.json()["status"], 418);
    let answer = within("the deadline", gateway.get("/late")).await;
    assert_eq!((answer.status, answer.reason()), (504, Some("upstream_timeout")));
    assert!(echo.seen().is_empty(), "what is refused or late never arrives");
    assert_eq!(gateway.get("/held").await.endpoint(), "a");
}
