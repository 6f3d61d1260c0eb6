//! `rate_limit` and `quota` over real sockets: what a client is told, what survives a reload, and
//! what operators see.

use lockgate_testkit::{Answer, Echo, Gateway, until};

use crate::support::{launch, start};

fn limited(limit: &str, echo: &Echo) -> String {
    format!("routes:\n  /*: {{ rate_limit: {limit}, to: \"http://{}\" }}\n", echo.address())
}

async fn statuses(gateway: &Gateway, count: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(gateway.get("/").await.status);
    }
    all
}

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}")).parse().unwrap()
}

#[tokio::test]
async fn what_is_over_the_limit_is_refused_and_told_when_it_may_come_again() {
    let echo = Echo::start("a").await;
    let gateway = start(&limited("{ limit: 2/h, name: hourly }", &echo)).await;
    let first = gateway.get("/").await;
    assert_eq!(first.status, 200);
    assert_eq!((number(&first, "RateLimit-Limit"), number(&first, "RateLimit-Remaining")), (2, 1));
    assert_eq!(first.header("RateLimit-Policy"), Some("\"hourly\";q=2;w=3600"));
    assert_eq!(gateway.get("/").await.status, 200);

    let refused = gateway.get("/").await;
    assert_eq!((refused.status, refused.reason()), (429, Some("rate_limited")));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problem = refused.json();
    assert_eq!((&problem["limit"], &problem["allowed"]), (&"hourly".into(), &"2/h".into()));
    assert_eq!(problem["status"], 429);
    let wait = number(&refused, "Retry-After");
    assert!((3_500..=3_660).contains(&wait), "{wait}");
    assert_eq!(number(&refused, "RateLimit-Remaining"), 0);

    let line = gateway.logged(|line| line["status"] == 429).await;
    assert_eq!(line["reason"], "rate_limited");
    let metrics = gateway.metrics().await;
    let labels = [("policy", "rate_limit"), ("limit", "hourly"), ("dry_run", "false")];
    assert_eq!(metrics.sum("lockgate_limit_refusals_total", &labels), 1.0);
    assert_eq!(metrics.sum("lockgate_limit_keys", &[]), 1.0);
    assert!(metrics.sum("lockgate_limit_bytes", &[]) > 0.0);
}

#[tokio::test]
async fn all_workers_and_connections_count_together() {
    let echo = Echo::start("a").await;
    let config = format!("workers: 2\n{}", limited("10/h", &echo));
    let gateway = start(&config).await;
    let asking = (0..40).map(|_| gateway.get("/"));
    let answers = futures_util::future::join_all(asking).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(passed, 10);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 429)));
}

#[tokio::test]
async fn a_reload_keeps_what_has_been_counted() {
    let echo = Echo::start("a").await;
    let gateway = start(&limited("3/h", &echo)).await;
    assert_eq!(statuses(&gateway, 2).await, [200, 200]);
    gateway.rewrite(&format!("{}  /new: {{ to: {{ respond: {{}} }} }}\n", limited("3/h", &echo)));
    reloaded(&gateway, 2).await;
    assert_eq!(statuses(&gateway, 2).await, [200, 429]);
    // More is allowed from now on; what has been taken stays taken.
    gateway.rewrite(&limited("5/h", &echo));
    reloaded(&gateway, 3).await;
    assert_eq!(statuses(&gateway, 3).await, [200, 200, 429]);
}

async fn reloaded(gateway: &Gateway, generation: u64) {
    until("the reload", async || {
        gateway.admin("GET", "/health", "").await.json()["generation"] == generation
    })
    .await;
}

#[tokio::test]
async fn two_limits_are_spent_together_or_not_at_all() {
    let echo = Echo::start("a").await;
    let limits = "[{ limit: 2/h, by: \"header:x-user\", name: user }, { limit: 4/h, name: all }]";
    let gateway = start(&limited(limits, &echo)).await;
    let ask = async |user| gateway.ask("GET", "/", &[("X-User", user)], "").await;
    for expected in [200, 200, 429, 429, 429] {
        assert_eq!(ask("a").await.status, expected);
    }
    // The three refused ones have not cost the other limit anything.
    for expected in [200, 200, 429] {
        assert_eq!(ask("b").await.status, expected);
    }
    let both = ask("c").await;
    assert_eq!((both.status, &both.json()["limit"]), (429, &"all".into()));
    assert_eq!(both.header("ratelimit-policy"), Some("\"user\";q=2;w=3600, \"all\";q=4;w=3600"));
    let user = gateway.admin("GET", "/admin/ratelimiter/stats", "").await.json();
    let keys: Vec<_> = user["refusedMost"].as_array().unwrap().iter().collect();
    assert!(keys.iter().any(|one| one["key"] == "127.0.0.1"), "{keys:?}");
    // A header may be a credential.
    assert!(keys.iter().any(|one| one["key"].as_str().unwrap().starts_with('#')), "{keys:?}");
    assert_eq!(user["table"]["keys"], 3);
    let limits = user["limits"].as_array().unwrap();
    let refused = |name: &str| limits.iter().find(|one| one["limit"] == name).unwrap();
    assert_eq!(refused("user")["refused"], 4, "{limits:?}");
    assert_eq!(refused("all")["refused"], 2, "{limits:?}");
}

#[tokio::test]
async fn a_dry_run_refuses_nobody_and_tells_whom_it_would_have() {
    let echo = Echo::start("a").await;
    let gateway = start(&limited("{ limit: 1/h, dry_run: true }", &echo)).await;
    assert_eq!(statuses(&gateway, 3).await, [200; 3]);
    let metrics = gateway.metrics().await;
    let dry = [("dry_run", "true")];
    assert_eq!(metrics.sum("lockgate_limit_refusals_total", &dry), 2.0);
    let explained = gateway.cli(&["explain", "GET", "/", "-c", "lockgate.yaml"]).await;
    assert!(explained.stdout.contains("dry run"), "{explained:?}");
}

#[tokio::test]
async fn only_failures_count_where_it_says_so() {
    let echo = Echo::start("a").await;
    let gateway = start(&limited("{ limit: 2/h, count: failures }", &echo)).await;
    for (path, expected) in [
        ("/", 200),
        ("/", 200),
        ("/", 200),
        ("/status/401", 401),
        ("/", 200),
        ("/status/403", 403),
        ("/", 429),
    ] {
        assert_eq!(gateway.get(path).await.status, expected, "{path}");
    }
}

#[tokio::test]
async fn failures_at_once_do_not_get_past_the_limit() {
    let echo = Echo::start("a").await;
    let gateway = start(&limited("{ limit: 3/h, count: failures }", &echo)).await;
    let asking = (0..20).map(|_| gateway.get("/status/401"));
    let answers = futures_util::future::join_all(asking).await;
    let tried = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(tried, 3);
}

#[tokio::test]
async fn a_quota_is_listed_with_who_has_used_how_much() {
    let echo = Echo::start("a").await;
    let config = format!(
        "routes:\n  /*: {{ quota: {{ limit: 2/month, by: ip }}, to: \"http://{}\" }}\n",
        echo.address()
    );
    let gateway = start(&config).await;
    assert_eq!(gateway.admin("GET", "/admin/quotas", "").await.json()["total"], 0);
    let first = gateway.get("/").await;
    assert_eq!((number(&first, "X-Quota-Limit"), number(&first, "X-Quota-Remaining")), (2, 1));
    assert!(number(&first, "X-Quota-Reset") <= 31 * 86_400);
    gateway.get("/").await;
    let refused = gateway.get("/").await;
    assert_eq!((refused.status, refused.reason()), (429, Some("quota_exceeded")));
    let listed = gateway.admin("GET", "/admin/quotas?filter=127.0.0", "").await.json();
    assert_eq!((&listed["total"], &listed["offset"]), (&1.into(), &0.into()), "{listed}");
    let listed = &listed["quotas"];
    assert_eq!(listed[0]["key"], "127.0.0.1");
    assert_eq!((&listed[0]["used"], &listed[0]["of"]), (&2.into(), &2.into()));
    assert!(listed[0]["limit"].as_str().unwrap().starts_with("quota ("), "{listed}");
}

#[tokio::test]
async fn a_store_that_is_away_is_counted_for_locally_or_refused() {
    let config = "stores: { shared: redis://127.0.0.1:1, own: memory }\nroutes:\n  \
                  /a: { rate_limit: { limit: 1/h, store: own }, to: { respond: {} } }\n  \
                  /b: { rate_limit: { limit: 1/h, store: shared }, to: { respond: {} } }\n  \
                  /c: { rate_limit: { limit: 1/h, store: shared, on_store_error: deny }, \
                  to: { respond: {} } }\n  \
                  /d: { rate_limit: { limit: 1/h, store: shared, on_store_error: allow }, \
                  to: { respond: {} } }\n";
    let gateway = start(config).await;
    assert_eq!(gateway.get("/b").await.status, 200);
    assert_eq!(gateway.get("/b").await.status, 429, "counted here");
    let denied = gateway.get("/c").await;
    assert_eq!((denied.status, denied.reason()), (503, Some("store_unavailable")));
    for _ in 0..3 {
        assert_eq!(gateway.get("/d").await.status, 200, "not counted at all");
    }
}

#[tokio::test]
async fn a_limit_in_defaults_is_one_for_all_routes() {
    let config = "defaults: { rate_limit: 2/h }\nroutes:\n  \
                  /a: { to: { respond: { body: a } } }\n  \
                  /b: { to: { respond: { body: b } } }\n  \
                  /c: { rate_limit: off, to: { respond: { body: c } } }\n";
    let gateway = launch().start(config).await;
    assert_eq!(gateway.get("/a").await.status, 200);
    assert_eq!(gateway.get("/b").await.status, 200);
    assert_eq!(gateway.get("/a").await.status, 429);
    assert_eq!(gateway.get("/b").await.status, 429);
    assert_eq!(gateway.get("/c").await.status, 200);
}
