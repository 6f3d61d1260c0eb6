//! Settings of a wrong shape, over all plugins and all that their schemas name: what is said of
//! them is said in the words of a configuration, and never by the name of a type of this program.

use std::collections::BTreeSet;

use lockgate_core::{ConfigError, Plugin};
use serde_json::{Map, Value, json};

use super::{run, runtime};
use crate::ALL;

/// How far down settings are looked for.
const DEEP: usize = 4;

#[test]
fn what_is_said_of_a_wrong_shape_names_no_type() {
    // What they start in the background needs one; none of it runs.
    let runtime = runtime();
    let _entered = runtime.enter();
    let mut refused = 0;
    for plugin in ALL {
        let schema = schema(plugin).to_value();
        let mut places = BTreeSet::new();
        find(&schema, &schema, &mut Vec::new(), &mut places);
        for place in &places {
            for wrong in wrong() {
                let config = at(place, wrong.clone());
                let Err(error) = build(plugin, &config) else { continue };
                refused += 1;
                let said = format!("{}: {config}: {error}", plugin.name());
                for word in ["struct", "tuple", "enum", "newtype"] {
                    let names_it = |text: &str| text.split(' ').any(|one| one == word);
                    assert!(!names_it(&error.message), "{said}");
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

/// Values of which no setting takes all.
fn wrong() -> [Value; 8] {
    [
        json!("/x"),
        json!(7),
        json!(-1.5),
        json!(true),
        json!(null),
        json!([]),
        json!([[7]]),
        json!({ "no_such_key": 7 }),
    ]
}

fn schema(plugin: &Plugin) -> schemars::Schema {
    match plugin {
        Plugin::Policy(plugin) => plugin.schema(),
        Plugin::Handler(plugin) => plugin.schema(),
        Plugin::Identity(plugin) => plugin.schema(),
    }
}

fn build(plugin: &Plugin, config: &Value) -> Result<(), ConfigError> {
    let name = plugin.name();
    match plugin {
        Plugin::Identity(_) => run::identity(name, config).map(|_| ()),
        Plugin::Handler(_) => run::loads(&json!({ "to": { name: config } })),
        Plugin::Policy(_) => run::loads(&json!({ name: config, "to": "users" })),
    }
}

/// Settings that have nothing but this value at this place; `[]` is a list's only item.
fn at(place: &[String], value: Value) -> Value {
    place.iter().rev().fold(value, |value, key| match key.as_str() {
        "[]" => Value::Array(vec![value]),
        key => Value::Object(Map::from_iter([(key.to_owned(), value)])),
    })
}

/// The places of all settings that a schema names, down to some depth.
fn find(
    whole: &Value,
    schema: &Value,
    place: &mut Vec<String>,
    places: &mut BTreeSet<Vec<String>>,
) {
    places.insert(place.clone());
    if place.len() == DEEP {
        return;
    }
    if let Some(named) = schema["$ref"].as_str() {
        let target = named.strip_prefix('#').and_then(|named| whole.pointer(named));
        find(whole, target.unwrap_or(&Value::Null), place, places);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for one in schema[key].as_array().into_iter().flatten() {
            find(whole, one, place, places);
        }
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    let properties = properties.map(|(key, below)| (key.as_str(), below));
    let items = ["items", "additionalProperties"].map(|key| (key, &schema[key]));
    let items = items.into_iter().filter(|(_, below)| below.is_object());
    let items = items.map(|(key, below)| (if key == "items" { "[]" } else { "any" }, below));
    for (key, below) in properties.chain(items) {
        place.push(key.to_owned());
        find(whole, below, place, places);
        place.pop();
    }
}
