//! The JSON Schema (2020-12) of the whole document, for editors: the model's own, the short forms,
//! and every plugin's under the name that it goes by.

use lockgate_core::Plugin;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::decode::{UPSTREAM_KEYS, forms};
use crate::model::{
    Admin, AlertSink, Condition, Consumer, Http, Listener, Quiet, Retry, Rewrite, Rules, Store,
    Telemetry, Upstream,
};

/// Structs that may be switched off, or on with all their defaults.
const SWITCHED: &[&str] = &[
    "AccessLog",
    "Admin",
    "Breaker",
    "BreakerOpen",
    "Certificate",
    "ConfigRefused",
    "EndpointDown",
    "ErrorRatio",
    "Health",
    "LogDrops",
    "OtlpMetrics",
    "Outlier",
    "P99",
    "Retry",
    "StoreFailing",
    "Telemetry",
    "Traces",
    "UpstreamLow",
    "UpstreamTls",
];

/// The schema of a document that may use these plugins.
pub fn schema(plugins: &[Plugin]) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut properties = Map::new();
    for (name, text, schema) in sections(&mut generator, plugins) {
        properties.insert(name.into(), described(schema, text));
    }
    let route = route(&mut generator, plugins);
    let mut definitions = generator.take_definitions(true);
    let plugged = plug_in(plugins, &mut definitions);
    properties.insert("routes".into(), routes(route, &plugged));
    properties.insert("defaults".into(), defaults(&definitions, plugged.policies));
    for (name, definition) in &mut definitions {
        if !name.contains('.') {
            close(definition);
            shorten(name, definition);
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lockgate configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": definitions,
    })
}

/// The sections but `routes` and `defaults`, which speak of plugins: name, meaning, schema.
fn sections(
    generator: &mut SchemaGenerator,
    plugins: &[Plugin],
) -> [(&'static str, &'static str, Value); 14] {
    [
        (
            "listeners",
            "Where clients are listened for. One, `web: \":8080\"`, when left out.",
            by_name(reference::<Listener>(generator)),
        ),
        (
            "admin",
            "The admin listener: health, metrics, the admin API.",
            reference::<Admin>(generator),
        ),
        (
            "workers",
            "Worker threads: `cores`, or a number. A restart changes it.",
            json!({ "anyOf": [{ "const": "cores" }, { "type": "integer", "minimum": 1 }] }),
        ),
        (
            "replicas",
            "How many gateways run with this configuration: `check` then warns of what they would \
             need to share and do not.",
            json!({ "type": "integer", "minimum": 1 }),
        ),
        ("http", "Limits and timeouts towards clients.", reference::<Http>(generator)),
        (
            "trusted_proxies",
            "Networks whose forwarded-for chain and PROXY header are believed.",
            json!({ "type": "array", "items": { "type": "string" } }),
        ),
        ("identity", "Name → how callers prove who they are.", identities(plugins)),
        (
            "consumers",
            "Name → what is known of a caller.",
            by_name(reference::<Consumer>(generator)),
        ),
        (
            "stores",
            "Name → where state is kept: `memory`, or a Redis.",
            by_name(reference::<Store>(generator)),
        ),
        ("plans", "Name → limits and quotas that consumers share.", json!({ "type": "object" })),
        (
            "upstreams",
            "Name → a service, its endpoints and how to treat them.",
            by_name(reference::<Upstream>(generator)),
        ),
        ("telemetry", "Access log, metrics and traces.", reference::<Telemetry>(generator)),
        ("alerts", "Who is told of what goes wrong, and by which rules.", alerts(generator)),
        (
            "include",
            "Other files, merged: names or globs, from this file's directory.",
            json!({ "anyOf": [{ "type": "string" },
                { "type": "array", "items": { "type": "string" } }] }),
        ),
    ]
}

/// Four settings, and beside them names.
fn alerts(generator: &mut SchemaGenerator) -> Value {
    let time = reference::<lockgate_core::Time>(generator);
    json!({
        "type": "object",
        "properties": {
            "rules": reference::<Rules>(generator),
            "group_wait": described(time.clone(), "How long the first alert of a group waits for \
                others (10s)."),
            "repeat_after": described(time, "When what still fires is told of again (4h; 0s: \
                never)."),
            "quiet": described(reference::<Quiet>(generator), "When only critical alerts are told."),
        },
        "additionalProperties": reference::<AlertSink>(generator),
    })
}

/// An identity is one kind and its settings.
fn identities(plugins: &[Plugin]) -> Value {
    let kinds = plugins.iter().filter(|plugin| matches!(plugin, Plugin::Identity(_)));
    let kinds = kinds.map(|plugin| {
        let settings = json!({ "$ref": format!("#/$defs/{}.settings", plugin.name()) });
        (plugin.name().to_owned(), settings)
    });
    let kinds: Map<String, Value> = kinds.collect();
    let one = json!({ "type": "object", "additionalProperties": false, "minProperties": 1,
        "maxProperties": 1, "properties": kinds });
    by_name(one)
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn by_name(schema: Value) -> Value {
    json!({ "type": "object", "additionalProperties": schema })
}

fn described(schema: Value, text: &str) -> Value {
    match schema {
        Value::Object(mut map) => {
            map.insert("description".into(), text.into());
            Value::Object(map)
        }
        other => json!({ "description": text, "anyOf": [other] }),
    }
}

/// A route's own keys.
fn route(generator: &mut SchemaGenerator, plugins: &[Plugin]) -> Map<String, Value> {
    let mut own = Map::new();
    let time = reference::<lockgate_core::Time>(generator);
    let handlers = plugins.iter().filter(|plugin| matches!(plugin, Plugin::Handler(_)));
    let mut to = vec![
        json!({ "type": "string", "description": "An upstream's name, or a URL." }),
        json!({ "type": "object", "description": "Upstreams by weight.",
            "additionalProperties": { "type": "integer", "minimum": 0 } }),
    ];
    for handler in handlers {
        let name = handler.name();
        to.push(json!({ "type": "object", "required": [name], "additionalProperties": false,
            "properties": { name: { "$ref": format!("#/$defs/{name}.settings") } } }));
    }
    for (name, text, schema) in [
        ("to", "Where requests go.", json!({ "anyOf": to })),
        ("when", "When this route holds; all parts must.", reference::<Condition>(generator)),
        (
            "rewrite",
            "How the request changes on its way upstream.",
            reference::<Rewrite>(generator),
        ),
        (
            "timeout",
            "The whole request's limit, instead of the upstream's. `off`: none.",
            json!({ "anyOf": [time, off()] }),
        ),
        ("retry", "Instead of the upstream's.", reference::<Retry>(generator)),
        (
            "priority",
            "What is shed last under overload.",
            json!({ "enum": ["high", "normal", "low"] }),
        ),
        (
            "tags",
            "Free words, shown by `routes` and in the log.",
            json!({ "type": "array", "items": { "type": "string" } }),
        ),
    ] {
        own.insert(name.into(), described(schema, text));
    }
    own
}

struct Plugged {
    policies: Map<String, Value>,
}

/// Lifts the plugins' schemas into the definitions, as `NAME.settings` and `NAME.TYPE`.
fn plug_in(plugins: &[Plugin], definitions: &mut Map<String, Value>) -> Plugged {
    let mut policies = Map::new();
    for plugin in plugins {
        let name = plugin.name();
        let mut schema = plugin.schema().to_value();
        rename(&mut schema, name);
        if let Value::Object(map) = &mut schema {
            map.shift_remove("$schema");
            map.shift_remove("title");
            if let Some(Value::Object(inner)) = map.shift_remove("$defs") {
                definitions
                    .extend(inner.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
        }
        definitions.insert(format!("{name}.settings"), schema);
        if matches!(plugin, Plugin::Policy(_)) {
            let one = json!({ "$ref": format!("#/$defs/{name}.settings") });
            let several = json!({ "type": "array", "items": one });
            policies.insert(name.into(), json!({ "anyOf": [one, several, off()] }));
        }
    }
    Plugged { policies }
}

fn off() -> Value {
    json!({ "enum": [false, "off"] })
}

/// Points references at the place where [`plug_in`] puts the definitions.
fn rename(schema: &mut Value, plugin: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix("#/$defs/") {
                            *text = format!("#/$defs/{plugin}.{name}");
                        }
                    }
                    other => rename(other, plugin),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, plugin)),
        _ => {}
    }
}

fn routes(mut own: Map<String, Value>, plugged: &Plugged) -> Value {
    own.extend(plugged.policies.clone());
    let route = json!({ "type": "object", "required": ["to"], "additionalProperties": false,
        "properties": own });
    json!({
        "type": "object",
        "description": "`[METHOD ][HOST]/path` → a route, or a list told apart by `when`. The \
            most specific pattern wins.",
        "additionalProperties": {
            "anyOf": [route, { "type": "array", "minItems": 1, "items": route }],
        },
    })
}

fn defaults(definitions: &Map<String, Value>, policies: Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for key in UPSTREAM_KEYS {
        let all = definitions.get("Upstream").and_then(|upstream| upstream.get("properties"));
        if let Some(schema) = all.and_then(|all| all.get(*key)) {
            properties.insert((*key).into(), schema.clone());
        }
    }
    properties.extend(policies);
    json!({
        "type": "object",
        "description": "Policies and upstream settings that every route or upstream inherits.",
        "additionalProperties": false,
        "properties": properties,
    })
}

/// Unknown keys are errors.
fn close(definition: &mut Value) {
    if let Value::Object(map) = definition
        && map.contains_key("properties")
    {
        map.insert("additionalProperties".into(), false.into());
    }
}

/// Puts the short form beside the long one.
fn shorten(name: &str, definition: &mut Value) {
    let field = forms::short(name);
    let mut forms = Vec::new();
    if let Some(field) = field
        && let Some(schema) = definition.get("properties").and_then(|all| all.get(field))
    {
        forms.push(schema.clone());
    }
    if SWITCHED.contains(&name) {
        forms.push(json!({ "type": "boolean" }));
        forms.push(json!({ "const": "off" }));
    }
    if name == "Balance" || name == "Sticky" || forms.is_empty() {
        return;
    }
    let long = definition.take();
    let text = long.get("description").cloned();
    forms.insert(0, long);
    let mut both = json!({ "anyOf": forms });
    if let (Value::Object(map), Some(text)) = (&mut both, text) {
        map.insert("description".into(), text);
    }
    *definition = both;
}
