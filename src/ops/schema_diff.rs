//! What is new in a schema, in a few words. Pure.

use serde_json::Value as Json;

/// The full name of a schema's record.
pub(super) fn name(schema: &str) -> String {
    let schema: Json = serde_json::from_str(schema).unwrap_or_default();
    let text = |key: &str| schema[key].as_str().unwrap_or_default().to_owned();
    match text("namespace") {
        namespace if namespace.is_empty() => text("name"),
        namespace => format!("{namespace}.{}", text("name")),
    }
}

/// `adds intent {level, provenance}, drops geo.asn`.
pub(super) fn difference(old: &str, new: &str) -> String {
    let (old, new) = (fields(&parsed(old)), fields(&parsed(new)));
    let mut words = Vec::new();
    for (name, ty) in &new {
        match find(&old, name) {
            None => words.push(format!("adds {name}{}", inside(ty))),
            Some(before) => {
                let (before, after) = (fields(before), fields(ty));
                words.extend(missing(&after, &before).map(|field| format!("adds {name}.{field}")));
                words.extend(missing(&before, &after).map(|field| format!("drops {name}.{field}")));
            }
        }
    }
    words.extend(missing(&old, &new).map(|field| format!("drops {field}")));
    if words.is_empty() { "changes order or documentation".to_owned() } else { words.join(", ") }
}

fn parsed(schema: &str) -> Json {
    serde_json::from_str(schema).unwrap_or_default()
}

type Fields = Vec<(String, Json)>;

/// A record's fields with their types; none for other types.
fn fields(schema: &Json) -> Fields {
    let fields = schema["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    fields.iter().map(|field| (field["name"].as_str().unwrap_or_default().to_owned(), field["type"].clone())).collect()
}

fn find<'a>(fields: &'a Fields, name: &str) -> Option<&'a Json> {
    fields.iter().find(|(known, _)| known == name).map(|(_, ty)| ty)
}

/// Names in the first that the second does not have.
fn missing<'a>(these: &'a Fields, those: &'a Fields) -> impl Iterator<Item = &'a String> {
    these.iter().map(|(name, _)| name).filter(|name| find(those, name).is_none())
}

fn inside(ty: &Json) -> String {
    let fields = fields(ty);
    if fields.is_empty() {
        return String::new();
    }
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    format!(" {{{}}}", names.join(", "))
}
