//! The dashboard asks for metrics that there are.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("lockgate_"))
}

#[test]
fn every_query_names_metrics_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // The reference is generated from the registry, and held to it.
    let reference = fs::read_to_string(root.join("docs/reference/metrics.md")).unwrap();
    let (_, generated) = reference.split_once("<!-- generated: begin -->").unwrap();
    let mut known: BTreeSet<String> = words(generated).map(str::to_owned).collect();
    for plugin in lockgate_plugins::ALL {
        known.extend(plugin.metrics().iter().map(|metric| metric.name.to_owned()));
    }
    let dashboard = root.join("deploy/compose/grafana/dashboards/lockgate.json");
    let text = fs::read_to_string(dashboard).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            assert!(words(query).next().is_some(), "{query}");
            for name in words(query) {
                let family = name.trim_end_matches("_bucket");
                assert!(known.contains(family), "{name} in: {query}");
                asked += 1;
            }
        }
    }
    assert!(asked >= 9, "{asked}");
}
