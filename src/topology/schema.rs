//! The JSON schemas of our files, for completion and hovers in editors.

use schemars::{JsonSchema, generate::SchemaSettings};

use super::raw::RawTopology;

/// `schemas/topology.schema.json`, made from the declarations of the keys.
pub fn json_schema() -> String {
    schema_of::<RawTopology>("Headwater topology")
}

/// The JSON schema of what `T` reads.
pub(super) fn schema_of<T: JsonSchema>(title: &str) -> String {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
