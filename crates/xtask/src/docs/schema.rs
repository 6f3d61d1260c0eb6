//! Reads JSON Schemas: as rows of a page, and the whole configuration's as a file.

use anyhow::Result;
use serde_json::{Map, Value};

/// Deepest nesting that is written out: a schema may name itself.
const MAX_DEPTH: usize = 6;

/// The JSON Schema of a whole configuration file.
pub(super) fn document() -> Result<String> {
    let schema = lockgate_config::schema(lockgate_plugins::ALL);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its place, keys joined by dots.
    pub(super) key: String,
    pub(super) kind: String,
    pub(super) usual: String,
    pub(super) what: String,
}

/// All settings of a schema, those inside of others after them.
pub(super) fn rows(schema: &Value) -> Vec<Row> {
    let mut out = Vec::new();
    walk(schema, schema, "", MAX_DEPTH, &mut out);
    out
}

fn walk(root: &Value, schema: &Value, above: &str, depth: usize, out: &mut Vec<Row>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let inner = long_form(root, schema);
    let required = inner.get("required").and_then(Value::as_array);
    for (name, property) in inner.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let is_required = required.into_iter().flatten().any(|one| one == name);
        let text =
            property.get("description").or_else(|| resolve(root, property).get("description"));
        let text = text.and_then(Value::as_str).unwrap_or_default();
        out.push(Row {
            key: key.clone(),
            kind: kind(root, property),
            usual: if is_required { "required".to_owned() } else { usual(property) },
            what: text.replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|"),
        });
        walk(root, property, &key, depth, out);
    }
}

/// Follows `$ref`, and looks through `anyOf` with null, which is how an optional value is written.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let named = schema.get("$ref").and_then(Value::as_str);
    let found = named.and_then(|path| root.pointer(path.strip_prefix('#')?));
    if let Some(found) = found.filter(|found| found.get("$ref").is_none()) {
        return found;
    }
    // A name that only stands for another one.
    if let Some(found) = found.filter(|found| found.get("$ref") != schema.get("$ref")) {
        return resolve(root, found);
    }
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let choices: Vec<&Value> = choices
        .into_iter()
        .flatten()
        .filter(|one| one.get("type") != Some(&"null".into()))
        .collect();
    match choices.as_slice() {
        [one] => resolve(root, one),
        _ => schema,
    }
}

/// The one of several forms that has keys.
fn long_form<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let schema = resolve(root, schema);
    let choices = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let mut long =
        choices.map(|one| resolve(root, one)).filter(|one| one["properties"].is_object());
    long.next().unwrap_or(schema)
}

/// What may stand there, in a word or two.
fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> = words.iter().filter(|w| !w.is_null()).map(code).collect();
        return words.join(", ");
    }
    if let Some(choices) = schema.get("anyOf").or(schema.get("oneOf")).and_then(Value::as_array) {
        let kinds: Vec<String> = choices.iter().map(|one| kind(root, one)).collect();
        return kinds.join(" or ");
    }
    if let Some(word) = schema.get("const") {
        return code(word);
    }
    let types = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect()
        }
        _ => return "anything".to_owned(),
    };
    let words: Vec<String> = types.iter().map(|one| word(root, schema, one)).collect();
    words.join(" or ")
}

fn word(root: &Value, schema: &Value, kind_of: &str) -> String {
    match kind_of {
        "string" => "text".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" | "number" => number(schema),
        "array" => match schema.get("items") {
            Some(items) => format!("list of {}", kind(root, items)),
            None => "list".to_owned(),
        },
        "object" => match schema.get("additionalProperties").filter(|more| more.is_object()) {
            Some(more) => format!("name → {}", kind(root, more)),
            None => "mapping".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// A range is said only where it is not the machine type's own.
fn number(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
    let most = bound("maximum").filter(|most| !matches!(most, 255 | 65_535 | 4_294_967_295));
    match (bound("minimum").filter(|least| *least != 0 || most.is_some()), most) {
        (Some(least), Some(most)) => format!("number, {least} to {most}"),
        (Some(least), None) => format!("number, at least {least}"),
        (None, Some(most)) => format!("number, at most {most}"),
        (None, None) => "number".to_owned(),
    }
}

fn usual(schema: &Value) -> String {
    match schema.get("default") {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::Array(list)) if list.is_empty() => "none".to_owned(),
        Some(Value::Object(map)) if is_hollow(map) => "none".to_owned(),
        Some(value) => code(value),
    }
}

/// Whether nothing is in it, however deep.
fn is_hollow(map: &Map<String, Value>) -> bool {
    map.values().all(|value| match value {
        Value::Object(inner) => is_hollow(inner),
        Value::Array(list) => list.is_empty(),
        other => other.is_null(),
    })
}

fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_inside_of_settings_are_rows_too() {
        let schema = json!({
            "properties": {
                "a": { "$ref": "#/$defs/A", "description": "An a.", "default": { "b": [] } },
                "c": { "type": ["integer", "null"], "minimum": 1, "maximum": 9, "default": null },
                "d": { "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }] },
                "e": { "enum": ["x", "y"], "default": "x" },
            },
            "required": ["c"],
            "$defs": { "A": { "type": "object", "properties": {
                "b": { "type": "array", "items": { "type": "string" }, "description": "x | y\nz" },
            } } },
        });
        let rows = rows(&schema);
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["a", "a.b", "c", "d", "d.b", "e"]);
        assert_eq!((rows[0].usual.as_str(), rows[0].kind.as_str()), ("none", "mapping"));
        assert_eq!((rows[1].kind.as_str(), rows[1].what.as_str()), ("list of text", "x \\| y z"));
        assert_eq!((rows[2].kind.as_str(), rows[2].usual.as_str()), ("number, 1 to 9", "required"));
        assert_eq!((rows[5].kind.as_str(), rows[5].usual.as_str()), ("`x`, `y`", "`x`"));
    }

    #[test]
    fn a_schema_that_names_itself_ends() {
        let schema = json!({ "properties": { "a": { "$ref": "#" } } });
        assert_eq!(rows(&schema).len(), MAX_DEPTH);
    }
}
