//! A configuration that is the files of a directory: they come, change and go, a mounted ConfigMap
//! is swapped under load, and a directory that vanishes takes nothing with it.

use std::os::unix::fs::symlink;
use std::path::Path;

use lockgate_testkit::{Gateway, Load, request, until};
use serde_json::Value;

use super::{is, saying, says, source};
use crate::support::launch;

async fn generation(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("lockgate_config_generation", &[])
}

async fn refused(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("lockgate_config_reloads_total", &[("result", "refused")])
}

/// What the last good copy of `conf.d` has in a file.
fn copied(gateway: &Gateway, file: &str) -> String {
    let here = gateway.dir().path();
    let sources = std::fs::read_dir(here.join("lockgate/sources")).unwrap();
    let one = sources.flatten().next().unwrap().path();
    let there = one.join("good/files").join(here.strip_prefix("/").unwrap()).join("conf.d");
    std::fs::read_to_string(there.join(file)).unwrap_or_default()
}

/// A gateway that reads `conf.d`, where there is its first file.
async fn start() -> Gateway {
    let launch = launch().from("conf.d", &[]);
    let text = launch.text(&saying("/", "first"));
    let launch = launch.file("conf.d/10-first.yaml", text);
    launch.start("").await
}

#[tokio::test]
async fn files_of_a_directory_come_change_and_go() {
    let gateway = start().await;
    says(&gateway, "/", "first").await;
    let dir = gateway.dir();
    dir.write("conf.d/20-second.yaml", saying("/second", "one"));
    says(&gateway, "/second", "one").await;
    dir.write("conf.d/20-second.yaml", saying("/second", "two"));
    says(&gateway, "/second", "two").await;
    let before = generation(&gateway).await;
    for name in ["conf.d/.20-second.yaml.swp", "conf.d/20-second.yaml~", "conf.d/notes.txt"] {
        dir.write(name, "routes: [");
    }
    dir.write("conf.d/30-third.toml", "[routes.\"/third\"]\nto = \"nobody\"\n");
    until("the refusal", async || refused(&gateway).await == 1.0).await;
    assert!(gateway.said().contains("conf.d/30-third.toml:2:"), "{}", gateway.said());
    std::fs::remove_file(dir.path().join("conf.d/30-third.toml")).unwrap();
    std::fs::remove_file(dir.path().join("conf.d/20-second.yaml")).unwrap();
    until("the file to be missed", async || gateway.get("/second").await.status == 404).await;
    says(&gateway, "/", "first").await;
    assert!(generation(&gateway).await <= before + 2.0, "other files are no change");
    let check = gateway.cli(&["check", "conf.d"]).await;
    assert_eq!(check.code, 0, "{check:?}");
    let routes = gateway.cli(&["routes", "-c", "conf.d", "--json"]).await;
    assert_eq!(routes.json().as_array().map(Vec::len), Some(1), "{routes:?}");
}

#[tokio::test]
async fn a_directory_that_vanishes_leaves_all_as_it_was_and_is_seen_when_it_is_back() {
    let gateway = start().await;
    says(&gateway, "/", "first").await;
    is(&gateway, "well").await;
    let (there, away) = (gateway.dir().path().join("conf.d"), gateway.dir().path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    until("the refusal", async || refused(&gateway).await >= 1.0).await;
    says(&gateway, "/", "first").await;
    is(&gateway, "away").await;
    until("the gauge to tell how stale it is", async || {
        let kind = [("kind", "directory")];
        gateway.metrics().await.sum("lockgate_config_source_stale_seconds", &kind) >= 1.0
    })
    .await;
    let told = source(&gateway).await;
    assert!(told["staleSeconds"].as_u64().unwrap() >= 1, "{told}");
    assert!(told["lastError"].as_str().unwrap().contains("cannot be read"), "{told}");
    assert_eq!((&told["fromCopy"], &told["refused"]), (&false.into(), &Value::Null), "{told}");
    let ready = gateway.admin("GET", "/admin/ready", "").await;
    assert_eq!((ready.status, &ready.json()["source"]), (200, &"away".into()), "{ready:?}");
    std::fs::create_dir(&there).unwrap();
    gateway.signal("HUP");
    until("the empty directory to be refused", async || {
        gateway.said().contains("there is no") && refused(&gateway).await >= 2.0
    })
    .await;
    is(&gateway, "empty").await;
    says(&gateway, "/", "first").await;
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    is(&gateway, "well").await;
    let text = gateway.text(&saying("/", "again"));
    gateway.dir().write("conf.d/10-first.yaml", text);
    says(&gateway, "/", "again").await;
    gateway.dir().write("conf.d/20-second.yaml", saying("/second", "seen"));
    says(&gateway, "/second", "seen").await;
    let told = source(&gateway).await;
    assert_eq!((&told["state"], &told["staleSeconds"]), (&"well".into(), &0.into()), "{told}");
}

#[tokio::test]
async fn a_gateway_whose_directory_is_away_begins_with_the_copy_and_finds_it_by_itself() {
    let launch = launch().from("conf.d", &[]);
    let route = |path: &str, file: &str| {
        format!("  {path}: {{ to: {{ respond: {{ body: \"${{file:{file}}}\" }} }} }}\n")
    };
    let routes = format!("routes:\n{}{}", route("/in", "words/in"), route("/out", "../beside/out"));
    let main = launch.text("telemetry: { access_log: ../kept/access.log }\n");
    let main = main.replacen("admin: { ", "admin: { state_dir: ../kept, ", 1);
    let launch = launch
        .file("conf.d/main.yaml", main)
        .file("conf.d/routes.yaml", routes)
        .file("conf.d/words/in", "in-1")
        .file("beside/out", "out-1");
    let mut gateway = launch.start("").await;
    says(&gateway, "/in", "in-1").await;
    let body = "to: { respond: { body: added } }";
    let added = gateway.admin("PUT", "/admin/routes/added", body).await;
    assert_eq!(added.status, 200, "{}", added.text());
    gateway.dir().write("conf.d/words/in", "in-2");
    says(&gateway, "/in", "in-2").await;
    let (there, away) = (gateway.dir().path().join("conf.d"), gateway.dir().path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    is(&gateway, "away").await;
    until("the copy to be on the disk", async || copied(&gateway, "words/in") == "in-2").await;
    let change = gateway.admin("PUT", "/admin/routes/more", body).await;
    assert_eq!(change.status, 200, "the copy is what is in force: {}", change.text());

    gateway.dir().write("beside/out", "out-2");
    gateway.restart().await;
    for (path, word) in
        [("/in", "in-2"), ("/out", "out-2"), ("/added", "added"), ("/more", "added")]
    {
        assert_eq!(gateway.get(path).await.text(), word, "{path}");
    }
    assert!(gateway.said().contains("last good copy"), "{}", gateway.said());
    until("the line in the same log", async || {
        gateway.dir().read("kept/access.log").contains("/more")
    })
    .await;
    let told = source(&gateway).await;
    assert_eq!((&told["state"], &told["fromCopy"]), (&"away".into(), &true.into()), "{told}");
    until("it to be stale", async || source(&gateway).await["staleSeconds"] != 0).await;
    let ready = gateway.admin("GET", "/admin/ready", "").await.json();
    assert_eq!((&ready["status"], &ready["fromCopy"]), (&"ready".into(), &true.into()), "{ready}");

    gateway.dir().write("away/words/in", "in-3");
    std::fs::rename(&away, &there).unwrap();
    says(&gateway, "/in", "in-3").await;
    is(&gateway, "well").await;
    let told = source(&gateway).await;
    assert_eq!((&told["fromCopy"], &told["staleSeconds"]), (&false.into(), &0.into()), "{told}");
    assert_eq!(gateway.get("/more").await.text(), "added");
    gateway.dir().write("conf.d/words/in", "in-4");
    says(&gateway, "/in", "in-4").await;

    until("the copy to be on the disk", async || copied(&gateway, "words/in") == "in-4").await;

    // An empty directory is no configuration either, nor is a broken one.
    std::fs::rename(&there, &away).unwrap();
    std::fs::create_dir(&there).unwrap();
    gateway.restart().await;
    assert_eq!(gateway.get("/in").await.text(), "in-4");
    assert_eq!(source(&gateway).await["state"], "empty");
    gateway.dir().write("conf.d/main.yaml", "routes: [");
    is(&gateway, "refused").await;
    gateway.restart().await;
    assert_eq!(gateway.get("/in").await.text(), "in-4");
    let told = source(&gateway).await;
    assert!(told["refused"].as_str().unwrap().contains("conf.d/main.yaml:2:"), "{told}");
    assert_eq!((&told["state"], &told["fromCopy"]), (&"refused".into(), &true.into()), "{told}");
    std::fs::remove_dir_all(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    is(&gateway, "well").await;
    assert_eq!(gateway.get("/out").await.text(), "out-2");
}

#[tokio::test]
async fn a_directory_of_which_no_copy_can_be_kept_is_served_and_that_is_told() {
    let launch = launch().from("conf.d", &[]).env("XDG_STATE_HOME", "/proc/nowhere");
    let text = launch.text(&saying("/", "first"));
    let launch = launch.file("conf.d/10-first.yaml", text);
    let gateway = launch.start("").await;
    says(&gateway, "/", "first").await;
    let told = source(&gateway).await;
    assert_eq!(told["state"], "well", "{told}");
    assert!(told["notCopied"].as_str().unwrap().contains("--state-dir"), "{told}");
    let ran = gateway.cli(&["run", "-c", "conf.e"]).await;
    assert_eq!(ran.code, 2, "there never was one: {ran:?}");
}

#[tokio::test]
async fn a_directory_whose_files_were_emptied_leaves_all_as_it_was() {
    let gateway = start().await;
    says(&gateway, "/", "first").await;
    for (n, blank) in ["", "# todo\n", "{}\n"].into_iter().enumerate() {
        let before = refused(&gateway).await;
        gateway.dir().write("conf.d/10-first.yaml", blank);
        until(&format!("refusal {n}"), async || refused(&gateway).await > before).await;
        assert_eq!(gateway.get("/").await.text(), "first");
    }
    assert!(gateway.said().contains("no section"), "{}", gateway.said());
    let text = gateway.text(&saying("/", "again"));
    gateway.dir().write("conf.d/10-first.yaml", text);
    says(&gateway, "/", "again").await;
}

#[tokio::test]
async fn a_file_that_vanishes_with_all_routes_is_refused_but_not_an_admin_who_takes_the_last() {
    let launch = launch().from("conf.d", &[]);
    let listens = launch.text("telemetry: { access_log: off }\n");
    let listens = listens.replacen("admin: { ", "admin: { state_dir: $DIR/kept, ", 1);
    let listens = listens.replace("$DIR", &launch.path().display().to_string());
    let launch = launch.file("conf.d/10-listens.yaml", listens);
    let launch = launch.file("conf.d/20-routes.yaml", saying("/first", "first"));
    let gateway = launch.start("").await;
    says(&gateway, "/first", "first").await;
    let there = gateway.dir().path().join("conf.d/20-routes.yaml");
    let aside = gateway.dir().path().join("aside.yaml");
    std::fs::rename(&there, &aside).unwrap();
    until("the refusal", async || refused(&gateway).await == 1.0).await;
    assert_eq!(gateway.get("/first").await.text(), "first");
    let told = source(&gateway).await;
    assert_eq!(told["state"], "refused", "{told}");
    assert!(told["refused"].as_str().unwrap().contains("20-routes.yaml"), "{told}");
    let change = gateway.admin("DELETE", "/admin/routes/first", "").await;
    assert_eq!(change.status, 422, "no change is read over what is refused: {}", change.text());
    std::fs::rename(&aside, &there).unwrap();
    is(&gateway, "well").await;
    let change = gateway.admin("DELETE", "/admin/routes/first", "").await;
    assert_eq!(change.status, 200, "{}", change.text());
    assert_eq!(gateway.get("/first").await.status, 404, "that was meant");
    let ready = gateway.admin("GET", "/admin/ready", "").await;
    assert_eq!(ready.status, 503, "{}", ready.text());
}

/// Writes a state of a ConfigMap and makes it the mounted one, in the order in which the kubelet
/// does it.
fn mount(directory: &Path, state: usize, files: &[(&str, String)]) {
    let standing = directory.join(format!("..{state}"));
    std::fs::create_dir_all(&standing).unwrap();
    for (name, text) in files {
        std::fs::write(standing.join(name), text).unwrap();
    }
    symlink(format!("..{state}"), directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
    for (name, _) in files {
        let _ = symlink(Path::new("..data").join(name), directory.join(name));
    }
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with("..") && files.iter().all(|(kept, _)| *kept != name) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    if let Some(before) = state.checked_sub(1) {
        let _ = std::fs::remove_dir_all(directory.join(format!("..{before}")));
    }
}

#[tokio::test]
async fn a_configmap_is_swapped_under_load_and_each_swap_is_one_change() {
    let launch = launch().from("conf.d", &[]);
    let main = launch.text(&saying("/*", "steady"));
    let launch = launch.file("conf.d/..0/main.yaml", &main);
    let directory = launch.path().join("conf.d");
    let files = |n: usize| {
        let mut files =
            vec![("main.yaml", main.clone()), ("a.yaml", saying("/a", &format!("a{n}")))];
        // Each state has a file that the one before has not, and says the same in all.
        let other = if n.is_multiple_of(2) { "even.yaml" } else { "odd.yaml" };
        files.push((other, saying("/b", &format!("b{n}"))));
        files
    };
    mount(&directory, 1, &files(1));
    let gateway = launch.start("").await;
    says(&gateway, "/a", "a1").await;
    let load = Load::start(gateway.web(), 4, &request("GET", "/steady", &[], ""));
    load.more(50).await;
    let begun = generation(&gateway).await;
    for n in 2..22 {
        mount(&directory, n, &files(n));
        says(&gateway, "/b", &format!("b{n}")).await;
        assert_eq!(gateway.get("/a").await.text(), format!("a{n}"), "one state, and no mixture");
    }
    load.stop().await.flawless(100);
    assert_eq!(generation(&gateway).await - begun, 20.0);
    assert_eq!(refused(&gateway).await, 0.0);
}
