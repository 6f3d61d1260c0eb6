//! A configuration that is one file: what it includes may vanish, and so may a part of itself.

use lockgate_testkit::{Gateway, until};

use super::{is, saying, says, source};
use crate::support::launch;

async fn is_refused(gateway: &Gateway, word: &str) {
    is(gateway, "refused").await;
    let told = source(gateway).await["refused"].to_string();
    assert!(told.contains("no routes any more") && told.contains(word), "{told}");
    assert_eq!(gateway.get("/").await.text(), "first");
}

#[tokio::test]
async fn routes_that_vanish_from_a_file_stay_in_force_through_an_upgrade_too() {
    let launch = launch().file("routes/a.yaml", saying("/", "first"));
    let mut gateway = launch.start("include: routes/*.yaml\n").await;
    says(&gateway, "/", "first").await;
    let (there, away) =
        (gateway.dir().path().join("routes/a.yaml"), gateway.dir().path().join("a"));
    std::fs::rename(&there, &away).unwrap();
    is_refused(&gateway, "routes/a.yaml`").await;
    let upgrade = gateway.upgrade().await;
    assert_ne!(upgrade.code, 0, "{upgrade:?}");
    assert!(gateway.said().contains("a gateway serves already"), "{}", gateway.said());
    assert_eq!(gateway.get("/").await.text(), "first");
    std::fs::rename(&away, &there).unwrap();
    is(&gateway, "well").await;
    let upgrade = gateway.upgrade().await;
    assert_eq!(upgrade.code, 0, "{upgrade:?}");
    says(&gateway, "/", "first").await;

    gateway.rewrite(&saying("/", "first"));
    is(&gateway, "well").await;
    for vanished in ["telemetry: { access_log: off }\n", "routes:\n"] {
        gateway.rewrite(vanished);
        is_refused(&gateway, "lockgate.yaml`").await;
        gateway.rewrite(&saying("/", "first"));
        is(&gateway, "well").await;
    }
    gateway.rewrite("routes: {}\n");
    until("none to be meant", async || gateway.get("/").await.status == 404).await;
    is(&gateway, "well").await;
    assert_eq!(gateway.admin("GET", "/admin/ready", "").await.status, 503);
    let upgrade = gateway.upgrade().await;
    assert_eq!(upgrade.code, 0, "{upgrade:?}");
}
