//! How every page looks: from a telephone to a wall, in light and in dark, to eyes and to screen
//! readers. The pictures are kept.

use lockgate_testkit::{Browser, Echo, Gateway, Load, Port, request, until};
use serde_json::Value;

use super::{page, pictures, was_clean};
use crate::support::{launch, upstream};

/// Every page by its picture's name.
const PAGES: [(&str, &str); 16] = [
    ("overview", ""),
    ("errors", "/errors"),
    ("routes", "/routes"),
    ("route", "/route?pattern=/shop/*"),
    ("settings", "/route?pattern=/shop/*&settings=true"),
    ("upstreams", "/upstreams"),
    ("confirm", "/upstreams/confirm?service=pool&word=down"),
    ("uptime", "/uptime"),
    ("alerts", "/alerts"),
    ("limits", "/limits"),
    ("cache", "/cache"),
    ("explain", "/explain?url=http://shop.example/shop/1"),
    ("nowhere", "/explain?url=http://shop.example/nowhere"),
    ("config", "/config"),
    ("certificates", "/certificates"),
    ("none", "/routes?filter=nothing-has-this-name"),
];

/// A telephone, a desk, a wall.
const SIZES: [(u32, u32); 3] = [(360, 740), (1280, 800), (2560, 1440)];

/// What is wrong with a page for those who use it otherwise than its maker: a list of sentences.
const CHECK: &str = include_str!("check.js");

/// A gateway with a bit of everything on its pages.
async fn busy(good: &Echo, dead: &Port) -> Gateway {
    let probed = "health: { path: /, interval: 100ms, unhealthy_after: 1 }\nbreaker: {}";
    let config = format!(
        "upstreams:\n{}{}\
         defaults: {{ headers: {{ response: {{ set: {{ X-Shop: \"1\" }} }} }} }}\n\
         routes:\n  \
           /shop/*: {{ to: pool, cache: 60s }}\n  \
           /tight/*: {{ to: pool, rate_limit: {{ limit: 1/min, by: ip }} }}\n  \
           GET /a/very/long/path/with/{{many}}/segments/that/does/not/fit/{{anywhere}}/*: \
             {{ to: pool, rate_limit: {{ limit: 5000/day, by: ip }} }}\n  \
           /status/*: {{ to: broken }}\n  \
           POST /choice: [{{ when: {{ query: {{ x: \"1\" }} }}, to: pool }}, \
             {{ to: {{ redirect: {{ to: /shop }} }} }}]\n",
        upstream("pool", &[good.address()], ""),
        upstream("broken", &[good.address(), dead.address()], probed)
    );
    let gateway = launch().start(&config).await;
    let long = format!("/a/very/long/path/with/x/segments/that/does/not/fit/{}/1", "y".repeat(200));
    for path in [
        "/shop/1",
        "/shop/1",
        "/shop/2?page=1&key=hush",
        "/nowhere",
        "/status/500",
        "/tight/1",
        "/tight/2",
    ] {
        gateway.get(path).await;
    }
    for path in [long.as_str(), "/tight/3", "/status/503", "/shop/3"] {
        gateway.get(path).await;
    }
    gateway
}

#[tokio::test]
async fn every_page_fits_and_can_be_read() {
    let (good, dead) = (Echo::start("good").await, Port::reserve());
    let gateway = busy(&good, &dead).await;
    let load = Load::start(gateway.web(), 1, &request("GET", "/shop/1", &[], ""));
    let browser = Browser::open().await;
    // Some points of a line, and a limit that has refused.
    until("some samples", async || {
        gateway.admin("GET", "/admin/history", "").await.json()["total"].as_u64() >= Some(2)
    })
    .await;
    let mut wrong = Vec::new();
    for dark in [false, true] {
        for (name, path) in PAGES {
            for (width, height) in SIZES {
                browser.looks(width, height, dark).await;
                browser.go(&page(&gateway, path)).await;
                let scheme = if dark { "dark" } else { "light" };
                let found = browser.run(CHECK).await;
                for one in found.as_array().into_iter().flatten() {
                    let one = one.as_str().unwrap_or_default();
                    wrong.push(format!("{name} at {width} px, {scheme}: {one}"));
                }
                let whole = browser.run("return document.documentElement.scrollHeight").await;
                let whole = whole.as_u64().and_then(|whole| u32::try_from(whole).ok());
                let most = if width < 500 { 3000 } else { 2400 };
                let whole = whole.unwrap_or(height).clamp(height, most);
                browser.looks(width, whole, dark).await;
                let file = pictures().join(format!("{name}-{width}-{scheme}.png"));
                browser.picture(&file).await;
            }
        }
    }
    load.stop().await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    was_clean(&browser, &gateway).await;
}

#[tokio::test]
async fn the_check_finds_what_it_is_for() {
    let browser = Browser::open().await;
    let bad = "data:text/html,<title></title><main><h1>a</h1><h3>b</h3><input>\
               <p style='color:%23999'>faint</p><a href=x></a><i id=x></i><i id=x></i>\
               <div style='width:3000px'>wide</div></main>";
    browser.go(bad).await;
    let found = browser.run(CHECK).await;
    let found: Vec<&str> =
        found.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for what in [
        "no language",
        "no title",
        "wider than",
        "h3 after h1",
        "no label",
        "contrast",
        "no name",
        "twice",
        "no navigation",
    ] {
        assert!(found.iter().any(|one| one.contains(what)), "{what} is not in {found:#?}");
    }
}
