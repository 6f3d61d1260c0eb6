//! What an operator does there: log in, watch, drain, purge, search, ask why.

use lockgate_testkit::{Browser, Echo, Gateway, Load, Port, request, until};
use serde_json::Value;

use super::{page, was_clean};
use crate::support::{start, upstream};

const TOKEN: &str = "let-me-in-please";

#[tokio::test]
async fn one_logs_in_and_sees_a_line_move_under_load() {
    let gateway = start(&format!(
        "admin: {{ address: \"127.0.0.1:$ADMIN\", token: {TOKEN} }}\n\
         routes: {{ /*: {{ to: {{ respond: {{}} }} }} }}\n"
    ))
    .await;
    let browser = Browser::open().await;
    browser.go(&page(&gateway, "")).await;
    browser.reads("h1", "Lockgate").await;
    browser.enter("#token", "guess\n").await;
    browser.reads("[role=alert]", "That is not the token.").await;
    // That answer is a 403, which a console tells of; from here on there is nothing to tell.
    browser.complaints().await;
    browser.fetched().await;
    browser.enter("#token", &format!("{TOKEN}\n")).await;
    browser.reads("h1", "Overview").await;
    let fetched = browser.fetched().await;
    let bytes: u64 = fetched.iter().map(|one| one.bytes).sum();
    assert!((2_000..100_000).contains(&bytes), "the first page: {bytes} bytes, {fetched:#?}");

    // What the page is changed into by its script is still the same page.
    browser.run("window.unmoved = true").await;
    let line = "return document.querySelector('polyline.requests')?.getAttribute('points') ?? null";
    until("a first point", async || !browser.run(line).await.is_null()).await;
    let before = browser.run(line).await;
    let load = Load::start(gateway.web(), 2, &request("GET", "/", &[], ""));
    until("the load in the figures", async || {
        let rate = browser.text(".tile:first-child b").await.replace(',', "");
        rate.parse::<f64>().is_ok_and(|rate| rate > 10.0)
    })
    .await;
    let after = browser.run(line).await;
    assert_ne!(before, after);
    let height = |points: &Value| {
        let points = points.as_str().unwrap_or_default().to_owned();
        let ys = points.split(' ').filter_map(|point| point.split_once(',')?.1.parse().ok());
        ys.fold(90.0, f64::min)
    };
    assert!(height(&before) > 80.0 && height(&after) < 10.0, "it rose: {before} {after}");
    assert_eq!(browser.run("return window.unmoved").await, true, "and was not loaded anew");
    load.stop().await.flawless(1);
    was_clean(&browser, &gateway).await;
    browser.click(".state form button").await;
    browser.reads("label", "Admin token").await;
}

async fn two_endpoints() -> (Echo, Echo, Gateway) {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let config = format!(
        "upstreams:\n{}routes: {{ /*: {{ to: pool }} }}\n",
        upstream("pool", &[a.address(), b.address()], "")
    );
    let gateway = start(&config).await;
    (a, b, gateway)
}

#[tokio::test]
async fn an_endpoint_is_drained_by_keys_alone_and_traffic_leaves_it() {
    let (a, b, gateway) = two_endpoints().await;
    let load = Load::start(gateway.web(), 2, &request("GET", "/", &[], ""));
    let browser = Browser::open().await;
    browser.go(&page(&gateway, "/upstreams")).await;
    // Pages that change by themselves must not take the focus away: some time passes here.
    browser.tab_to(&format!("[aria-label='Drain {}']", b.address())).await;
    browser.reads("h1", "Are you sure?").await;
    browser.reads("main", "pool keeps 1 of 2.").await;
    browser.tab_to("#confirm").await;
    browser.reads("[role=status]", "It is drained").await;
    browser.reads("td", "draining, by an operator").await;
    let drained = b.seen().len();
    load.more(50).await;
    assert_eq!(b.seen().len(), drained, "traffic has left it");
    assert!(!a.seen().is_empty());
    browser.tab_to(&format!("[aria-label='Clear {}']", b.address())).await;
    browser.tab_to("#confirm").await;
    browser.reads("[role=status]", "It is cleared").await;
    until("traffic to come back", async || b.seen().len() > drained).await;
    load.stop().await.flawless(50);
    was_clean(&browser, &gateway).await;
}

#[tokio::test]
async fn the_focus_stays_while_the_page_changes() {
    let (_a, b, gateway) = two_endpoints().await;
    let browser = Browser::open().await;
    browser.go(&page(&gateway, "/upstreams")).await;
    let focus = format!("[aria-label='Drain {}']", b.address());
    browser.run(&format!("document.querySelector(\"{focus}\").focus()")).await;
    let before = browser.text(".state time").await;
    until("two refreshes", async || browser.text(".state time").await > before).await;
    let kept = format!("return document.activeElement.matches(\"{focus}\")");
    assert_eq!(browser.run(&kept).await, true);
    browser.click("#pause").await;
    browser.reads("#pause", "Go on").await;
    let paused = browser.text(".state time").await;
    let mut events = 0;
    browser.run("window.ticks = 0; new EventSource('/admin/events').addEventListener('tick', () => ++window.ticks)").await;
    until("two ticks", async || {
        events = browser.run("return window.ticks").await.as_u64().unwrap_or_default();
        events >= 2
    })
    .await;
    assert_eq!(browser.text(".state time").await, paused, "it stands still");
    was_clean(&browser, &gateway).await;
}

#[tokio::test]
async fn one_purges_searches_and_is_told_why_something_is_not_there() {
    let (echo, dead) = (Echo::start("a").await, Port::reserve());
    let config = format!(
        "upstreams:\n{}{}routes:\n  /kept/*: {{ to: pool, cache: 60s }}\n  /other: {{ to: dead }}\n",
        upstream("pool", &[echo.address()], ""),
        upstream("dead", &[dead.address()], "")
    );
    let gateway = start(&config).await;
    for path in ["/kept/1", "/kept/1", "/nowhere?token=hush-hush", "/other"] {
        gateway.get(path).await;
    }
    let browser = Browser::open().await;
    browser.go(&page(&gateway, "/cache")).await;
    browser.reads("td", "example.test/kept/1").await;
    browser.click("[aria-label='Clear example.test/kept/1']").await;
    browser.reads("[role=status]", "1 answer is cleared.").await;
    assert!(gateway.get("/kept/1").await.header("age").is_none());

    browser.go(&page(&gateway, "/routes")).await;
    browser.enter("#filter", "cache\n").await;
    until("the search", async || browser.run("return location.search").await != "").await;
    assert_eq!(browser.text("td:first-child").await, "/kept/*");
    browser.click("td:first-child a").await;
    browser.reads("h1", "/kept/*").await;
    browser.reads("td", "lockgate.yaml:").await;

    browser.go(&page(&gateway, "/errors?kind=refused")).await;
    browser.reads("td", "no_route").await;
    let text = browser.text("main").await;
    assert!(text.contains("token=[redacted]") && !text.contains("hush"), "{text}");
    browser.click("[aria-label^='Explain GET /nowhere']").await;
    browser.reads("main", "404 no_route: no route matches").await;
    browser.go(&page(&gateway, "/errors?kind=failed")).await;
    browser.reads("td", "upstream_refused").await;
    was_clean(&browser, &gateway).await;
}

#[tokio::test]
async fn a_version_is_looked_at_and_gone_back_to() {
    let config = |status: u16| {
        format!(
            "admin: {{ address: \"127.0.0.1:$ADMIN\", state_dir: \"$DIR/state\" }}\n\
             routes: {{ /a: {{ to: {{ respond: {{ status: {status} }} }} }} }}\n"
        )
    };
    let gateway = start(&config(418)).await;
    let browser = Browser::open().await;
    browser.go(&page(&gateway, "/config")).await;
    browser.reads("td", "in force").await;
    gateway.rewrite(&config(204));
    until("the change", async || gateway.get("/a").await.status == 204).await;
    browser.go(&page(&gateway, "/config")).await;
    browser.reads("td code", "~ routes./a").await;
    browser.click("[aria-label='Go back to version 1']").await;
    browser.reads("h1", "Are you sure?").await;
    assert!(browser.text("del").await.contains("204"), "{}", browser.text("pre").await);
    assert!(browser.text("ins").await.contains("418"), "{}", browser.text("pre").await);
    browser.click("#confirm").await;
    browser.reads("[role=status]", "That version is in force again").await;
    assert_eq!(gateway.get("/a").await.status, 418);
    browser.reads("h2", "Changed over the files").await;
    browser.click("a[href$='/config/files']").await;
    browser.click("#confirm").await;
    browser.reads("[role=status]", "The files say it all again.").await;
    assert_eq!(gateway.get("/a").await.status, 204);
    // A page that is older than what is in force changes nothing.
    browser.go(&page(&gateway, "/config/back?number=1")).await;
    gateway.rewrite(&config(410));
    until("another change", async || gateway.get("/a").await.status == 410).await;
    browser.click("#confirm").await;
    browser.reads("[role=alert]", "It is refused").await;
    assert_eq!(gateway.get("/a").await.status, 410);
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test]
async fn without_javascript_it_refreshes_itself() {
    let gateway = start("routes: { /*: { to: { respond: {} } } }\n").await;
    let browser = Browser::open().await;
    browser.scripts(false).await;
    browser.go(&page(&gateway, "")).await;
    browser.reads("h1", "Overview").await;
    let shown = browser.run("return document.querySelector('#pause').getClientRects().length");
    assert_eq!(shown.await, 0, "what needs a script is not shown");
    let total = ".tile:nth-child(7) b";
    assert_eq!(browser.text(total).await, "0");
    for _ in 0..3 {
        gateway.get("/").await;
    }
    browser.reads(total, "3").await;
    was_clean(&browser, &gateway).await;
}
