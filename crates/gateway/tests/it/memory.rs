//! What a large configuration costs in memory, and that replacing it again and again costs no more.

use std::fmt::Write;

use lockgate_testkit::{Gateway, until};

use crate::support::start;

/// What five thousand routes may add to a process that has few. They take 11 to 16 MB here, two of
/// them to be kept as they were read.
const MOST: f64 = 18e6;

/// Routes over fifty upstreams: one in two inherits two policies, the others have one of their own.
fn many(count: usize, word: &str) -> String {
    let mut text = String::from(
        "defaults:\n  headers:\n    - { request: { set: { X-Gateway: one, X-Zone: two } } }\n    \
         - { response: { set: { X-Frame-Options: DENY } } }\nupstreams:\n",
    );
    for n in 0..50 {
        let _ = writeln!(text, "  service-{n}: {{ endpoints: \"127.0.0.1:9\", health: off }}");
    }
    let _ = writeln!(text, "routes:\n  /word: {{ to: {{ respond: {{ body: {word} }} }} }}");
    for n in 0..count {
        let (upstream, team) = (n % 50, n % 97);
        let _ = writeln!(text, "  GET /services/{upstream}/team-{team}/resource-{n}/{{id}}:");
        if n % 2 == 0 {
            let _ =
                writeln!(text, "    headers: {{ request: {{ set: {{ X-R: \"{word}{n}\" }} }} }}");
        }
        let _ = writeln!(text, "    to: service-{upstream}");
    }
    text
}

async fn resident(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("process_resident_memory_bytes", &[])
}

async fn replace(gateway: &Gateway, count: usize, word: &str) {
    gateway.rewrite(&many(count, word));
    until(word, async || gateway.get("/word").await.text() == word).await;
}

#[tokio::test]
async fn five_thousand_routes_are_small_and_stay_so_when_they_are_replaced() {
    let gateway = start(&many(50, "few")).await;
    let few = resident(&gateway).await;
    let settles = async |what: &str| {
        until(what, async || resident(&gateway).await - few < MOST).await;
    };
    replace(&gateway, 5_000, "first").await;
    settles("five thousand routes to take little").await;
    for word in ["second", "third", "fourth", "fifth", "sixth"] {
        replace(&gateway, 5_000, word).await;
    }
    settles("the replaced routes to be let go").await;
}
