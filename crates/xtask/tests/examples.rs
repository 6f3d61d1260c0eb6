//! Every configuration that is shown to a reader loads as it stands: the files of `examples/`, and
//! those inside of the plugins' READMEs and the project's own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_config::{Loaded, load_str_with};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn load(name: &str, text: &str) -> Loaded {
    let value = |name: &str| match name {
        "PORT" => Some("8080".to_owned()),
        "ADMIN_PORT" => Some("9901".to_owned()),
        "STORE" => Some("memory".to_owned()),
        name if name.ends_with("_WEBHOOK") => Some("https://hooks.example.com/x".to_owned()),
        name => Some(format!("the value of {name}")),
    };
    load_str_with(name, text, lockgate_plugins::ALL, &value)
        .unwrap_or_else(|report| panic!("{name}:\n{}", report.render(false)))
}

#[test]
fn the_files_of_examples_load_without_a_warning() {
    let mut count = 0;
    let places = ["examples", "examples/bank", "examples/cluster", "deploy/compose/lockgate"];
    let entries = places.map(|place| fs::read_dir(root().join(place)).unwrap());
    for entry in entries.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let loaded = load(&path.display().to_string(), &text);
        assert!(loaded.warnings.is_empty(), "{}: {:?}", path.display(), loaded.warnings);
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn what_the_readmes_and_guides_show_loads() {
    let mut pages = vec![root().join("README.md")];
    for plugin in lockgate_plugins::ALL {
        pages.push(root().join("crates/plugins/src").join(plugin.name()).join("README.md"));
    }
    for guide in ["alerts.md", "uptime.md"] {
        pages.push(root().join("docs/guides").join(guide));
    }
    let mut count = 0;
    for page in pages {
        let Ok(text) = fs::read_to_string(&page) else { continue };
        for fence in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            // A part of a file, such as one route's policies, is not a whole configuration.
            let whole = |line: &str| line.starts_with("routes:") || line.starts_with("alerts:");
            if fence.lines().any(whole) {
                load(&format!("{}.yaml", page.display()), fence);
                count += 1;
            }
        }
    }
    assert!(count >= lockgate_plugins::ALL.len());
}
