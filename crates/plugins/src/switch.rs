//! Settings that may be left to themselves: `compress: on` for `compress: {}`. (`off` is the
//! loader's own word.)

use std::borrow::Cow;
use std::marker::PhantomData;

use lockgate_core::{ConfigError, decode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `on`, `true`, or the settings.
pub(crate) fn settings<T: DeserializeOwned + Default>(config: &Value) -> Result<T, ConfigError> {
    match config {
        Value::Bool(true) => Ok(T::default()),
        Value::String(word) if word == "on" => Ok(T::default()),
        config => decode(config),
    }
}

/// The schema of what [`settings`] reads.
pub(crate) struct OrOn<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OrOn<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrOn", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let whole = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [whole, { "enum": [true, "on"] }] })
    }
}
