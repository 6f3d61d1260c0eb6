//! `new-policy` writes what builds and passes: one is made in a copy of the crates that a
//! policy stands on, and that copy's tests are run.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A workspace of `core`, `plugins`, `state` and what the tests of that stand on.
fn copy() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-policy");
    let _ = fs::remove_dir_all(&place);
    for room in ["core", "plugins", "state", "testkit"] {
        let from = root().join("crates").join(room);
        copy_folder(&from, &place.join("copy/crates").join(room));
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("default-members = [\"crates/gateway\"]\n", "");
    // Not at the same place below its root as here: cargo would take one build for the other.
    let manifest = manifest.replace("\"crates/", "\"copy/crates/");
    fs::write(place.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root().join("Cargo.lock"), place.join("Cargo.lock")).unwrap();
    place
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn xtask(root: &Path, name: &str) -> (bool, String) {
    let answer = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["--root".as_ref(), root.as_os_str()])
        .args(["new-policy", name])
        .output()
        .unwrap();
    (answer.status.success(), String::from_utf8_lossy(&answer.stderr).into_owned())
}

#[test]
fn what_it_writes_builds_and_its_cases_pass() {
    let place = copy();
    let root = place.join("copy");
    assert_eq!(xtask(&root, "tea_time"), (true, String::new()));
    let (again, says) = xtask(&root, "tea_time");
    assert!(!again && says.contains("is taken"), "{says}");
    let (bad, says) = xtask(&root, "Tea-Time");
    assert!(!bad && says.contains("snake case"), "{says}");

    let answer = Command::new(env!("CARGO"))
        .args(["test", "--offline", "-p", "lockgate-plugins", "--lib"])
        .current_dir(&place)
        // Beside this build's own: what plugins depend on is built once.
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join(".."))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&answer.stdout);
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{text}{errors}");
    assert!(text.contains("every_case_of_every_plugin_holds ... ok"), "{text}");
    assert!(!errors.contains("warning"), "{errors}");

    let formatted =
        Command::new(env!("CARGO")).args(["fmt", "--check"]).current_dir(&place).status();
    assert!(formatted.unwrap().success(), "what it writes is formatted");
}
