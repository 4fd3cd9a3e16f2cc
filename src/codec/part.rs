//! One agent's part of a record, to and from Avro: its fields by name, then how they came about.

use std::fmt;

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor},
    ser::{SerializeMap, SerializeSeq, SerializeStruct},
};

use super::{
    layout::AgentLayout,
    read::{Key, Leaf, Long, Symbol, field, integer, skip},
};
use crate::event::{Outcome, Part, Provenance, Reason, Source, Type, Value};

/// A part on its way out, in the order of the schema.
pub(super) struct PartBody<'a> {
    pub part: &'a Part,
    pub agent: &'a AgentLayout,
}

impl Serialize for PartBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for (index, (name, ty)) in self.agent.fields.iter().enumerate() {
            out.serialize_entry(&**name, &Field(self.part.field(index), *ty))?;
        }
        out.serialize_entry("provenance", &ProvenanceBody(&self.part.provenance))?;
        out.end()
    }
}

/// One field's value. It must be of the type that the agent declares, or an integer where that is a float; agents hold
/// to that.
struct Field<'a>(&'a Value, Type);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_none(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) if self.1 == Type::Float => serializer.serialize_f64(*value as f64),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(values) => {
                let mut out = serializer.serialize_seq(Some(values.len()))?;
                for value in values.iter() {
                    out.serialize_element(&Field(value, Type::Text))?;
                }
                out.end()
            }
            Value::Map(_) => Err(serde::ser::Error::custom("a part has no fields that are maps")),
        }
    }
}

struct ProvenanceBody<'a>(&'a Provenance);

impl Serialize for ProvenanceBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let provenance = self.0;
        let mut out = serializer.serialize_struct("Provenance", 6)?;
        out.serialize_field("outcome", &(provenance.outcome as u32))?;
        out.serialize_field("reason", &provenance.reason.map(Reason::name))?;
        out.serialize_field("source", &provenance.source.map(Source::name))?;
        out.serialize_field("attempts", &provenance.attempts.min(i32::MAX as u32))?;
        out.serialize_field("latency_ms", &provenance.latency_ms)?;
        out.serialize_field("age_ms", &provenance.age_ms)?;
        out.end()
    }
}

/// A part on its way in.
pub(super) struct PartSeed<'a>(pub &'a AgentLayout);

enum PartName {
    Field(usize),
    Provenance,
    Other,
}

impl<'de> DeserializeSeed<'de> for PartSeed<'_> {
    type Value = Part;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Part, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PartSeed<'_> {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an agent's part")
    }

    fn visit_unit<E: Error>(self) -> Result<Part, E> {
        Ok(Part::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
        let agent = self.0;
        let mut part = Part::default();
        let mut next = 0;
        let name_of = |name: &str, next| match agent.field(name, next) {
            Some(index) => PartName::Field(index),
            None if name == "provenance" => PartName::Provenance,
            None => PartName::Other,
        };
        while let Some(name) = map.next_key_seed(Key(|name: &str| name_of(name, next)))? {
            match name {
                PartName::Field(index) => {
                    let (name, ty) = &agent.fields[index];
                    let value = field(&mut map, name, Leaf(*ty))?;
                    // A part without a value has no list of values: most parts on the way are pending.
                    if !value.is_null() {
                        if part.fields.is_empty() {
                            part.fields.resize(agent.fields.len(), Value::Null);
                        }
                        part.fields[index] = value;
                    }
                    next = index + 1;
                }
                PartName::Provenance => part.provenance = field(&mut map, "provenance", ProvenanceSeed)?,
                PartName::Other => skip(&mut map)?,
            }
        }
        Ok(part)
    }
}

struct ProvenanceSeed;

impl<'de> DeserializeSeed<'de> for ProvenanceSeed {
    type Value = Provenance;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Provenance, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ProvenanceSeed {
    type Value = Provenance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record like headwater.Provenance")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Provenance, A::Error> {
        let mut provenance = Provenance::default();
        let names = ["outcome", "reason", "source", "attempts", "latency_ms", "age_ms"];
        while let Some(name) = map.next_key_seed(Key(|name: &str| names.iter().position(|n| *n == name)))? {
            match name {
                Some(0) => {
                    provenance.outcome = field(&mut map, "outcome", Symbol(Outcome::from_name))?.unwrap_or_default();
                }
                Some(1) => provenance.reason = field(&mut map, "reason", Symbol(Reason::from_name))?,
                Some(2) => provenance.source = field(&mut map, "source", Symbol(Source::from_name))?,
                Some(3) => provenance.attempts = integer(&mut map, "attempts")?,
                Some(4) => provenance.latency_ms = integer(&mut map, "latency_ms")?,
                Some(5) => provenance.age_ms = field(&mut map, "age_ms", Long)?,
                _ => skip(&mut map)?,
            }
        }
        Ok(provenance)
    }
}
