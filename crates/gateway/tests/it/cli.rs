//! The command line: what each command prints, and how it ends.

use lockgate_testkit::{Dir, cli};

use crate::support::{BINARY, cli_on};

const GOOD: &str = "upstreams:\n  users: { endpoints: [\"127.0.0.1:3001\"] }\nroutes:\n  \
                    /users/*: { to: users }\n  GET /hello: { to: { respond: { body: hi } } }\n";

const BAD: &str = r#"listenrs: { web: ":8080" }
upstreams:
  users:
    endpoints: { "127.0.0.1:3001": 2 }
    timeout: { connect: 5 parsecs }
routes:
  /a: { to: userz }
  a b: { to: users }
  /c: { to: users, retri: 3 }
"#;

#[tokio::test]
async fn a_good_file_checks_out() {
    let ran = cli_on(GOOD, &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = cli_on(GOOD, &["check", "lockgate.yaml", "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.json()["problems"].as_array().is_some(), "{ran:?}");
}

#[tokio::test]
async fn all_errors_are_told_at_once_with_their_places() {
    let ran = cli_on(BAD, &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let text = ran.text();
    for (place, part) in [
        ("lockgate.yaml:1:1", "listeners"),
        ("lockgate.yaml:5:25", "5 parsecs"),
        ("lockgate.yaml:7:13", "users"),
        ("lockgate.yaml:8:3", "a b"),
        ("lockgate.yaml:9:20", "retry"),
    ] {
        assert!(text.contains(place), "{place} is missing:\n{text}");
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(text.contains("did you mean"), "{text}");
    assert!(text.contains("connect: 5 parsecs"), "the excerpt:\n{text}");
    assert!(text.contains("^^^"), "the caret:\n{text}");

    let json = cli_on(BAD, &["check", "lockgate.yaml", "--json"]).await;
    assert_eq!(json.code, 1);
    let problems = json.json()["problems"].as_array().unwrap().clone();
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert!(problems.iter().all(|one| one["line"].as_u64() > Some(0)), "{problems:#?}");
    assert!(problems.iter().all(|one| one["message"].is_string()));
}

#[tokio::test]
async fn what_cannot_run_does_not_check_out() {
    let route =
        |when: &str| format!("routes:\n  /a: {{ to: \"http://127.0.0.1:1\", when: {when} }}\n");
    let alerted = |sink: &str| {
        format!("alerts:\n  x: {sink}\nroutes:\n  /a: {{ to: \"http://127.0.0.1:1\" }}\n")
    };
    for (config, place) in [
        (route("{ method: FOO }"), "lockgate.yaml:2:"),
        (route("{ header: { X-A: { regex: \"(a{1000}){1000}\" } } }"), "lockgate.yaml:2:"),
        (route("{ query: { a: { regex: \"(\\\\w{60}){60}\" } } }"), "lockgate.yaml:2:"),
        (
            "listeners:\n  web: { address: \":8443\", tls: { cert: no.pem, key: no.pem } }\nroutes:\n  \
             /a: { to: { respond: {} } }\n"
                .to_owned(),
            "lockgate.yaml:2:",
        ),
        (
            "upstreams:\n  u: { endpoints: [\"127.0.0.1:1\"], tls: { ca: no.pem } }\nroutes:\n  \
             /a: { to: u }\n"
                .to_owned(),
            "lockgate.yaml:2:",
        ),
        (
            alerted("{ url: \"https://127.0.0.1:1/\", ca: no.pem }"),
            "lockgate.yaml:2:",
        ),
        (
            alerted("{ email: { server: mail.example, ca: no.pem, from: a@a.example, to: b@b.example } }"),
            "lockgate.yaml:2:",
        ),
    ] {
        let dir = Dir::new();
        dir.write("no.pem", "this is no certificate");
        dir.write("lockgate.yaml", &config);
        for arguments in [vec!["check", "lockgate.yaml"], vec!["run", "-c", "lockgate.yaml"]] {
            let ran = cli(BINARY, dir.path(), &arguments).await;
            assert_eq!(ran.code, 1, "{config}{ran:?}");
            assert!(ran.stderr.contains(place), "{config}{ran:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_another_exit_code() {
    let ran = cli_on(GOOD, &["check", "missing.yaml"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.text().contains("missing.yaml"));
    let ran = cli_on("routes: [unclosed", &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.text().contains("lockgate.yaml:"), "{ran:?}");
}

#[tokio::test]
async fn warnings_are_told_and_pass() {
    let config = format!("{GOOD}identity:\n  keys: {{ mtls: {{}} }}\n")
        .replace("upstreams:\n", "upstreams:\n  idle: { endpoints: [\"127.0.0.1:1\"] }\n");
    let ran = cli_on(&config, &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = ran.text();
    assert!(text.contains("warning") && text.contains("idle"), "{text}");
    assert!(text.contains("keys"), "an identity that nothing requires: {text}");
}

#[tokio::test]
async fn secrets_stay_unsaid() {
    let config = "admin: { address: \"127.0.0.1:1\", token: \"${file:./secret}\" }\n\
                  routes:\n  /a: { to: { respond: { body: \"${file:./secret}\" } } }\n";
    let dir = Dir::new();
    dir.write("lockgate.yaml", config);
    dir.write("secret", "hunter2-hunter2");
    for arguments in [
        vec!["check", "lockgate.yaml", "--json"],
        vec!["fmt", "--long", "lockgate.yaml"],
        vec!["routes", "--json"],
        vec!["explain", "GET", "/a", "--json"],
    ] {
        let ran = cli(BINARY, dir.path(), &arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        assert!(!ran.text().contains("hunter2"), "{arguments:?}: {ran:?}");
    }
    let more = "routes:\n  /a: { to: { redirect: { to: \"https://h.test/${file:./secret}\" } } }\n  \
                /b:\n    - when: { header: { X-Key: \"${file:./secret}\", X-Pin: \"${file:./pin}\" } }\n      \
                to: { respond: {} }\n    - when: { header: { X-Pin: \"${file:./pin}\" } }\n      \
                to: { respond: {} }\n    - to: { respond: {} }\n      \
                headers: { request: { set: { X-Pin: \"${file:./pin}\" } } }\n";
    dir.write("lockgate.yaml", more);
    dir.write("pin", "4711");
    for arguments in [
        vec!["routes", "--json"],
        vec!["explain", "GET", "/a"],
        vec!["explain", "GET", "/b", "--json"],
        vec!["explain", "GET", "/b", "-H", "X-Key: hunter2-hunter2"],
    ] {
        let ran = cli(BINARY, dir.path(), &arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        assert!(!ran.text().contains("hunter2"), "{arguments:?}: {ran:?}");
        assert!(!ran.text().contains("4711"), "{arguments:?}: {ran:?}");
        assert!(ran.text().contains("${file:./"), "the form as written: {ran:?}");
    }
    let missing = config.replace("./secret", "./gone");
    dir.write("lockgate.yaml", missing);
    let ran = cli(BINARY, dir.path(), &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.text().contains("gone"), "{ran:?}");
}

#[tokio::test]
async fn run_with_a_bad_file_says_so_and_ends() {
    let ran = cli_on(BAD, &["run", "-c", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("lockgate.yaml:7:13"), "{ran:?}");
    let ran = cli_on(GOOD, &["run", "-c", "missing.yaml"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[tokio::test]
async fn run_on_a_taken_port_says_which() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let config = format!("listeners: {{ web: \"127.0.0.1:{port}\" }}\nadmin: off\n{GOOD}");
    let ran = cli_on(&config, &["run", "-c", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(&port), "{ran:?}");
}

#[tokio::test]
async fn routes_are_listed() {
    let ran = cli_on(GOOD, &["routes", "-c", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in ["/users/*", "users", "GET /hello", "respond"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    let json = cli_on(GOOD, &["routes", "--json", "-c", "lockgate.yaml"]).await.json();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(json[0]["pattern"], "/users/*");
}

#[tokio::test]
async fn the_schema_is_one() {
    let ran = cli_on(GOOD, &["schema"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let schema = ran.json();
    assert!(schema["$schema"].is_string());
    for section in ["listeners", "upstreams", "routes", "telemetry"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    assert!(ran.stdout.contains("redirect"), "plugins are in it");
}

#[tokio::test]
async fn formatting_is_stable_and_keeps_the_meaning() {
    let dir = Dir::new();
    let untidy = "routes:   {  \"/a\":   {to: {respond: {body:   hi}}}}   # a word\n";
    dir.write("lockgate.yaml", untidy);
    let check = cli(BINARY, dir.path(), &["fmt", "--check", "lockgate.yaml"]).await;
    assert_eq!(check.code, 1, "{check:?}");
    assert_eq!(dir.read("lockgate.yaml"), untidy, "--check changes nothing");
    assert_eq!(cli(BINARY, dir.path(), &["fmt", "lockgate.yaml"]).await.code, 0);
    let once = dir.read("lockgate.yaml");
    assert!(once.contains("a word"), "comments stay: {once}");
    assert_eq!(cli(BINARY, dir.path(), &["fmt", "--check", "lockgate.yaml"]).await.code, 0);
    assert_eq!(cli(BINARY, dir.path(), &["fmt", "lockgate.yaml"]).await.code, 0);
    assert_eq!(dir.read("lockgate.yaml"), once);
    let routes = cli(BINARY, dir.path(), &["routes", "--json"]).await;
    assert_eq!(routes.json()[0]["pattern"], "/a");
}

#[tokio::test]
async fn the_long_form_says_everything_and_checks_out() {
    let dir = Dir::new();
    dir.write("lockgate.yaml", GOOD);
    let long = cli(BINARY, dir.path(), &["fmt", "--long", "lockgate.yaml"]).await;
    assert_eq!(long.code, 0, "{long:?}");
    for part in ["header_timeout", "interval", "max_idle", "budget"] {
        assert!(long.stdout.contains(part), "{part}: {}", long.stdout);
    }
    dir.write("long.yaml", &long.stdout);
    let ran = cli(BINARY, dir.path(), &["check", "long.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let again = cli(BINARY, dir.path(), &["fmt", "--long", "long.yaml"]).await;
    assert_eq!(again.stdout, long.stdout, "the long form of the long form is the same");
}

#[tokio::test]
async fn a_comparison_tells_what_a_reload_would_change() {
    let dir = Dir::new();
    dir.write("old.yaml", GOOD);
    dir.write("new.yaml", GOOD.replace("3001", "3009") + "workers: 7\n");
    let ran = cli(BINARY, dir.path(), &["check", "new.yaml", "--against", "old.yaml"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("users"), "{ran:?}");
    assert!(ran.stdout.contains("workers") && ran.stdout.contains("restart"), "{ran:?}");
}

#[tokio::test]
async fn the_version_is_told_and_nonsense_is_not_taken() {
    let ran = cli_on(GOOD, &["version"]).await;
    assert_eq!((ran.code, ran.stdout.starts_with("lockgate 0.")), (0, true), "{ran:?}");
    let json = cli_on(GOOD, &["version", "--json"]).await.json();
    assert!(json["version"].as_str().unwrap().starts_with("0."));
    for arguments in [vec!["frobnicate"], vec!["check", "--frob"], vec![]] {
        assert_eq!(cli_on(GOOD, &arguments).await.code, 2, "{arguments:?}");
    }
    let help = cli_on(GOOD, &["--help"]).await;
    for command in ["run", "check", "explain", "routes", "schema", "fmt", "demo", "version"] {
        assert!(help.stdout.contains(command), "{command}");
    }
}

#[tokio::test]
async fn json_and_toml_read_the_same_model() {
    let dir = Dir::new();
    dir.write("a.json", r#"{ "routes": { "/a": { "to": { "respond": { "body": "hi" } } } } }"#);
    dir.write("a.toml", "[routes.\"/a\"]\nto = { respond = { body = \"hi\" } }\n");
    for file in ["a.json", "a.toml"] {
        let ran = cli(BINARY, dir.path(), &["routes", "--json", "-c", file]).await;
        assert_eq!(ran.code, 0, "{file}: {ran:?}");
        assert_eq!(ran.json()[0]["pattern"], "/a", "{file}");
    }
}

#[tokio::test]
async fn other_files_are_included() {
    let dir = Dir::new();
    dir.write("lockgate.yaml", format!("include: [more.yaml]\n{GOOD}"));
    dir.write("more.yaml", "routes:\n  /more: { to: users }\n");
    let ran = cli(BINARY, dir.path(), &["routes", "--json"]).await;
    assert_eq!(ran.json().as_array().unwrap().len(), 3, "{ran:?}");
    dir.write("more.yaml", "routes:\n  /more: { to: nobody }\n");
    let ran = cli(BINARY, dir.path(), &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.text().contains("more.yaml:2:"), "{ran:?}");
    dir.write("more.yaml", "routes:\n  /users/*: { to: users }\n");
    let ran = cli(BINARY, dir.path(), &["check", "lockgate.yaml"]).await;
    assert_eq!(ran.code, 1, "each key once: {ran:?}");
}
