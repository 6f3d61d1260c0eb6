//! `.ci/run`, in a folder of its own and with a `cargo` that only takes the pictures which the
//! browser tests would: they are kept where they are looked for, however the run ends.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CARGO: &str = "#!/bin/sh
[ \"$2\" = test ] || exit 0
mkdir -p target/screenshots
touch target/screenshots/overview.png target/screenshots/errors.png
exit \"$FAKE_RESULT\"
";

/// A repository of nothing but the script, with a picture of an earlier run.
fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&place);
    for folder in [".ci", "bin", "target/screenshots"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/run");
    fs::copy(script, place.join(".ci/run")).unwrap();
    fs::write(place.join("target/screenshots/old.png"), "").unwrap();
    let cargo = place.join("bin/cargo");
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    place
}

fn run(place: &Path, result: &str, artifacts: Option<&str>) -> Output {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(place.join(".ci/run"));
    command.env("PATH", format!("{}:{path}", place.join("bin").display()));
    command.env("FAKE_RESULT", result).env_remove("CI_ARTIFACTS");
    if let Some(artifacts) = artifacts {
        command.env("CI_ARTIFACTS", artifacts);
    }
    command.output().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn pictures_are_kept_where_it_is_said() {
    let place = place("ci-passed");
    let to = place.join("kept here");
    let ran = run(&place, "0", to.to_str());
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}");
    let line = format!("artefacts: 2 screenshots in {}/screenshots", to.display());
    assert!(said.contains(&line), "{said}");
    assert_eq!(names(&to.join("screenshots")), ["errors.png", "overview.png"]);
}

#[test]
fn they_are_kept_when_a_test_fails_too() {
    let place = place("ci-failed");
    let ran = run(&place, "3", None);
    let said = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(3), "{said}");
    assert!(said.contains("artefacts: 2 screenshots in target/artifacts/screenshots"), "{said}");
    assert!(!said.contains("all passed"), "{said}");
    let kept = place.join("target/artifacts/screenshots");
    assert_eq!(names(&kept), ["errors.png", "overview.png"]);
}
