//! Triggers, to and from Avro.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, MapAccess, Visitor},
    ser::{SerializeMap, SerializeStruct},
};

use super::{
    CodecError, DecodeError,
    cache::SchemaCache,
    read::{Key, Long, MapOf, Text, TextList, field, skip},
    record::Texts,
    schema::TRIGGER_SCHEMA,
    wire,
};
use crate::event::{Trigger, Value};

/// Writes triggers.
pub struct TriggerEncoder(wire::Writer);

impl TriggerEncoder {
    /// For `headwater.Trigger`, registered under that id.
    pub fn new(schema_id: u32) -> Result<Self, CodecError> {
        wire::Writer::new(TRIGGER_SCHEMA, schema_id).map(TriggerEncoder)
    }

    /// Appends the framed trigger to `out`; on error `out` is as it was. The payload becomes text: lists JSON, and an
    /// absent value has no entry.
    pub fn encode(&mut self, trigger: &Trigger, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.0.write(&Body(trigger), out)
    }
}

/// Reads triggers.
#[derive(Clone)]
pub struct TriggerDecoder(Arc<SchemaCache>);

impl TriggerDecoder {
    pub fn new(schemas: Arc<SchemaCache>) -> Self {
        TriggerDecoder(schemas)
    }

    /// The trigger in a framed value; its payload's values are text.
    pub fn decode(&self, framed: &[u8]) -> Result<Trigger, DecodeError> {
        wire::read(&self.0, framed, Seed)
    }
}

struct Body<'a>(&'a Trigger);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let trigger = self.0;
        let mut out = serializer.serialize_struct("Trigger", 12)?;
        out.serialize_field("id", &*trigger.id)?;
        out.serialize_field("campaign", &*trigger.campaign)?;
        out.serialize_field("destination", &*trigger.destination)?;
        out.serialize_field("user_id", &trigger.user_id.as_deref())?;
        out.serialize_field("anonymous_id", &trigger.anonymous_id.as_deref())?;
        out.serialize_field("event_id", &*trigger.event_id)?;
        out.serialize_field("occurred_at", &trigger.occurred_at_ms)?;
        out.serialize_field("fired_at", &trigger.fired_at_ms)?;
        out.serialize_field("expires_at", &trigger.expires_at_ms)?;
        out.serialize_field("because", &trigger.because)?;
        out.serialize_field("incomplete", &Texts(&trigger.incomplete))?;
        out.serialize_field("payload", &Payload(&trigger.payload))?;
        out.end()
    }
}

struct Payload<'a>(&'a BTreeMap<Arc<str>, Value>);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let present = || self.0.iter().filter(|(_, value)| !value.is_null());
        let mut out = serializer.serialize_map(Some(present().count()))?;
        for (key, value) in present() {
            match value {
                Value::Text(text) => out.serialize_entry(&**key, &**text)?,
                Value::List(_) | Value::Map(_) => out.serialize_entry(&**key, &json(value).to_string())?,
                scalar => out.serialize_entry(&**key, &scalar.to_string())?,
            }
        }
        out.end()
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => (**text).into(),
        Value::List(values) => values.iter().map(json).collect(),
        Value::Map(values) => {
            serde_json::Value::Object(values.iter().map(|(key, value)| (key.to_string(), json(value))).collect())
        }
    }
}

struct Seed;

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Trigger;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Trigger, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Trigger;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record like headwater.Trigger")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Trigger, A::Error> {
        const NAMES: [&str; 12] = [
            "id",
            "campaign",
            "destination",
            "user_id",
            "anonymous_id",
            "event_id",
            "occurred_at",
            "fired_at",
            "expires_at",
            "because",
            "incomplete",
            "payload",
        ];
        let mut trigger = Trigger::default();
        while let Some(name) = map.next_key_seed(Key(|name: &str| NAMES.into_iter().find(|known| *known == name)))? {
            let Some(name) = name else {
                skip(&mut map)?;
                continue;
            };
            match name {
                "id" => trigger.id = field(&mut map, name, Text)?.unwrap_or_default(),
                "campaign" => trigger.campaign = field(&mut map, name, Text)?.unwrap_or_default(),
                "destination" => trigger.destination = field(&mut map, name, Text)?.unwrap_or_default(),
                "user_id" => trigger.user_id = field(&mut map, name, Text)?,
                "anonymous_id" => trigger.anonymous_id = field(&mut map, name, Text)?,
                "event_id" => trigger.event_id = field(&mut map, name, Text)?.unwrap_or_default(),
                "occurred_at" => trigger.occurred_at_ms = field(&mut map, name, Long)?.unwrap_or_default(),
                "fired_at" => trigger.fired_at_ms = field(&mut map, name, Long)?.unwrap_or_default(),
                "expires_at" => trigger.expires_at_ms = field(&mut map, name, Long)?,
                "because" => trigger.because = field(&mut map, name, Text)?.unwrap_or_default().to_string(),
                "incomplete" => trigger.incomplete = field(&mut map, name, TextList)?.unwrap_or_default(),
                _ => {
                    let texts = field(&mut map, name, MapOf(|| Text))?;
                    trigger.payload = texts.into_iter().map(|(key, text)| (key, Value::Text(text))).collect();
                }
            }
        }
        Ok(trigger)
    }
}
