//! The index template for Elasticsearch has every field of a line in the Common Schema's names,
//! each as a type that can hold it, and none that no line has.

use std::collections::BTreeMap;

use super::*;

/// What shippers add.
const OF_OTHERS: [&str; 5] =
    ["data_stream.dataset", "data_stream.namespace", "data_stream.type", "message", "service.name"];

/// Every field that the template maps, and its type.
fn mapped() -> BTreeMap<String, String> {
    fn into(all: &mut BTreeMap<String, String>, prefix: &str, of: &Value) {
        for (name, field) in of.as_object().unwrap() {
            let path = format!("{prefix}{name}");
            if let Some(kind) = field.get("type").and_then(Value::as_str) {
                all.insert(path.clone(), kind.to_owned());
            }
            if let Some(inner) = field.get("properties") {
                into(all, &format!("{path}."), inner);
            }
        }
    }
    let path = "../../deploy/logging/elasticsearch/index-template.json";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let template: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(template["index_patterns"], serde_json::json!(["logs-lockgate.access-*"]));
    assert!(template["data_stream"].is_object());
    let mut all = BTreeMap::new();
    into(&mut all, "", &template["template"]["mappings"]["properties"]);
    all
}

fn holds(kind: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => match kind {
            "ip" => text.parse::<std::net::IpAddr>().is_ok(),
            "date" => text.ends_with('Z'),
            _ => ["keyword", "constant_keyword", "wildcard", "match_only_text"].contains(&kind),
        },
        Value::Number(number) if number.is_f64() => ["float", "double"].contains(&kind),
        Value::Number(_) => ["long", "integer", "short"].contains(&kind),
        Value::Array(list) => list.iter().all(|one| holds(kind, one)),
        Value::Object(_) => kind == "flattened",
        _ => false,
    }
}

#[test]
fn every_field_of_a_line_is_in_the_index_template() {
    let mut headers = HeaderMap::new();
    headers.insert("x-demo", HeaderValue::from_static("1"));
    let (tls, tags) = (full_tls(), ["money".to_owned()]);
    let entry = full_entry(&tls, &headers, &tags);
    let (_, line) = json(&entry, &["x-demo"], true);
    let mut mapped = mapped();
    for (name, value) in line.as_object().unwrap() {
        let kind = mapped.remove(name);
        let kind = kind.unwrap_or_else(|| panic!("{name} is not in the index template"));
        assert!(holds(&kind, value), "{name}: {value} is no {kind}");
    }
    mapped.retain(|name, _| !OF_OTHERS.contains(&name.as_str()));
    assert!(mapped.is_empty(), "in the template, and in no line: {mapped:?}");
}

#[test]
fn what_a_line_may_hold_fits_into_the_index() {
    // Elasticsearch refuses a term of more than 32,766 bytes, and with it the whole line.
    let longest = 3 * escape_limit();
    assert!(longest < 32_766, "{longest}");
}

/// A value's longest, in bytes.
fn escape_limit() -> usize {
    let long = "a".repeat(100_000);
    escape::cut(long.as_bytes()).0.len()
}
