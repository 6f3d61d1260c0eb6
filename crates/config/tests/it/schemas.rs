//! The JSON Schema says what the loader takes.

use lockgate_config::schema;
use serde_json::Value;

use crate::fake::ALL;

fn walk(value: &Value, visit: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(map);
            map.values().for_each(|part| walk(part, visit));
        }
        Value::Array(items) => items.iter().for_each(|part| walk(part, visit)),
        _ => {}
    }
}

#[test]
fn every_reference_resolves() {
    let schema = schema(ALL);
    let mut count = 0;
    walk(&schema, &mut |map| {
        let Some(Value::String(reference)) = map.get("$ref") else { return };
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(schema.pointer(pointer).is_some(), "{reference}");
        count += 1;
    });
    assert!(count > 20, "{count}");
}

#[test]
fn sections_short_forms_and_plugins_are_in_it() {
    let schema = schema(ALL);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for section in ["listeners", "admin", "upstreams", "routes", "defaults", "http", "include"] {
        let text = schema["properties"][section]["description"].as_str();
        assert!(text.is_some_and(|text| text.len() > 10), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
    let short = &schema["$defs"]["Listener"]["anyOf"];
    assert_eq!(short[0]["additionalProperties"], false);
    assert_eq!(short[1]["type"], "string");
    let strict = &schema["$defs"]["strict.settings"];
    assert_eq!(strict["properties"]["limit"]["description"], "At most ten.");
    assert_eq!(strict["properties"]["more"]["items"]["$ref"], "#/$defs/strict.Inner");
    let route = &schema["properties"]["routes"]["additionalProperties"]["anyOf"][0];
    assert!(route["properties"]["strict"].is_object());
    assert!(route["properties"]["to"].is_object());
    let defaults = &schema["properties"]["defaults"]["properties"];
    assert!(defaults["timeout"].is_object() && defaults["strict"].is_object());
    assert!(defaults.get("endpoints").is_none());
}

#[test]
fn every_key_is_described_to_the_user() {
    let schema = schema(&[]);
    let mut bare = Vec::new();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        let long = definition.get("anyOf").map_or(definition, |forms| &forms[0]);
        for (key, value) in long.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            let by_reference = value.to_string().contains("$ref");
            if value.get("description").is_none() && !by_reference {
                bare.push(format!("{name}.{key}"));
            }
        }
    }
    assert_eq!(bare, Vec::<String>::new());
}
