//! Lists of addresses in files: a change is live, a bad one changes nothing, and the address that
//! is asked about is the client's.

use lockgate_testkit::until;

use crate::support::launch;

const CONFIG: &str = "trusted_proxies: [127.0.0.1]\nroutes:\n  /*:\n    ip_filter: { files: { deny: \
                      bad.txt } }\n    to: { respond: { body: in } }\n";

#[tokio::test]
async fn a_changed_list_is_live_and_a_bad_one_changes_nothing() {
    let gateway = launch().file("bad.txt", "192.0.2.0/24\n").start(CONFIG).await;
    let from = |ip: &'static str| {
        let gateway = &gateway;
        async move { gateway.ask("GET", "/", &[("X-Forwarded-For", ip)], "").await }
    };
    let denied = from("192.0.2.7").await;
    assert_eq!((denied.status, denied.reason()), (403, Some("ip_denied")));
    assert_eq!(from("198.51.100.7").await.text(), "in");
    assert_eq!(gateway.get("/").await.text(), "in");

    gateway.dir().write("bad.txt", "# moved\n198.51.100.0/24\n");
    until("the new list", async || from("198.51.100.7").await.status == 403).await;
    assert_eq!(from("192.0.2.7").await.text(), "in");

    gateway.dir().write("bad.txt", "198.51.100.0/24\n192.0.2.0/240\n");
    until("the refusal", async || gateway.said().contains("line 2")).await;
    assert!(gateway.said().contains("bad.txt"), "{}", gateway.said());
    assert_eq!(from("198.51.100.7").await.status, 403);
    assert_eq!(from("192.0.2.7").await.text(), "in");

    gateway.dir().write("bad.txt", "");
    until("the empty list", async || from("198.51.100.7").await.status == 200).await;
}
