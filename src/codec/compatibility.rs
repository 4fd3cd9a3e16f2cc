//! Whether two schemas read each other, by apache-avro's checker, which follows no named references: each reference
//! is first replaced by a copy of what it names.

use std::collections::HashMap;

use apache_avro::{
    Schema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};
use serde_json::{Map, Value as Json};

/// Why readers of `reader` cannot read all that `writer` wrote; `None` if they can. Also says when either is no
/// valid schema.
pub fn cannot_read(reader: &str, writer: &str) -> Option<String> {
    if reader == writer {
        return None;
    }
    let (reader, writer) = match (expanded(reader), expanded(writer)) {
        (Ok(reader), Ok(writer)) => (reader, writer),
        (Err(message), _) | (_, Err(message)) => return Some(message),
    };
    match SchemaCompatibility::can_read(&writer, &reader) {
        Ok(Compatibility::Full) => None,
        Ok(Compatibility::Partial) => {
            Some("some of its values cannot be read (a union's branch, an enum's symbol)".into())
        }
        Err(error) => Some(error.to_string()),
    }
}

fn expanded(text: &str) -> Result<Schema, String> {
    // Parsed as it stands first, so that what is wrong is said about the original.
    Schema::parse_str(text).map_err(|error| error.to_string())?;
    let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let expanded = Expander::default().schema(&json, "");
    Schema::parse(&expanded).map_err(|error| error.to_string())
}

#[derive(Default)]
struct Expander {
    /// Definitions met so far, by full name, with the namespace that they stand in.
    named: HashMap<String, (Json, String)>,
    /// Definitions that we are inside of: a recursive reference stays one.
    open: Vec<String>,
    copies: usize,
}

impl Expander {
    fn schema(&mut self, schema: &Json, namespace: &str) -> Json {
        match schema {
            Json::String(name) => self.reference(name, namespace),
            Json::Array(union) => union.iter().map(|variant| self.schema(variant, namespace)).collect(),
            Json::Object(object) => self.object(object, namespace),
            other => other.clone(),
        }
    }

    fn reference(&mut self, name: &str, namespace: &str) -> Json {
        let full = full_name(name, namespace);
        match self.named.get(&full).cloned() {
            Some((definition, namespace)) if !self.open.contains(&full) => self.schema(&definition, &namespace),
            Some(_) => Json::String(full),
            None => Json::String(name.to_owned()),
        }
    }

    fn object(&mut self, object: &Map<String, Json>, namespace: &str) -> Json {
        let text = |key: &str| object.get(key).and_then(Json::as_str);
        let mut out = object.clone();
        match text("type") {
            Some("array") => self.inner(&mut out, "items", namespace),
            Some("map") => self.inner(&mut out, "values", namespace),
            Some("record" | "error" | "enum" | "fixed") => {
                let full = full_name(text("name").unwrap_or_default(), text("namespace").unwrap_or(namespace));
                let (own_namespace, short) = full.rsplit_once('.').unwrap_or(("", &full));
                let again = self.named.contains_key(&full);
                self.named.entry(full.clone()).or_insert_with(|| (Json::Object(object.clone()), namespace.to_owned()));
                out.insert("name".into(), short.into());
                self.copies += 1;
                let renamed = if again { format!("copy{}", self.copies) } else { own_namespace.to_owned() };
                out.insert("namespace".into(), renamed.into());
                self.open.push(full.clone());
                if let Some(Json::Array(fields)) = out.get_mut("fields") {
                    for field in fields.iter_mut().filter_map(Json::as_object_mut) {
                        self.inner(field, "type", own_namespace);
                    }
                }
                self.open.pop();
            }
            _ => self.inner(&mut out, "type", namespace),
        }
        Json::Object(out)
    }

    fn inner(&mut self, object: &mut Map<String, Json>, key: &str, namespace: &str) {
        if let Some(inner) = object.get(key) {
            let inner = self.schema(&inner.clone(), namespace);
            object.insert(key.to_owned(), inner);
        }
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_as_good_as_its_definition() {
        let record =
            |fields: &str| format!(r#"{{ "type": "record", "name": "R", "namespace": "n", "fields": [{fields}] }}"#);
        let definition = r#"{ "type": "enum", "name": "E", "symbols": ["x"] }"#;
        let named =
            record(&format!(r#"{{ "name": "a", "type": {definition} }}, {{ "name": "b", "type": ["null", "E"] }}"#));
        let spelt_out = record(&format!(r#"{{ "name": "b", "type": ["null", {definition}] }}"#));
        assert_eq!(cannot_read(&spelt_out, &named), None);
    }

    #[test]
    fn a_recursive_schema_can_be_checked() {
        let list = r#"{ "type": "record", "name": "L", "fields": [{ "name": "next", "type": ["null", "L"] }] }"#;
        assert_eq!(cannot_read(list, list), None);
        let without = r#"{ "type": "record", "name": "L", "fields": [] }"#;
        assert_eq!(cannot_read(without, list), None);
        assert!(cannot_read(list, without).is_some(), "next has no default");
    }

    #[test]
    fn a_narrower_reader_is_told_why() {
        let message = cannot_read("\"string\"", r#"["null", "string"]"#).unwrap();
        assert!(message.contains("union"), "{message}");
        assert!(cannot_read("\"int\"", "\"long\"").is_some());
        assert!(cannot_read("{", "\"long\"").is_some());
    }
}
