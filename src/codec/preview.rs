//! What a value holds, for people: JSON of anything that decodes by its writer's schema, whether it is ours or not.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::{cache::SchemaCache, wire};

/// A preview is at most so long, in bytes.
pub const MAX_PREVIEW_BYTES: usize = 2 * 1024;

/// JSON of a value, cut to 2 KiB: of a framed one whose schema is known, or of one that is JSON as it stands.
/// `None` where neither is so.
pub fn preview(schemas: &SchemaCache, value: &[u8]) -> Option<String> {
    match wire::read(schemas, value, Any) {
        Ok(json) => Some(cut(json.to_string())),
        Err(_) => {
            let text = std::str::from_utf8(value).ok()?;
            serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
            Some(cut(text.to_owned()))
        }
    }
}

/// Shortens at a character's end.
fn cut(mut text: String) -> String {
    if text.len() > MAX_PREVIEW_BYTES {
        let mark = "…";
        let end = text.floor_char_boundary(MAX_PREVIEW_BYTES - mark.len());
        text.truncate(end);
        text.push_str(mark);
    }
    text
}

/// Any Avro value. Bytes become text, what is no UTF-8 replaced: it is only to be looked at.
struct Any;

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Json, E> {
        Ok(String::from_utf8_lossy(value).into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(Any)? {
            list.push(value);
        }
        Ok(list.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            values.insert(key, map.next_value_seed(Any)?);
        }
        Ok(values.into())
    }
}
