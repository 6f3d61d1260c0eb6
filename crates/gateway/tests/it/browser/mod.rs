//! The dashboard as operators meet it: in a real browser.

mod looks;
mod works;

use std::path::{Path, PathBuf};

use lockgate_testkit::{Browser, Gateway};

/// Where a page of the dashboard is.
fn page(gateway: &Gateway, path: &str) -> String {
    format!("http://{}/admin/status{path}", gateway.at("ADMIN"))
}

/// Where pictures are kept to be looked at.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots")
}

/// Asserts that nothing was complained of, and that nobody but the gateway was asked.
async fn was_clean(browser: &Browser, gateway: &Gateway) {
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:#?}");
    let own = format!("http://{}/", gateway.at("ADMIN"));
    for one in browser.fetched().await {
        assert!(one.url.starts_with(&own), "{} is of another place", one.url);
    }
}
