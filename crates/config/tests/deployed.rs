//! What is deployed with: compose files and the configurations of Prometheus and Grafana are YAML
//! that can be read, every file that is mounted is there, and every image has a version.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly"
)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/compose")
}

/// What has been opened: a list, or a map with the key that waits for its value.
enum Open {
    List(Vec<Value>, usize),
    Map(Map<String, Value>, Option<String>, usize),
}

/// YAML as a value, with aliases and merged maps, as compose reads it.
fn read(file: &Path) -> Value {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (mut open, mut known): (Vec<Open>, HashMap<usize, Value>) = Default::default();
    let mut whole = Value::Null;
    for event in Parser::new_from_str(&text) {
        let (event, _) = event.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
            Event::SequenceStart(anchor, _) => {
                open.push(Open::List(Vec::new(), anchor));
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open::Map(Map::new(), None, anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop().unwrap() {
                Open::List(list, anchor) => (Value::Array(list), anchor),
                Open::Map(map, None, anchor) => (Value::Object(map), anchor),
                Open::Map(_, Some(key), _) => panic!("{}: {key} has no value", file.display()),
            },
            Event::Alias(anchor) => (known[&anchor].clone(), 0),
            _ => continue,
        };
        if anchor > 0 {
            known.insert(anchor, value.clone());
        }
        match open.last_mut() {
            None => whole = value,
            Some(Open::List(list, _)) => list.push(value),
            Some(Open::Map(map, key, _)) => match key.take() {
                None => *key = Some(value.as_str().expect("a key").to_owned()),
                Some(merge) if merge == "<<" => {
                    for (name, value) in value.as_object().expect("a map").clone() {
                        map.entry(name).or_insert(value);
                    }
                }
                Some(name) => drop(map.insert(name, value)),
            },
        }
    }
    whole
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match text {
        _ if style != ScalarStyle::Plain => text.into(),
        "true" => true.into(),
        "false" => false.into(),
        _ => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}

fn list(value: &Value) -> Vec<String> {
    let items = value.as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn what_compose_mounts_and_builds_is_there() {
    let compose = read(&folder().join("compose.yaml"));
    let services = compose["services"].as_object().unwrap();
    let volumes = compose["volumes"].as_object().unwrap();
    let mut mounted = 0;
    for (name, service) in services {
        for volume in list(&service["volumes"]) {
            let (from, to) = volume.split_once(':').unwrap();
            assert!(to.starts_with('/'), "{name}: {volume}");
            if from.starts_with("./") {
                assert!(folder().join(from).exists(), "{name}: {volume}");
                mounted += 1;
            } else {
                assert!(volumes.contains_key(from), "{name}: {volume}");
            }
        }
        for other in list(&service["depends_on"]) {
            assert!(services.contains_key(&other), "{name} depends on {other}");
        }
        if let Some(build) = service.get("build") {
            let context = folder().join(build["context"].as_str().unwrap());
            let dockerfile = context.join(build["dockerfile"].as_str().unwrap());
            assert!(dockerfile.is_file(), "{}", dockerfile.display());
        }
    }
    assert!(mounted >= 5, "{mounted}");
}

#[test]
fn every_image_has_a_version() {
    let compose = read(&folder().join("compose.yaml"));
    for (name, service) in compose["services"].as_object().unwrap() {
        let image = service["image"].as_str().unwrap();
        let version = image.rsplit_once(':').map(|(_, version)| version).unwrap_or_default();
        assert!(version.contains(|letter: char| letter.is_ascii_digit()), "{name}: {image}");
    }
    let dockerfile = folder().join("../docker/Dockerfile");
    let text = fs::read_to_string(dockerfile).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let version = line.split_once(':').map(|(_, version)| version).unwrap_or_default();
        assert!(version.starts_with(|letter: char| letter.is_ascii_digit()), "{line}");
    }
    let user = text.lines().filter_map(|line| line.strip_prefix("USER ")).next_back();
    assert_ne!(user.expect("a user without rights").trim(), "0");
}

#[test]
fn prometheus_asks_every_gateway_and_grafana_finds_it() {
    let compose = read(&folder().join("compose.yaml"));
    let services = compose["services"].as_object().unwrap();
    let scrape = read(&folder().join("prometheus/prometheus.yml"));
    let targets = &scrape["scrape_configs"][0]["dns_sd_configs"][0];
    for name in list(&targets["names"]) {
        let config = list(&services[&name]["command"]).pop().unwrap();
        let file = Path::new(&config).file_name().unwrap();
        let text = fs::read_to_string(folder().join("lockgate").join(file)).unwrap();
        assert!(text.contains(&format!("0.0.0.0:{}", targets["port"])), "{name}: {text}");
    }
    let sources = read(&folder().join("grafana/provisioning/datasources/prometheus.yaml"));
    let source = &sources["datasources"][0];
    let url = source["url"].as_str().unwrap();
    let host = url.trim_start_matches("http://").split(':').next().unwrap();
    assert!(services.contains_key(host), "{url}");
    let providers = read(&folder().join("grafana/provisioning/dashboards/lockgate.yaml"));
    let place = providers["providers"][0]["options"]["path"].as_str().unwrap();
    let mounts = list(&services["grafana"]["volumes"]);
    assert!(mounts.iter().any(|mount| mount.contains(&format!(":{place}:"))), "{mounts:?}");
    let text = fs::read_to_string(folder().join("grafana/dashboards/lockgate.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"], source["uid"], "{panel}");
    }
}
