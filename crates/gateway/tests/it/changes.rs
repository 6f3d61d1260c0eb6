//! Changes of the configuration through the admin listener: checked, in force, kept, undone.

use lockgate_testkit::{Echo, Gateway, until};
use serde_json::{Value, json};

use crate::support::{launch, upstream};

const ADMIN: &str = "admin: { address: \"127.0.0.1:$ADMIN\", state_dir: \"$DIR/state\" }\n";
const FILE: &str = "lockgate.yaml";

fn config(echo: &Echo, routes: &str) -> String {
    format!("{ADMIN}upstreams:\n{}routes:\n{routes}", upstream("pool", &[echo.address()], ""))
}

async fn well(gateway: &Gateway, method: &str, path: &str, body: &str) -> Value {
    let answer = gateway.admin(method, path, body).await;
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    answer.json()
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    gateway.get(path).await.status
}

#[tokio::test]
async fn a_route_is_set_and_removed_and_outlives_the_process() {
    let echo = Echo::start("a").await;
    let file = config(&echo, "  /a: { to: pool }\n  GET /b/{id}: { to: pool }\n");
    let mut gateway = launch().start(&file).await;
    assert_eq!(status(&gateway, "/c/1").await, 404);

    let set = well(&gateway, "PUT", "/admin/routes/c/*", "{\"to\": \"pool\"}").await;
    assert_eq!((&set["generation"], &set["what"]), (&json!(2), &json!(["+ routes./c/*"])), "{set}");
    assert_eq!(status(&gateway, "/c/1").await, 200);
    // YAML, and a pattern with a method.
    let body = "respond: { status: 418 }";
    let body = format!("to: {{ {body} }}\n");
    well(&gateway, "PUT", "/admin/routes/GET%20/b/%7Bid%7D", &body).await;
    assert_eq!(status(&gateway, "/b/1").await, 418);
    well(&gateway, "DELETE", "/admin/routes/a", "").await;
    assert_eq!(status(&gateway, "/a").await, 404);

    let changes = well(&gateway, "GET", "/admin/config/changes", "").await;
    let what: Vec<_> = changes["changes"].as_array().unwrap().iter().collect();
    assert_eq!(what.len(), 3, "{changes}");
    // Of its own alone, or in place of what the files say: at once, and not with the next change.
    assert_eq!((&what[0]["inFiles"], &what[1]["inFiles"]), (&json!(false), &json!(true)));
    assert!(what[0]["place"].as_str().unwrap().contains("state/changes.yaml:"), "{changes}");
    assert_eq!((&what[2]["removed"], &what[2]["inFiles"]), (&json!(true), &json!(true)));
    // Explain tells where it stands.
    let told = well(&gateway, "GET", "/admin/explain?url=http://x/c/1", "").await.to_string();
    assert!(told.contains("changes.yaml"), "{told}");

    gateway.kill();
    gateway.restart().await;
    assert_eq!(status(&gateway, "/c/1").await, 200);
    assert_eq!(status(&gateway, "/b/1").await, 418);
    assert_eq!(status(&gateway, "/a").await, 404);
    let text = gateway.admin("GET", "/admin/config/export", "").await.text();
    assert!(text.contains("/c/*:") && !text.contains("\n  /a:"), "{text}");
    // What was exported is the whole truth: as a file it means the same.
    let before = well(&gateway, "GET", "/admin/config", "").await;
    gateway.dir().write(FILE, &text);
    until("the file to be in force, and the changes settled", async || {
        let changes = well(&gateway, "GET", "/admin/config/changes", "").await;
        changes["changes"] == json!([])
    })
    .await;
    assert_eq!(well(&gateway, "GET", "/admin/config", "").await, before);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_changes_nothing() {
    let echo = Echo::start("a").await;
    let gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    let ask = async |method: &str, path: &str, body: &str| {
        let answer = gateway.admin(method, path, body).await;
        (answer.status, answer.json())
    };
    let (status, told) = ask("PUT", "/admin/routes/b", "{\"to\": \"nobody\"}").await;
    assert_eq!((status, &told["reason"]), (422, &json!("config_refused")), "{told}");
    let problem = &told["problems"]["problems"][0];
    assert!(problem["message"].as_str().unwrap().contains("nobody"), "{told}");
    assert!(problem["file"].as_str().unwrap().ends_with("changes.yaml"), "{told}");
    for (method, path, body, status, reason) in [
        ("PUT", "/admin/routes/b", "", 400, "bad_body"),
        ("PUT", "/admin/routes/b", "a: [", 400, "bad_body"),
        ("PUT", "/admin/routes/b?dry_run=maybe", "{\"to\": \"pool\"}", 400, "bad_question"),
        ("DELETE", "/admin/routes/b", "", 404, "no_such_thing"),
        ("PUT", "/admin/config", "[", 400, "bad_body"),
        ("PUT", "/admin/config", "routes: 1", 422, "config_refused"),
        ("PUT", "/admin/config", "include: /etc/passwd", 422, "config_refused"),
        ("PUT", "/admin/config", "admin: off\nroutes: {}", 422, "config_refused"),
        ("POST", "/admin/config/rollback", "{\"to\": 77}", 404, "no_version"),
        ("POST", "/admin/config/rollback", "{}", 400, "bad_body"),
        ("GET", "/admin/config/history/x", "", 400, "bad_path"),
        ("GET", "/admin/config/diff?from=9", "", 404, "no_version"),
    ] {
        let (got, told) = ask(method, path, body).await;
        assert_eq!((got, &told["reason"]), (status, &json!(reason)), "{method} {path}: {told}");
    }
    let dry = well(&gateway, "PUT", "/admin/routes/b?dry_run", "{\"to\": \"pool\"}").await;
    assert_eq!((&dry["changes"], &dry["what"][0]), (&json!(1), &json!("+ routes./b")), "{dry}");
    assert_eq!((&dry["dryRun"], &dry["generation"]), (&json!(true), &json!(1)), "{dry}");
    assert_eq!(self::status(&gateway, "/b").await, 404);
    let changes = well(&gateway, "GET", "/admin/config/changes", "").await;
    assert_eq!(changes["changes"], json!([]));
    assert!(gateway.dir().read("state/changes.yaml").is_empty());
    assert_eq!(gateway.metrics().await.sum("lockgate_config_generation", &[]), 1.0);
}

#[tokio::test]
async fn what_cannot_be_put_in_force_leaves_all_as_it_was() {
    let echo = Echo::start("a").await;
    let mut gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    well(&gateway, "PUT", "/admin/routes/b", "{\"to\": \"pool\"}").await;
    // It checks out, and yet the log cannot be opened.
    let whole =
        gateway.dir().read(FILE) + "telemetry: { access_log: { to: /no/such/place/log } }\n";
    let refused = gateway.admin("PUT", "/admin/config", &whole).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(status(&gateway, "/b").await, 200);
    let changes = well(&gateway, "GET", "/admin/config/changes", "").await;
    assert_eq!(changes["changes"].as_array().unwrap().len(), 1, "{changes}");
    well(&gateway, "PUT", "/admin/routes/c", "{\"to\": \"pool\"}").await;
    gateway.kill();
    gateway.restart().await;
    assert_eq!((status(&gateway, "/b").await, status(&gateway, "/c").await), (200, 200));
}

#[tokio::test]
async fn two_who_change_at_once_are_told() {
    let echo = Echo::start("a").await;
    let gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    let tag = gateway.admin("GET", "/admin/config", "").await.header("etag").unwrap().to_owned();
    let with = async |tag: &str| {
        let headers = [("Host", "127.0.0.1"), ("If-Match", tag)];
        let path = "/admin/routes/b";
        let body = "{\"to\": \"pool\"}";
        let text = lockgate_testkit::request("PUT", path, &headers, body);
        let mut wire = lockgate_testkit::Wire::connect(gateway.at("ADMIN")).await;
        wire.send(&text).await;
        wire.answer().await.status
    };
    assert_eq!(with(&tag).await, 200);
    assert_eq!(with(&tag).await, 412);
    assert_eq!(with("\"1-1\"").await, 412);
    assert_eq!(with("nonsense").await, 412);
}

#[tokio::test]
async fn conditions_hold_as_http_says() {
    let echo = Echo::start("a").await;
    let gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    let ask = async |method: &str, path: &str, condition: (&str, &str), body: &str| {
        let headers = [("Host", "127.0.0.1"), condition];
        let mut wire = lockgate_testkit::Wire::connect(gateway.at("ADMIN")).await;
        wire.ask(lockgate_testkit::request(method, path, &headers, body)).await
    };
    let put = async |path: &str, condition: (&str, &str)| {
        let answer = ask("PUT", path, condition, "{\"to\": \"pool\", \"timeout\": \"9s\"}").await;
        (answer.status, answer.json()["reason"].as_str().map(str::to_owned))
    };
    let refused = |reason: &str| (412, Some(reason.to_owned()));
    // Only where there is one, only where there is none.
    let (any, none) = (("If-Match", "*"), ("If-None-Match", "*"));
    assert_eq!(put("/admin/routes/b", any).await, refused("is_not_there"));
    assert_eq!(put("/admin/routes/b", none).await, (200, None));
    assert_eq!(put("/admin/routes/b", none).await, refused("is_there"));
    assert_eq!(put("/admin/routes/a", none).await, refused("is_there"));
    assert_eq!(put("/admin/routes/a", any).await, (200, None));
    assert_eq!(ask("DELETE", "/admin/routes/a", any, "").await.status, 200);
    assert_eq!(ask("DELETE", "/admin/routes/a", any, "").await.status, 412);
    assert_eq!(ask("PUT", "/admin/config", none, "routes: {}").await.status, 412);
    // Of several, one that is in force; and what has been looked at, but not that.
    let tag = || async {
        let told = gateway.admin("GET", "/admin/config", "").await;
        told.header("etag").unwrap().to_owned()
    };
    let now = tag().await;
    let several = format!("\"another\", {now}");
    assert_eq!(put("/admin/routes/c", ("If-None-Match", &now)).await, refused("changed_meanwhile"));
    assert_eq!(put("/admin/routes/c", ("If-Match", &several)).await, (200, None));
    assert_eq!(put("/admin/routes/d", ("If-None-Match", &now)).await, (200, None));
    let now = tag().await;
    for (condition, status) in [
        (("If-None-Match", now.as_str()), 304),
        (("If-None-Match", "*"), 304),
        (("If-None-Match", &several), 200),
        (("If-Match", "*"), 200),
        (("If-Match", &several), 412),
    ] {
        let told = ask("GET", "/admin/config", condition, "").await;
        assert_eq!(told.status, status, "{condition:?}");
    }
    let odd = ask("PUT", "/admin/routes/e", ("If-None-Match", "odd"), "{\"to\": \"pool\"}").await;
    assert_eq!((odd.status, &odd.json()["reason"]), (400, &json!("bad_condition")));
}

#[tokio::test]
async fn what_changes_nothing_outdates_nobody() {
    let echo = Echo::start("a").await;
    let gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    let body = "{\"to\": \"pool\"}";
    assert_eq!(well(&gateway, "PUT", "/admin/routes/b", body).await["generation"], 2);
    let whole = gateway.admin("GET", "/admin/config", "").await;
    for (method, path, body) in [
        ("PUT", "/admin/routes/b", body),
        // As the files have it, and in another spelling.
        ("PUT", "/admin/routes/a", "{ to: pool }"),
        ("PUT", "/admin/config", &whole.text()),
    ] {
        let same = well(&gateway, method, path, body).await;
        assert_eq!((&same["generation"], &same["changes"]), (&json!(2), &json!(0)), "{same}");
        assert_eq!(same["what"], json!([]), "{same}");
    }
    let again = gateway.admin("GET", "/admin/config", "").await;
    assert_eq!(again.header("etag"), whole.header("etag"));
    let versions = well(&gateway, "GET", "/admin/config/history", "").await;
    assert_eq!(versions["total"], 2, "{versions}");
    // Several at once too.
    let all = (0..8).map(|_| gateway.admin("PUT", "/admin/routes/b", body));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.json()["generation"], 2, "{}", answer.text());
    }
    // What had been changed is the files' again: that is one more.
    let back = well(&gateway, "DELETE", "/admin/config/changes", "").await;
    assert_eq!((&back["generation"], &back["changes"]), (&json!(3), &json!(1)), "{back}");
    let none = well(&gateway, "DELETE", "/admin/config/changes", "").await;
    assert_eq!((&none["generation"], &none["changes"]), (&json!(3), &json!(0)), "{none}");
}

#[tokio::test]
async fn a_whole_configuration_is_sent_and_a_version_comes_back() {
    let echo = Echo::start("a").await;
    let file = config(&echo, "  /a: { to: pool }\n  /b: { to: pool }\n");
    let gateway = launch().env("LOCKGATE_LOG", "error").start(&file).await;
    // The long form with one thing changed is one change.
    let long = well(&gateway, "GET", "/admin/config", "").await;
    let mut sent = long.clone();
    sent["routes"].as_object_mut().unwrap().remove("/b");
    let done = well(&gateway, "PUT", "/admin/config", &sent.to_string()).await;
    assert_eq!(done["what"], json!(["- routes./b"]), "{done}");
    assert_eq!(status(&gateway, "/b").await, 404);
    // The same again is no change.
    let done = well(&gateway, "PUT", "/admin/config", &sent.to_string()).await;
    assert_eq!(done["what"], json!([]), "{done}");

    let history = well(&gateway, "GET", "/admin/config/history", "").await;
    let versions = history["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2, "{history}");
    assert_eq!((&versions[0]["via"], &versions[1]["via"]), (&json!("admin"), &json!("start")));
    assert_eq!(versions[0]["who"], "this machine from 127.0.0.1", "{history}");
    let diff = gateway.admin("GET", "/admin/config/diff?from=1", "").await.text();
    assert!(diff.contains("\n-  /b:"), "{diff}");
    let done = well(&gateway, "POST", "/admin/config/rollback", "{\"to\": 1}").await;
    assert_eq!(done["what"], json!(["+ routes./b"]), "{done}");
    assert_eq!(status(&gateway, "/b").await, 200);
    // It is what the files say, so that nothing lies over them.
    let changes = well(&gateway, "GET", "/admin/config/changes", "").await;
    assert_eq!(changes["changes"], json!([]));
    let line = gateway.said();
    let audit: Vec<_> = line.lines().filter(|line| line.contains("lockgate::audit")).collect();
    // One for each of the three, and one for each route that differs.
    assert_eq!(audit.len(), 5, "{line}");
    assert!(audit.iter().all(|line| line.contains("this machine from 127.0.0.1")), "{line}");
    let fields = |at: usize| {
        let told: Value = serde_json::from_str(audit[at]).unwrap();
        ["what", "before", "after"].map(|name| told[name].as_str().unwrap().to_owned())
    };
    let route = "{\"to\":\"pool\"}";
    assert_eq!(fields(0), ["config", "", "[\"routes./b\"]"]);
    assert_eq!(fields(1), ["routes./b", route, ""]);
    assert_eq!(fields(2), ["config", "", "[]"], "the same again");
    assert_eq!(fields(3), ["config, as in version 1", "", "[\"routes./b\"]"]);
    assert_eq!(fields(4), ["routes./b", "", route]);
    assert!(!line.contains("reloaded"), "only the audit log is told at this level: {line}");
}

#[tokio::test]
async fn a_file_that_changes_later_has_the_last_word_and_says_so() {
    let echo = Echo::start("a").await;
    let gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    let body = "{\"to\": {\"respond\": {\"status\": 418}}}";
    well(&gateway, "PUT", "/admin/routes/a", body).await;
    assert_eq!(status(&gateway, "/a").await, 418);
    // Something else in the file leaves the change in force.
    gateway.rewrite(&config(&echo, "  /a: { to: pool }\n  /n: { to: pool }\n"));
    until("the new route", async || status(&gateway, "/n").await == 200).await;
    assert_eq!(status(&gateway, "/a").await, 418);
    gateway.rewrite(&config(&echo, "  /a: { to: pool, timeout: 3s }\n  /n: { to: pool }\n"));
    until("the file's route", async || status(&gateway, "/a").await == 200).await;
    assert!(gateway.said().contains("that change is dropped"), "{}", gateway.said());
    let changes = well(&gateway, "GET", "/admin/config/changes", "").await;
    assert_eq!(changes["changes"], json!([]));
    well(&gateway, "PUT", "/admin/routes/a", body).await;
    let done = well(&gateway, "DELETE", "/admin/config/changes", "").await;
    assert_eq!(done["what"], json!(["~ routes./a"]), "{done}");
    assert_eq!(status(&gateway, "/a").await, 200);
}

#[tokio::test]
async fn without_a_place_to_keep_them_changes_are_refused() {
    let echo = Echo::start("a").await;
    let file = config(&echo, "  /a: { to: pool }\n").replace(", state_dir: \"$DIR/state\"", "");
    let gateway = launch().start(&file).await;
    let answer = gateway.admin("PUT", "/admin/routes/b", "{\"to\": \"pool\"}").await;
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("state_dir"), "{}", answer.text());
}

#[tokio::test]
async fn damaged_changes_stop_the_start_and_say_what_to_do() {
    let echo = Echo::start("a").await;
    let mut gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    well(&gateway, "PUT", "/admin/routes/b", "{\"to\": \"pool\"}").await;
    gateway.kill();
    gateway.dir().write("state/changes.yaml", "changes: [{}]");
    let ran = gateway.cli(&["run", "-c", FILE]).await;
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("changes.yaml") && ran.stderr.contains("move it away"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn what_the_files_settle_while_nobody_looks_is_settled() {
    let echo = Echo::start("a").await;
    let file = config(&echo, "  /a: { to: pool }\n");
    let mut gateway = launch().start(&file).await;
    well(&gateway, "PUT", "/admin/routes/b", "{\"to\": \"pool\"}").await;
    gateway.kill();
    // Git has taken it over.
    gateway.rewrite(&config(&echo, "  /a: { to: pool }\n  /b: { to: pool }\n"));
    gateway.restart().await;
    let changes = well(&gateway, "GET", "/admin/config/changes", "").await;
    assert_eq!(changes["changes"], json!([]));
    gateway.kill();
    // And takes it back: it does not rise again.
    gateway.rewrite(&file);
    gateway.restart().await;
    assert_eq!(status(&gateway, "/b").await, 404);
}

#[tokio::test]
async fn nobody_reads_files_by_changing_routes() {
    let echo = Echo::start("a").await;
    let gateway = launch().env("OWN", "own").start(&config(&echo, "  /a: { to: pool }\n")).await;
    for body in [
        "{\"to\": {\"respond\": {\"body\": \"${file:/etc/hostname}\"}}}",
        "{\"to\": {\"respond\": {\"body\": \"x ${env:OWN}\"}}}",
    ] {
        let answer = gateway.admin("PUT", "/admin/routes/b", body).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (422, &json!("new_reference")));
    }
    let whole = "alerts: { x: { command: [touch, /tmp/x] } }\nroutes: {}\n";
    let answer = gateway.admin("PUT", "/admin/config", whole).await;
    assert!(answer.text().contains("`alerts` is changed in the files alone"), "{}", answer.text());
}

#[tokio::test]
async fn a_key_goes_when_it_is_taken_out_and_not_otherwise() {
    let echo = Echo::start("a").await;
    let keys = |keys: &str| {
        format!(
            "identity: {{ keys: {{ api_key: {{}} }} }}\nconsumers: {{ alice: {{ api_keys: [{keys}], \
             roles: [one] }} }}\n"
        )
    };
    let routes = "  /a: { auth: keys, to: pool }\n";
    let file = format!("{}{}", keys("key-number-one, key-number-two"), config(&echo, routes));
    let gateway = launch().start(&file).await;
    let with = async |key: &str| {
        let headers = [("Host", "x"), ("X-API-Key", key)];
        let text = lockgate_testkit::request("GET", "/a", &headers, "");
        lockgate_testkit::Wire::connect(gateway.web()).await.ask(text).await.status
    };
    assert_eq!((with("key-number-one").await, with("key-number-two").await), (200, 200));
    // What is shown does not say them: sent back as it is, with another thing changed, it is obeyed;
    // changed itself it is refused.
    let mut long = well(&gateway, "GET", "/admin/config", "").await;
    let hidden = json!(["${hidden}", "${hidden}"]);
    assert_eq!(long["consumers"]["alice"]["api_keys"], hidden, "{long}");
    long["routes"]["/a"]["tags"] = json!(["other"]);
    let told = well(&gateway, "PUT", "/admin/config", &long.to_string()).await;
    assert_eq!(told["what"], json!(["~ routes./a"]), "{told}");
    long["consumers"]["alice"]["roles"] = json!(["two"]);
    let answer = gateway.admin("PUT", "/admin/config", &long.to_string()).await;
    let problem = &answer.json()["problems"]["problems"][0];
    let said = problem["message"].as_str().unwrap();
    assert!(said.contains("`consumers.alice` is not as they have it"), "{}", answer.text());
    assert_eq!(answer.status, 422);
    well(&gateway, "DELETE", "/admin/config/changes", "").await;
    assert_eq!(with("key-number-one").await, 200);
    // One of them taken out is taken out.
    let text = gateway.dir().read(FILE).replace("key-number-one, ", "");
    well(&gateway, "PUT", "/admin/config", &text).await;
    assert_eq!((with("key-number-one").await, with("key-number-two").await), (403, 200));
    let export = gateway.admin("GET", "/admin/config/export", "").await.text();
    assert!(!export.contains("key-number"), "{export}");
    let said = gateway.said();
    let told = said.lines().find(|line| line.contains("\"what\":\"consumers.alice\"")).unwrap();
    assert_eq!(told.matches("${hidden}").count(), 3, "two before, one after: {told}");
    assert!(!said.contains("key-number"), "{said}");
}

#[tokio::test]
async fn a_route_that_inherits_a_secret_is_not_set_without_it() {
    let echo = Echo::start("a").await;
    let set = "defaults: { headers: { request: { set: { Authorization: s3cr3t } } } }\n";
    let file = format!("{set}{}", config(&echo, "  /a: { to: pool }\n"));
    let gateway = launch().start(&file).await;
    let sent = async || {
        assert_eq!(status(&gateway, "/a").await, 200);
        echo.last().header("authorization").map(str::to_owned)
    };
    assert_eq!(sent().await.as_deref(), Some("s3cr3t"));
    let long = well(&gateway, "GET", "/admin/config", "").await;
    let mut route = long["routes"]["/a"].clone();
    assert_eq!(route["headers"]["request"]["set"]["Authorization"], "${hidden}", "{route}");
    let answer = gateway.admin("PUT", "/admin/routes/a", &route.to_string()).await;
    let problem = &answer.json()["problems"]["problems"][0];
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(problem["message"].as_str().unwrap().contains("in place of a secret"), "{problem}");
    assert!(problem["help"].as_str().unwrap().contains("${env:NAME}"), "{problem}");
    // Without the policy it inherits it as before.
    route.as_object_mut().unwrap().remove("headers");
    route["tags"] = json!(["x"]);
    well(&gateway, "PUT", "/admin/routes/a", &route.to_string()).await;
    assert_eq!(sent().await.as_deref(), Some("s3cr3t"));
    let kept = gateway.dir().read("state/changes.yaml");
    assert!(!kept.contains("s3cr3t") && !gateway.said().contains("s3cr3t"), "{kept}");
}

#[tokio::test]
async fn the_commands_do_the_same() {
    let echo = Echo::start("a").await;
    let gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    gateway.dir().write("route.yaml", "to: pool\n");
    let cli = async |arguments: &[&str]| {
        let ran = gateway.cli(arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    let said = cli(&["routes", "set", "GET /v/{id}", "route.yaml", "--dry-run"]).await;
    assert!(said.contains("+ routes.GET /v/{id}") && said.contains("dry run"), "{said}");
    assert_eq!(status(&gateway, "/v/1").await, 404);
    cli(&["routes", "set", "GET /v/{id}", "route.yaml"]).await;
    cli(&["routes", "set", "other.example/x", "route.yaml"]).await;
    assert_eq!(status(&gateway, "/v/1").await, 200);
    let said = cli(&["config", "changes"]).await;
    assert!(
        said.contains("+ routes.GET /v/{id}") && said.contains("+ routes.other.example/x"),
        "{said}"
    );
    let told: Value = serde_json::from_str(&cli(&["config", "changes", "--json"]).await).unwrap();
    assert_eq!((&told["total"], told["changes"].as_array().unwrap().len()), (&json!(2), 2));
    // The file may be named before the verb and behind it.
    for words in [
        &["config", "-c", "other.yaml", "history"][..],
        &["config", "history", "-c", "other.yaml"],
        &["routes", "set", "-c", "other.yaml", "/q", "route.yaml"],
        &["routes", "remove", "/q", "-c", "other.yaml"],
    ] {
        let ran = gateway.cli(words).await;
        assert!(ran.code == 2 && ran.stderr.contains("other.yaml"), "{words:?}: {ran:?}");
    }
    gateway.dir().write("other.yaml", gateway.dir().read(FILE));
    cli(&["routes", "set", "-c", "other.yaml", "/q", "route.yaml", "--json"]).await;
    cli(&["routes", "remove", "/q", "-c", "other.yaml"]).await;
    assert!(cli(&["export"]).await.contains("GET /v/{id}"));
    let said = cli(&["config", "history"]).await;
    assert!(said.lines().next().unwrap().contains("admin"), "{said}");
    let said = cli(&["config", "diff", "1"]).await;
    assert!(said.contains("+  \"GET /v/{id}\":"), "{said}");
    cli(&["routes", "remove", "GET /v/{id}"]).await;
    assert_eq!(status(&gateway, "/v/1").await, 404);
    cli(&["config", "rollback", "2"]).await;
    assert_eq!(status(&gateway, "/v/1").await, 200);
    cli(&["config", "reset"]).await;
    assert!(cli(&["config", "changes"]).await.contains("nothing"));
    let text = cli(&["export"]).await;
    gateway.dir().write("whole.yaml", text.replace("/a:", "/z:"));
    cli(&["config", "put", "whole.yaml"]).await;
    assert_eq!((status(&gateway, "/a").await, status(&gateway, "/z").await), (404, 200));
    let ran = gateway.cli(&["routes", "remove", "/nobody"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("`routes` has no `/nobody`"), "{}", ran.stderr);
}

#[tokio::test]
async fn changes_that_come_at_once_are_each_answered_and_a_bad_one_spoils_no_other() {
    let echo = Echo::start("a").await;
    let gateway = launch().start(&config(&echo, "  /a: { to: pool }\n")).await;
    for round in 0..10 {
        let asked = (0..12).map(|n| {
            let to = if n == 7 { "nobody".to_owned() } else { "pool".to_owned() };
            let (path, gateway) = (format!("/admin/routes/r{round}/{n}"), &gateway);
            async move {
                let body = format!("{{\"to\": \"{to}\"}}");
                let answer = gateway.admin("PUT", &path, &body).await;
                let served = gateway.get(&format!("/r{round}/{n}")).await.status;
                (answer.status, served)
            }
        });
        let all = futures_util::future::join_all(asked).await;
        for (n, seen) in all.into_iter().enumerate() {
            let expected = if n == 7 { (422, 404) } else { (200, 200) };
            assert_eq!(seen, expected, "round {round}, change {n}");
        }
    }
    let changes = well(&gateway, "GET", "/admin/config/changes", "").await;
    assert_eq!(changes["total"], 110, "{changes}");
    let metrics = gateway.metrics().await;
    let generation = metrics.sum("lockgate_config_generation", &[]);
    assert!(generation < 111.0, "{generation}: some were put in force together");
}
