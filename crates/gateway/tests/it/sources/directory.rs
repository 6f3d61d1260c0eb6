//! A configuration that is the files of a directory: they come, change and go, a mounted ConfigMap
//! is swapped under load, and a directory that vanishes takes nothing with it.

use std::os::unix::fs::symlink;
use std::path::Path;

use lockgate_testkit::{Gateway, Load, request, until};

use super::{saying, says};
use crate::support::launch;

async fn generation(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("lockgate_config_generation", &[])
}

async fn refused(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("lockgate_config_reloads_total", &[("result", "refused")])
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
    let (there, away) = (gateway.dir().path().join("conf.d"), gateway.dir().path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    until("the refusal", async || refused(&gateway).await >= 1.0).await;
    says(&gateway, "/", "first").await;
    std::fs::create_dir(&there).unwrap();
    gateway.signal("HUP");
    until("the empty directory to be refused", async || {
        gateway.said().contains("there is no") && refused(&gateway).await >= 2.0
    })
    .await;
    says(&gateway, "/", "first").await;
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    let text = gateway.text(&saying("/", "again"));
    gateway.dir().write("conf.d/10-first.yaml", text);
    says(&gateway, "/", "again").await;
    gateway.dir().write("conf.d/20-second.yaml", saying("/second", "seen"));
    says(&gateway, "/second", "seen").await;
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
