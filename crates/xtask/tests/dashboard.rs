//! Dashboards, rules and their tests ask for metrics that there are, by labels that these have, in
//! queries that Prometheus can read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Labels that Prometheus itself gives.
const ITS_OWN: [&str; 6] = ["job", "instance", "le", "alertname", "alertstate", "severity"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All metrics with their labels. The reference is generated from the registry, and held to it.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let reference = fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let (_, generated) = reference.split_once("<!-- generated: begin -->").unwrap();
    let mut known = BTreeMap::new();
    for row in generated.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().unwrap().trim_matches('`').to_owned();
        let labels = cells.nth(1).unwrap().split(", ").map(|label| label.trim_matches('`'));
        known.insert(name, labels.filter(|label| !label.is_empty()).map(str::to_owned).collect());
    }
    for plugin in lockgate_plugins::ALL {
        for metric in plugin.metrics() {
            let labels = metric.labels.iter().map(|&label| label.to_owned()).collect();
            known.insert(metric.name.to_owned(), labels);
        }
    }
    known.insert("up".to_owned(), BTreeSet::new());
    known
}

/// A dashboard's queries, with what its variables stand for put in.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let plain = |target: &Value| {
        let legend = target["legendFormat"].as_str().unwrap().to_owned();
        let mut query = target["expr"].as_str().unwrap().to_owned();
        query = query.replace("$__rate_interval", "5m").replace("$__range", "1h");
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            query = query.replace(&format!("\"${name}\""), "\".*\"");
        }
        assert!(!query.contains('$') && !query.contains('@'), "{query}");
        (query, legend)
    };
    targets.map(plain).collect()
}

fn dashboards() -> Vec<(PathBuf, Value)> {
    let folder = root().join("deploy/grafana/dashboards");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (path, value)
    };
    files.map(read).collect()
}

/// A query's words and signs; what stands in quotes is left out.
fn tokens(query: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for letter in query.chars() {
        if letter == '"' {
            quoted = !quoted;
        }
        let is_word = letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':' | '.');
        if is_word && !quoted {
            word.push(letter);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if !quoted && letter != '"' && !letter.is_whitespace() {
            tokens.push(letter.to_string());
        }
    }
    tokens.extend(Some(word).filter(|word| !word.is_empty()));
    tokens
}

/// The metrics that a query asks for, with all labels that it names of them: those that must be
/// theirs (in braces), and those that must be of one of them (of `by`, `on` and the like).
fn asked(query: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    const GROUPING: [&str; 7] =
        ["by", "without", "on", "ignoring", "group_left", "group_right", "bool"];
    let tokens = tokens(query);
    let (mut metrics, mut grouped) = (Vec::new(), Vec::new());
    let mut at = 0;
    let sign = |at: usize| tokens.get(at).map(String::as_str).unwrap_or_default();
    while at < tokens.len() {
        let word = sign(at).to_owned();
        at += 1;
        if GROUPING.contains(&word.as_str()) && sign(at) == "(" {
            while sign(at) != ")" {
                at += 1;
                grouped.extend(Some(sign(at)).filter(|word| word.len() > 1).map(str::to_owned));
            }
        } else if word.contains('_') && sign(at) != "(" || word == "up" {
            let mut labels = Vec::new();
            if sign(at) == "{" {
                while sign(at) != "}" {
                    at += 1;
                    let is_word = sign(at).starts_with(|letter: char| letter.is_ascii_alphabetic());
                    let is_label = is_word && matches!(sign(at + 1), "=" | "!");
                    labels.extend(is_label.then(|| sign(at).to_owned()));
                }
            }
            metrics.push((word, labels));
        }
    }
    (metrics, grouped)
}

/// The name of the metric that a series is of.
fn family(name: &str) -> &str {
    let parts = ["_bucket", "_sum", "_count"];
    parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// Checks one query: how many metrics it asks for.
fn check(known: &BTreeMap<String, BTreeSet<String>>, query: &str, shown: &[String]) -> usize {
    let (metrics, grouped) = asked(query);
    assert!(!metrics.is_empty(), "{query}");
    let mut all: BTreeSet<&str> = ITS_OWN.into();
    for (name, labels) in &metrics {
        let found = known.get(name).or_else(|| known.get(family(name)));
        let found = found.unwrap_or_else(|| panic!("there is no {name}: {query}"));
        all.extend(found.iter().map(String::as_str));
        for label in labels {
            let has = found.contains(label) || ITS_OWN.contains(&label.as_str());
            assert!(has, "{name} has no label {label}: {query}");
        }
    }
    for label in grouped.iter().chain(shown) {
        assert!(all.contains(label.as_str()), "nothing there has a label {label}: {query}");
    }
    metrics.len()
}

/// What stands between two marks, each time.
fn between<'a>(text: &'a str, begin: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split_once(end).map(|(inner, _)| inner))
}

#[test]
fn every_query_of_a_dashboard_names_what_exists() {
    let known = known();
    let (mut count, mut drawn) = (0, BTreeSet::new());
    for (path, dashboard) in dashboards() {
        assert_eq!(path.file_stem().unwrap().to_str(), dashboard["uid"].as_str());
        for (query, legend) in queries(&dashboard) {
            let shown: Vec<_> = between(&legend, "{{", "}}").map(str::to_owned).collect();
            count += check(&known, &query, &shown);
            drawn.extend(asked(&query).0.into_iter().map(|(name, _)| family(&name).to_owned()));
        }
    }
    assert!(count > 80, "{count}");
    let all: BTreeSet<String> = known.into_keys().collect();
    let hidden: Vec<_> = all.difference(&drawn).map(String::as_str).collect();
    assert!(hidden.len() * 3 < all.len(), "so much is on no dashboard: {hidden:?}");
}

#[test]
fn grafana_finds_what_it_needs_in_a_dashboard() {
    let all = dashboards();
    assert_eq!(all.len(), 5);
    for (path, dashboard) in all {
        let (mut ids, mut places) = (BTreeSet::new(), Vec::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{path:?}");
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
            assert!(x + w <= 24, "{panel}");
            for (x2, y2, w2, h2) in &places {
                let apart = x >= x2 + w2 || *x2 >= x + w || y >= y2 + h2 || *y2 >= y + h;
                assert!(apart, "{path:?}: panels lie on each other at {x}, {y}");
            }
            places.push((x, y, w, h));
            if panel["type"] != "row" {
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
                assert!(!panel["fieldConfig"]["defaults"]["unit"].is_null(), "{panel}");
            }
        }
        let known = known();
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let Some(values) = variable["definition"].as_str() else { continue };
            let inner = values.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
            let (query, label) = inner.rsplit_once(", ").unwrap();
            check(&known, query, &[label.to_owned()]);
        }
    }
}

#[test]
fn every_rule_names_what_exists() {
    let mut known = known();
    let folder = root().join("deploy/prometheus/rules");
    let texts = ["recording.yml", "alerts.yml"].map(|name| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        text.lines().filter(|line| !line.trim_start().starts_with('#')).fold(
            String::new(),
            |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            },
        )
    });
    let mut rules = 0;
    for text in texts {
        for rule in text.split("      - ").skip(1) {
            let (_, rest) = rule.split_once("expr:").unwrap();
            let ends = ["\n        for:", "\n        labels:", "\n        annotations:"];
            let end = ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
            let (query, told) = rest.split_at(end);
            let labels = told.split("$labels.").skip(1).map(|rest| {
                let end =
                    rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                rest[..end.unwrap_or(rest.len())].to_owned()
            });
            let query = query.trim().trim_start_matches('|');
            check(&known, query, &labels.collect::<Vec<_>>());
            // Recorded under a name that says which labels are left.
            if let Some(name) = rule.strip_prefix("record: ").and_then(|rest| rest.lines().next()) {
                let left = name.split(':').next().unwrap().split('_').map(str::to_owned);
                known.insert(name.to_owned(), left.collect());
            }
            rules += 1;
        }
    }
    assert!(rules >= 39, "{rules}");
}

fn promtool(arguments: &[&str], folder: &Path) -> String {
    let ran = Command::new("promtool").args(arguments).current_dir(folder).output();
    let ran = ran.expect("promtool is not installed: `cargo xtask test` installs it");
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "promtool {arguments:?}: {said}");
    said.into_owned()
}

#[test]
fn alerts_fire_when_they_should_and_else_not() {
    let folder = root().join("deploy/prometheus");
    let said = promtool(&["test", "rules", "tests/alerts.yml"], &folder);
    assert!(said.contains("SUCCESS"), "{said}");
    promtool(&["check", "config", "prometheus.yml"], &folder);
    promtool(&["check", "rules", "rules/alerts.yml", "rules/recording.yml"], &folder);
    // An alert that no test lets fire may be one that never fires.
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (alerts, tests) = (read("rules/alerts.yml"), read("tests/alerts.yml"));
    for alert in between(&alerts, "- alert: ", "\n") {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} is not tested");
    }
}

#[test]
fn prometheus_can_read_every_query() {
    let folder = std::env::temp_dir().join(format!("lockgate-queries-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut rules = Vec::new();
    for (_, dashboard) in dashboards() {
        for (query, _) in queries(&dashboard) {
            let name = format!("q{}", rules.len());
            rules.push(serde_json::json!({ "record": name, "expr": query }));
        }
    }
    assert!(rules.len() > 80, "{}", rules.len());
    // JSON is YAML.
    let file = serde_json::json!({ "groups": [{ "name": "all", "rules": rules }] });
    fs::write(folder.join("all.yml"), file.to_string()).unwrap();
    promtool(&["check", "rules", "all.yml"], &folder);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_query_is_taken_apart() {
    let query = "sum by (route) (rate(lockgate_x_total{job=~\"a{b\",status!=\"2..\"}[5m])) > 0.5";
    let (metrics, grouped) = asked(query);
    let labels = ["job", "status"].map(str::to_owned).to_vec();
    assert_eq!(metrics, [("lockgate_x_total".to_owned(), labels)]);
    assert_eq!(grouped, ["route"]);
}
