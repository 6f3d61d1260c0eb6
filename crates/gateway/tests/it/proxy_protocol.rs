//! The PROXY protocol: believed from trusted proxies, refused from others.

use lockgate_testkit::{Echo, Gateway, Wire, request};

use crate::support::{start, to};

async fn gateway(echo: &Echo, mode: &str, trusted: &str) -> Gateway {
    let config = format!(
        "trusted_proxies: [{trusted}]\nlisteners:\n  web: {{ address: \"127.0.0.1:$WEB\", \
         proxy_protocol: {mode} }}\n{}",
        to(echo.address())
    );
    start(&config).await
}

async fn ask(gateway: &Gateway, header: &[u8]) -> Option<String> {
    let mut wire = Wire::connect(gateway.web()).await;
    wire.send([header, request("GET", "/", &[], "").as_bytes()].concat()).await;
    wire.answer_to("GET").await.ok().filter(|answer| answer.status == 200)?.seen("x-forwarded-for")
}

fn version_2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([9, 8, 7, 6, 127, 0, 0, 1, 0x30, 0x39, 0, 80]);
    header
}

#[tokio::test]
async fn a_trusted_header_is_believed() {
    let echo = Echo::start("a").await;
    for mode in ["accept", "require"] {
        let gateway = gateway(&echo, mode, "127.0.0.1").await;
        let line = b"PROXY TCP4 9.8.7.6 127.0.0.1 12345 80\r\n";
        assert_eq!(ask(&gateway, line).await.as_deref(), Some("9.8.7.6"), "{mode}");
        assert_eq!(ask(&gateway, &version_2()).await.as_deref(), Some("9.8.7.6"), "{mode}");
        let log = gateway.logged(|_| true).await;
        assert_eq!(log["client_ip"], "9.8.7.6");
    }
}

#[tokio::test]
async fn a_header_may_be_missing_or_may_not() {
    let echo = Echo::start("a").await;
    let accept = gateway(&echo, "accept", "127.0.0.1").await;
    assert_eq!(ask(&accept, b"").await.as_deref(), Some("127.0.0.1"));
    let require = gateway(&echo, "require", "127.0.0.1").await;
    assert_eq!(ask(&require, b"").await, None);
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let echo = Echo::start("a").await;
    let line = b"PROXY TCP4 9.8.7.6 127.0.0.1 12345 80\r\n";
    for (mode, trusted) in
        [("accept", "10.0.0.0/8"), ("require", "10.0.0.0/8"), ("off", "127.0.0.1")]
    {
        let gateway = gateway(&echo, mode, trusted).await;
        let seen = ask(&gateway, line).await;
        assert_ne!(seen.as_deref(), Some("9.8.7.6"), "{mode} {trusted}");
    }
}

#[tokio::test]
async fn a_broken_header_ends_the_connection() {
    let echo = Echo::start("a").await;
    let gateway = gateway(&echo, "require", "127.0.0.1").await;
    let mut short = version_2();
    short.truncate(18);
    for header in [
        b"PROXY TCP4 nowhere 127.0.0.1 1 80\r\n".to_vec(),
        b"PROXY TCP4 9.8.7.6 127.0.0.1 99999 80\r\n".to_vec(),
        b"PROXY ".repeat(100),
        short,
    ] {
        assert_eq!(ask(&gateway, &header).await, None, "{header:?}");
    }
    assert_eq!(echo.hits(), 0);
}
