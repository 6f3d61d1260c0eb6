//! Reloading: a changed file is live at once, a bad one changes nothing, and what has not changed
//! does not notice.

use std::io::Write;

use lockgate_testkit::{Echo, Gateway, H2, Pieces, Socket, Wire, request, until};

use crate::support::{pool, start, to, upstream};

fn saying(word: &str) -> String {
    format!("routes:\n  /*: {{ to: {{ respond: {{ body: {word} }} }} }}\n")
}

async fn says(gateway: &Gateway, word: &str) {
    until(&format!("the answer {word}"), async || gateway.get("/").await.text() == word).await;
}

#[tokio::test]
async fn a_changed_file_is_live_without_being_asked() {
    let gateway = start(&saying("one")).await;
    says(&gateway, "one").await;
    for word in ["two", "three", "four"] {
        gateway.rewrite(&saying(word));
        says(&gateway, word).await;
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("lockgate_config_generation", &[]), 4.0);
    assert_eq!(metrics.sum("lockgate_config_last_reload_successful", &[]), 1.0);
}

#[tokio::test]
async fn a_file_written_in_place_is_seen_too() {
    let gateway = start(&saying("one")).await;
    let path = gateway.dir().path().join("lockgate.yaml");
    let text = std::fs::read_to_string(&path).unwrap().replace("body: one", "body: two");
    std::fs::write(&path, text).unwrap();
    says(&gateway, "two").await;
}

#[tokio::test]
async fn a_change_while_another_is_read_is_not_lost() {
    let many = |word: &str| {
        let routes =
            (0..300).map(|n| format!("  /{n}: {{ to: {{ respond: {{ body: {word} }} }} }}\n"));
        saying(word) + &routes.collect::<String>()
    };
    let gateway = start(&many("one")).await;
    says(&gateway, "one").await;
    for n in 0..12_u64 {
        gateway.rewrite(&many(&format!("first-{n}")));
        tokio::time::sleep(std::time::Duration::from_millis(4 + n * 3)).await;
        gateway.rewrite(&many(&format!("second-{n}")));
        says(&gateway, &format!("second-{n}")).await;
    }
}

#[tokio::test]
async fn an_emptied_file_takes_nothing_away() {
    let gateway = start(&saying("one")).await;
    let path = gateway.dir().path().join("lockgate.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    for blank in ["", "\n  \n", "# todo\n"] {
        let told = || gateway.said().matches("there is nothing in it").count();
        let before = told();
        std::fs::write(&path, blank).unwrap();
        gateway.signal("HUP");
        until("the refusal", async || told() > before).await;
        assert_eq!(gateway.get("/").await.text(), "one");
    }
    std::fs::write(&path, text.replace("body: one", "body: two")).unwrap();
    says(&gateway, "two").await;
}

#[tokio::test]
async fn a_hangup_reads_the_file_again() {
    let gateway = start(&saying("one")).await;
    gateway.rewrite(&saying("two"));
    gateway.signal("HUP");
    says(&gateway, "two").await;
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_one_and_says_why() {
    let mut gateway = start(&saying("one")).await;
    for bad in ["routes:\n  /*: { to: nobody }\n", "routes: [", "routes:\n  /a: { tu: {} }\n"] {
        let refused = gateway.metrics().await;
        let before = refused.sum("lockgate_config_reloads_total", &[("result", "refused")]);
        gateway.rewrite(bad);
        until("the refusal", async || {
            let metrics = gateway.metrics().await;
            metrics.sum("lockgate_config_reloads_total", &[("result", "refused")]) > before
        })
        .await;
        assert_eq!(gateway.get("/").await.text(), "one");
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.sum("lockgate_config_last_reload_successful", &[]), 0.0);
        assert_eq!(metrics.sum("lockgate_config_generation", &[]), 1.0);
    }
    assert!(gateway.said().contains("nobody"), "{}", gateway.said());
    assert!(gateway.runs());
    gateway.rewrite(&saying("two"));
    says(&gateway, "two").await;
    assert_eq!(gateway.metrics().await.sum("lockgate_config_last_reload_successful", &[]), 1.0);
}

#[tokio::test]
async fn an_included_file_is_watched_too() {
    let config = "include: [more.yaml]\nroutes:\n  /own: { to: { respond: { body: own } } }\n";
    let gateway = crate::support::launch().file("more.yaml", saying("one")).start(config).await;
    says(&gateway, "one").await;
    gateway.dir().write("more.yaml", saying("two"));
    says(&gateway, "two").await;
}

#[tokio::test]
async fn a_new_file_that_a_pattern_means_is_noticed() {
    let config = "include: [parts/*.yaml]\n";
    let gateway = crate::support::launch().file("parts/a.yaml", saying("one")).start(config).await;
    says(&gateway, "one").await;
    gateway.dir().write("parts/b.yaml", "routes:\n  /b: { to: { respond: { body: b } } }\n");
    until("the new route", async || gateway.get("/b").await.text() == "b").await;
    std::fs::remove_file(gateway.dir().path().join("parts/b.yaml")).unwrap();
    until("the route's end", async || gateway.get("/b").await.text() == "one").await;
}

#[tokio::test]
async fn what_is_wrong_in_a_new_file_may_be_put_right_there() {
    let gateway = start(&saying("one")).await;
    gateway.dir().write("more.yaml", "routes: { /x: { to: nobody } }\n");
    gateway.rewrite("include: [more.yaml]\n");
    until("the refusal", async || gateway.said().contains("nobody")).await;
    assert_eq!(gateway.get("/").await.text(), "one");
    gateway.dir().write("more.yaml", saying("two"));
    says(&gateway, "two").await;
}

#[tokio::test]
async fn the_same_length_at_the_same_time_is_a_change_too() {
    let gateway = start(&saying("0000")).await;
    let path = gateway.dir().path().join("lockgate.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let when = std::fs::metadata(&path).unwrap().modified().unwrap();
    for n in 1..10 {
        let word = format!("{n:04}");
        let mut file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all(text.replace("0000", &word).as_bytes()).unwrap();
        file.set_modified(when).unwrap();
        says(&gateway, &word).await;
    }
}

#[tokio::test]
async fn a_new_name_is_known_when_it_goes_live() {
    let echo = Echo::start("a").await;
    let gateway = start(&saying("one")).await;
    let port = echo.address().port();
    gateway.rewrite(&format!("routes:\n  /*: {{ to: \"http://localhost:{port}\" }}\n"));
    until("the new route", async || {
        let answer = gateway.get("/").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text() != "one"
    })
    .await;
}

#[tokio::test]
async fn what_is_open_lives_on() {
    let echo = Echo::start("a").await;
    let gateway = start(&to(echo.address())).await;
    let mut socket = Socket::open(gateway.wire().await, "/ws", &[]).await.unwrap();
    socket.echoes("before").await;
    let mut stream = gateway.wire().await;
    stream.send(request("GET", "/gated/3", &[], "")).await;
    let mut head = stream.head("GET").await.unwrap();
    let mut kept = gateway.wire().await;
    assert_eq!(kept.ask(request("GET", "/", &[], "")).await.status, 200);
    let mut h2 = H2::plain(gateway.web()).await;
    assert_eq!(h2.get("a.test", "/").await.status, 200);

    gateway.rewrite(&saying("two"));
    says(&gateway, "two").await;

    socket.echoes("after").await;
    echo.open(2);
    let mut body = Vec::new();
    while let Some(piece) = stream.piece(&mut head).await.unwrap() {
        body.extend(piece);
    }
    assert_eq!(body, b"piece 0\npiece 1\npiece 2\n");
    assert_eq!(kept.ask(request("GET", "/", &[], "")).await.text(), "two");
    assert_eq!(h2.get("a.test", "/").await.text(), "two");
    assert!(!h2.is_closed());
    socket.echoes("and later").await;
}

#[tokio::test]
async fn a_request_sees_one_configuration() {
    let echo = Echo::start("a").await;
    let gateway = start(&to(echo.address())).await;
    let mut wire = gateway.wire().await;
    wire.send(request("GET", "/wait", &[], "")).await;
    until("the request", async || echo.hits() == 1).await;
    gateway.rewrite(&saying("two"));
    says(&gateway, "two").await;
    echo.open(1);
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.endpoint()), (200, "a"));
}

#[tokio::test]
async fn an_untouched_upstream_keeps_its_pool_and_its_turn() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let config = |n: usize| {
        pool(&[a.address(), b.address()], "")
            + &format!("  /more: {{ to: {{ respond: {{ body: more {n} }} }} }}\n")
    };
    let gateway = start(&config(0)).await;
    let mut wire = gateway.wire().await;
    let mut turn = Vec::new();
    for n in 0..9 {
        if n % 3 == 1 {
            gateway.rewrite(&config(n));
            until("the changed route", async || {
                gateway.get("/more").await.text() == format!("more {n}")
            })
            .await;
        }
        turn.push(wire.ask(request("GET", "/", &[], "")).await.endpoint().to_owned());
    }
    assert!(turn.windows(2).all(|pair| pair[0] != pair[1]), "turn by turn: {turn:?}");
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test]
async fn an_untouched_upstream_keeps_its_health() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let settings = "outlier: { consecutive: 2, eject_for: 60s }\nretry: { attempts: 0 }";
    let config = pool(&[a.address(), b.address()], settings);
    let gateway = start(&config).await;
    a.answer_with(500);
    for _ in 0..6 {
        gateway.get("/").await;
    }
    a.answer_with(0);
    let hits = a.hits();
    gateway.rewrite(&(config + "  /new: { to: { respond: { body: new } } }\n"));
    until("the new route", async || gateway.get("/new").await.text() == "new").await;
    for _ in 0..6 {
        assert_eq!(gateway.get("/").await.endpoint(), "b");
    }
    assert_eq!(a.hits(), hits, "it is still ejected");
}

#[tokio::test]
async fn endpoints_come_and_go() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let gateway = start(&pool(&[a.address()], "")).await;
    assert_eq!(gateway.get("/").await.endpoint(), "a");
    gateway.rewrite(&pool(&[b.address()], ""));
    until("the other endpoint", async || gateway.get("/").await.endpoint() == "b").await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.endpoint(), "b");
    }
}

#[tokio::test]
async fn listeners_come_and_go() {
    let both = "listeners: { web: \"127.0.0.1:$WEB\", more: \"127.0.0.1:$MORE\" }\n";
    let one = "listeners: { web: \"127.0.0.1:$WEB\" }\n";
    let gateway = start(&(one.to_owned() + &saying("one"))).await;
    let more = gateway.at("MORE");
    assert!(Wire::try_connect(more).await.is_err());
    gateway.rewrite(&(both.to_owned() + &saying("two")));
    until("the new listener", async || Wire::try_connect(more).await.is_ok()).await;
    let mut kept = Wire::connect(more).await;
    assert_eq!(kept.ask(request("GET", "/", &[], "")).await.text(), "two");
    gateway.rewrite(&(one.to_owned() + &saying("three")));
    until("the listener to close", async || Wire::try_connect(more).await.is_err()).await;
    says(&gateway, "three").await;
}

#[tokio::test]
async fn a_listener_gets_another_name_or_address_on_its_own_port() {
    let gateway = start(&saying("one")).await;
    for (listeners, word) in [
        ("{ other: \"127.0.0.1:$WEB\" }", "two"),
        ("{ other: \"0.0.0.0:$WEB\" }", "three"),
        ("{ web: \"127.0.0.1:$WEB\" }", "four"),
    ] {
        gateway.rewrite(&format!("listeners: {listeners}\n{}", saying(word)));
        // A connection that waits while its address closes may be lost; no other is.
        until("the new configuration", async || {
            let Ok(mut wire) = Wire::try_connect(gateway.web()).await else { return false };
            let ask = request("GET", "/", &[], "");
            wire.try_send(ask.as_bytes(), std::time::Duration::from_secs(1)).await
                && wire.answer_to("GET").await.is_ok_and(|answer| answer.text() == word)
        })
        .await;
    }
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("lockgate_config_reloads_total", &[("result", "refused")]), 0.0);
}

#[tokio::test]
async fn limits_of_the_new_file_hold_for_new_requests() {
    let gateway = start(&saying("one")).await;
    let long = format!("/{}", "x".repeat(3000));
    assert_eq!(gateway.get(&long).await.status, 200);
    gateway.rewrite(&format!("http: {{ max_uri: 1KiB }}\n{}", saying("two")));
    says(&gateway, "two").await;
    assert_eq!(gateway.get(&long).await.status, 414);
}

#[tokio::test]
async fn what_needs_a_restart_is_said_so() {
    let gateway = start(&saying("one")).await;
    gateway.rewrite(&format!("workers: 3\n{}", saying("two")));
    says(&gateway, "two").await;
    until("a word about it", async || {
        let said = gateway.said();
        said.contains("workers") && said.contains("restart")
    })
    .await;
}

#[tokio::test]
async fn an_upstream_may_change_its_protocol() {
    let echo = Echo::h2c("a").await;
    let config = |http2: bool| {
        format!(
            "upstreams:\n{}routes:\n  /*: {{ to: pool }}\n",
            upstream("pool", &[echo.address()], &format!("http2: {http2}\noutlier: off"))
        )
    };
    let gateway = start(&config(false)).await;
    assert_eq!(gateway.get("/").await.status, 502, "HTTP/1.1 is not understood there");
    gateway.rewrite(&config(true));
    until("HTTP/2", async || gateway.get("/").await.status == 200).await;
    let mut h2 = H2::plain(gateway.web()).await;
    let request = h2.request("POST", "a.test", "/").body(Pieces::whole("body")).unwrap();
    assert_eq!(h2.ask(request).await.unwrap().json()["body"], "body");
}
