//! Cross-origin requests: a preflight finds the route that it asks about, whoever else has the
//! path, and the gateway's own refusals may be read.

use lockgate_testkit::{Answer, Echo, Gateway, Port};

use crate::support::{cli_on, start};

const APP: &str = "https://app.example";

async fn preflight(gateway: &Gateway, path: &str, method: &str) -> Answer {
    let headers = [("Origin", APP), ("Access-Control-Request-Method", method)];
    gateway.ask("OPTIONS", path, &headers, "").await
}

#[tokio::test]
async fn a_preflight_is_led_by_the_method_that_it_asks_for() {
    let echo = Echo::start("a").await;
    let to = echo.address();
    let cors = format!("cors: {{ origins: \"{APP}\", methods: [PUT], max_age: 10m }}");
    let gateway = start(&format!(
        "routes:\n  PUT /x: {{ {cors}, to: \"http://{to}\" }}\n  GET /x: {{ to: \"http://{to}\" }}\n  \
         /all/*: {{ {cors}, to: \"http://{to}\" }}\n  OPTIONS /own: {{ to: \"http://{to}\" }}\n  \
         PATCH /own: {{ {cors}, to: \"http://{to}\" }}\n  POST /own: {{ to: \"http://{to}\" }}\n"
    ))
    .await;
    for (path, method) in [("/x", "PUT"), ("/all/y", "PUT"), ("/own", "PATCH")] {
        let answer = preflight(&gateway, path, method).await;
        assert_eq!(answer.status, 204, "{path}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP), "{path}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("PUT"), "{path}");
        assert_eq!(answer.header("access-control-max-age"), Some("600"), "{path}");
        assert_eq!(answer.header("allow"), None, "{path}");
    }
    let line = gateway.logged(|line| line["path"] == "/x").await;
    assert_eq!(line["route"], "PUT /x", "{line}");

    // Where the method's route says nothing of it, OPTIONS is what it was.
    let answer = preflight(&gateway, "/x", "GET").await;
    assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, HEAD, OPTIONS, PUT")));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(preflight(&gateway, "/own", "POST").await.endpoint(), "a");
    assert_eq!(gateway.ask("OPTIONS", "/own", &[], "").await.endpoint(), "a");
    assert_eq!(preflight(&gateway, "/none", "PUT").await.reason(), Some("no_route"));
}

#[tokio::test]
async fn a_choice_is_made_as_for_the_method_asked_for() {
    let gateway = start(
        "routes:\n  /x:\n    - when: { method: PUT }\n      cors: https://app.example\n      \
         to: { respond: { body: put } }\n    - to: { respond: { body: other } }\n",
    )
    .await;
    let answer = preflight(&gateway, "/x", "PUT").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    let answer = preflight(&gateway, "/x", "DELETE").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "other"));
}

#[tokio::test]
async fn the_gateways_own_refusal_may_be_read() {
    let dead = Port::reserve().address();
    let cors = format!("{{ origins: \"{APP}\", credentials: true }}");
    let gateway =
        start(&format!("routes:\n  /*: {{ cors: {cors}, to: \"http://{dead}\" }}\n")).await;
    let answer = gateway.ask("GET", "/", &[("Origin", APP)], "").await;
    assert_eq!((answer.status, answer.reason()), (502, Some("upstream_refused")));
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let answer = gateway.ask("GET", "/", &[("Origin", "https://evil.test")], "").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn explain_leads_a_preflight_the_same_way() {
    let config = "routes:\n  PUT /x: { cors: https://app.example, to: { respond: {} } }\n  \
                  GET /x: { to: { respond: {} } }\n";
    let headers = |method: &str| {
        let asked = format!("Access-Control-Request-Method: {method}");
        ["-H".to_owned(), format!("Origin: {APP}"), "-H".to_owned(), asked]
    };
    for (method, says) in [("PUT", "a preflight, led as PUT"), ("GET", "204, with the methods")] {
        let headers = headers(method);
        let mut arguments = vec!["explain", "OPTIONS", "/x", "-c", "lockgate.yaml"];
        arguments.extend(headers.iter().map(String::as_str));
        let ran = cli_on(config, &arguments).await;
        assert!(ran.stdout.contains(says), "{method}: {} {}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout.contains("cors"), method == "PUT", "{}", ran.stdout);
    }
}
