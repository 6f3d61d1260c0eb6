//! The OpenAPI document (version 3.1.0), made of the list of operations.

use serde_json::{Map, Value, json};

use super::list::list;
use super::shape::schema;
use super::{Body, Media, Operation};

/// The document.
pub(crate) fn openapi() -> Value {
    let mut paths = Map::new();
    for (operation, _) in list() {
        // A pattern's slashes are part of it.
        let path = operation.path.replace("{*", "{");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(operation.method.as_str().to_ascii_lowercase(), told(&operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lockgate's admin interface",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What a running gateway tells of itself, and what can be changed of it.",
        },
        "paths": paths,
        "components": {
            "schemas": { "Problem": problem() },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn told(operation: &Operation) -> Value {
    let mut out = Map::new();
    out.insert("operationId".to_owned(), id(operation).into());
    out.insert("summary".to_owned(), operation.summary.into());
    let in_path = operation.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?.trim_start_matches('*');
        let kind = if name == "number" { "int" } else { "str" };
        Some(json!({ "name": name, "in": "path", "required": true, "schema": schema(kind) }))
    });
    let in_query = operation.query.iter().map(|(name, shape, text)| {
        json!({ "name": name, "in": "query", "description": text, "schema": schema(shape) })
    });
    out.insert("parameters".to_owned(), in_path.chain(in_query).collect());
    if let Some(Body { media, shape, text, needed }) = operation.body {
        let content = content(media, shape);
        let body = json!({ "description": text, "required": needed, "content": content });
        out.insert("requestBody".to_owned(), body);
    }
    let mut answers = Map::new();
    for (status, media, shape, text) in operation.answers {
        let answer = json!({ "description": text, "content": content(*media, shape) });
        answers.insert(status.to_string(), answer);
    }
    let refusal = json!({
        "description": "refused: `reason` is a word for why, `detail` a sentence",
        "content": {
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    });
    answers.insert("default".to_owned(), refusal);
    out.insert("responses".to_owned(), answers.into());
    // Which pages need no token is the configuration's choice: `admin.public`.
    out.insert("security".to_owned(), json!([{ "token": [] }, {}]));
    out.into()
}

/// What tells it from the others in a program made of the document: `put_admin_routes_pattern`.
fn id(operation: &Operation) -> String {
    let parts = operation.path.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    format!("{}_{}", operation.method.as_str().to_ascii_lowercase(), words.join("_"))
}

fn content(media: Media, shape: &str) -> Value {
    let schema = schema(shape).unwrap_or_default();
    json!({ media.word(): { "schema": schema } })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["title", "status", "reason", "detail"],
        "properties": {
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "reason": { "type": "string" },
            "detail": { "type": "string" },
            "problems": { "description": "what is wrong with a configuration, with its places" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_can_be_read_and_every_operation_has_a_name_of_its_own() {
        let mut ids = std::collections::BTreeSet::new();
        for (operation, _) in list() {
            let shapes = operation.answers.iter().map(|answer| answer.2);
            let shapes = shapes.chain(operation.query.iter().map(|query| query.1));
            for shape in shapes.chain(operation.body.map(|body| body.shape)) {
                assert!(schema(shape).is_some(), "{}: {shape}", operation.path);
            }
            assert!(!operation.answers.is_empty(), "{}", operation.path);
            assert!(ids.insert(id(&operation)), "{}", operation.path);
        }
    }
}
