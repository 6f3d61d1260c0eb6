//! What is deployed with: compose files and the configurations of Prometheus and Grafana are YAML
//! that can be read, every file that is mounted is there, and every image has a version.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly"
)]

use std::collections::{HashMap, HashSet};
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
            if from.starts_with('.') {
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
    assert!(mounted >= 6, "{mounted}");
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
    // Dashboards ask whichever source of this kind there is.
    assert_eq!(source["type"], "prometheus");
    let rules = list(&scrape["rule_files"]).pop().unwrap();
    let rules = format!(":/etc/prometheus/{}:", rules.trim_end_matches("/*.yml"));
    let mounts = list(&services["prometheus"]["volumes"]);
    assert!(mounts.iter().any(|mount| mount.contains(&rules)), "{rules} {mounts:?}");
}

/// The fields of the access log: those of `format: json`, and those of `format: ecs`. The reference
/// is generated from the log's own table, and held to it.
fn fields() -> (HashSet<String>, HashSet<String>) {
    let page = folder().join("../../docs/reference/access-log.md");
    let text = fs::read_to_string(page).unwrap();
    let (_, generated) = text.split_once("<!-- generated: begin -->").unwrap();
    let rows = generated.lines().filter(|line| line.starts_with("| `"));
    let cell = |row: &str, place| row.split('`').nth(place).unwrap().to_owned();
    rows.map(|row| (cell(row, 1), cell(row, 3))).unzip()
}

#[test]
fn shippers_to_loki_name_fields_of_the_log() {
    let (json, _) = fields();
    let logging = folder().join("../logging");
    let promtail = read(&logging.join("loki/promtail.yaml"));
    let stages = promtail["scrape_configs"][0]["pipeline_stages"].as_array().unwrap();
    let extracted = stages[0]["json"]["expressions"].as_object().unwrap();
    assert!(extracted.len() >= 6);
    for field in extracted.values() {
        assert!(json.contains(field.as_str().unwrap()), "there is no {field}");
    }
    // Later stages take what the first has found.
    for stage in &stages[1..] {
        let (name, settings) = stage.as_object().unwrap().iter().next().unwrap();
        for (key, source) in settings.as_object().unwrap() {
            let taken = name != "timestamp" || key == "source";
            assert!(!taken || extracted.contains_key(source.as_str().unwrap()), "{stage}");
        }
    }
    // Alloy says the same in its own language.
    let alloy = fs::read_to_string(logging.join("loki/config.alloy")).unwrap();
    let words: HashSet<&str> = alloy.split('"').skip(1).step_by(2).collect();
    for field in extracted.keys() {
        assert!(words.contains(field.as_str()), "{field}");
    }
    for (open, close) in [('{', '}'), ('[', ']'), ('(', ')')] {
        assert_eq!(alloy.matches(open).count(), alloy.matches(close).count(), "{open}");
    }
}

#[test]
fn shippers_agree_on_where_lines_come_from_and_go() {
    let (json, ecs) = fields();
    let logging = folder().join("../logging");
    let template = fs::read_to_string(logging.join("elasticsearch/index-template.json")).unwrap();
    let template: Value = serde_json::from_str(&template).unwrap();
    let pattern = list(&template["index_patterns"]).pop().unwrap();
    let prefix = pattern.strip_suffix('*').unwrap();

    let filebeat = read(&logging.join("filebeat/filebeat.yml"));
    let input = &filebeat["filebeat.inputs"][0];
    let ndjson = &input["parsers"][0]["ndjson"];
    // Names of the Common Schema are dotted in the log.
    assert!(ecs.iter().filter(|field| field.contains('.')).count() > 30);
    assert_eq!((&ndjson["expand_keys"], &ndjson["overwrite_keys"]), (&true.into(), &true.into()));
    assert_eq!(filebeat["setup.template.enabled"], false);
    let index = filebeat["output.elasticsearch"]["index"].as_str().unwrap();
    assert!(index.starts_with(prefix), "{index}");
    let from = list(&input["paths"]).pop().unwrap();

    for name in ["vector", "elasticsearch"] {
        let vector = read(&logging.join(format!("vector/{name}.yaml")));
        assert_eq!(list(&vector["sources"]["access"]["include"]), [from.as_str()]);
        let known = ["access", "parsed", "parsed.dropped"];
        for kind in ["transforms", "sinks"] {
            for (one, settings) in vector[kind].as_object().unwrap() {
                let inputs = list(&settings["inputs"]);
                assert!(inputs.iter().all(|input| known.contains(&input.as_str())), "{one}");
            }
        }
        let script = vector["transforms"]["parsed"]["source"].as_str().unwrap();
        assert!(script.contains("parse_json!"), "{script}");
    }
    assert!(json.contains("time"));
    let stream = &read(&logging.join("vector/elasticsearch.yaml"));
    let stream = &stream["sinks"]["elasticsearch"]["data_stream"];
    let part = |key: &str| stream[key].as_str().unwrap().to_owned();
    let name = format!("{}-{}-{}", part("type"), part("dataset"), part("namespace"));
    assert!(name.starts_with(prefix), "{name}");
}
