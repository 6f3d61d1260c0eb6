//! The shapes of what is sent and answered, in a short notation, as JSON Schemas: `str`, `int`,
//! `num`, `bool`, `any`; `T?` may be null; `[T]` is a list, `map T` an object with any names, and
//! `{a: T, b?: T}` one with these, of which `b` may be missing.

use serde_json::{Map, Value, json};

/// A shape as a schema. `None` when the notation is broken, which a test looks for.
pub(super) fn schema(shape: &str) -> Option<Value> {
    let mut rest = shape;
    let schema = one(&mut rest)?;
    rest.trim().is_empty().then_some(schema)
}

fn one(rest: &mut &str) -> Option<Value> {
    let schema = if eat(rest, "{") {
        object(rest)?
    } else if eat(rest, "[") {
        let items = one(rest)?;
        eat(rest, "]").then_some(())?;
        json!({ "type": "array", "items": items })
    } else {
        match word(rest) {
            "str" => json!({ "type": "string" }),
            "int" => json!({ "type": "integer" }),
            "num" => json!({ "type": "number" }),
            "bool" => json!({ "type": "boolean" }),
            "any" => json!({}),
            "map" => json!({ "type": "object", "additionalProperties": one(rest)? }),
            _ => return None,
        }
    };
    if eat(rest, "?") {
        return Some(json!({ "anyOf": [schema, { "type": "null" }] }));
    }
    Some(schema)
}

fn object(rest: &mut &str) -> Option<Value> {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    while !eat(rest, "}") {
        let name = word(rest);
        if name.is_empty() {
            return None;
        }
        if !eat(rest, "?") {
            required.push(name);
        }
        eat(rest, ":").then_some(())?;
        properties.insert(name.to_owned(), one(rest)?);
        eat(rest, ",");
    }
    Some(json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    }))
}

fn eat(rest: &mut &str, mark: &str) -> bool {
    let found = rest.trim_start().strip_prefix(mark);
    *rest = found.unwrap_or(rest);
    found.is_some()
}

fn word<'r>(rest: &mut &'r str) -> &'r str {
    let text = rest.trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    *rest = after;
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_schemas() {
        let schema = schema("{a: [int], b?: map {c: str?}}").unwrap();
        assert_eq!(schema["required"], json!(["a"]));
        assert_eq!(schema["properties"]["a"]["items"]["type"], "integer");
        let b = &schema["properties"]["b"]["additionalProperties"];
        assert_eq!(b["properties"]["c"]["anyOf"][1]["type"], "null");
    }

    #[test]
    fn broken_shapes_are_none() {
        for shape in ["", "{", "{a}", "[int", "integer", "int int", "{:int}"] {
            assert_eq!(schema(shape), None, "{shape}");
        }
    }
}
