//! Where a configuration comes from when it is not one file: a directory, an etcd, a Redis.

mod directory;
mod etcd;
mod file;
mod redis;

use lockgate_testkit::{Gateway, until};
use serde_json::Value;

/// A configuration of one route, which answers with this word.
fn saying(path: &str, word: &str) -> String {
    format!("routes:\n  {path}: {{ to: {{ respond: {{ body: {word} }} }} }}\n")
}

/// Waits until a path is answered with a word.
async fn says(gateway: &Gateway, path: &str, word: &str) {
    let what = format!("the answer {word} to {path}");
    until(&what, async || gateway.get(path).await.text() == word).await;
}

/// What the gateway tells of its source.
async fn source(gateway: &Gateway) -> Value {
    gateway.admin("GET", "/admin/source", "").await.json()
}

/// Waits until it tells that its source is so.
async fn is(gateway: &Gateway, state: &str) {
    until(&format!("the source to be {state}"), async || source(gateway).await["state"] == state)
        .await;
}
