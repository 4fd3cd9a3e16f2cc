//! The JSON schema of topology files, for completion and hovers in editors.

use schemars::generate::SchemaSettings;

use super::raw::RawTopology;

/// `schemas/topology.schema.json`, made from the declarations of the keys.
pub fn json_schema() -> String {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<RawTopology>();
    schema.insert("title".to_owned(), "Headwater topology".into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
