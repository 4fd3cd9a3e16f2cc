//! Dead letters, to and from Avro.

use std::{fmt, sync::Arc};

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor},
    ser::{SerializeSeq, SerializeStruct},
};

use super::{
    CodecError, DecodeError,
    cache::SchemaCache,
    read::{Bytes, Key, Long, Text, TextList, field, skip},
    record::Texts,
    schema::DEAD_LETTER_SCHEMA,
    wire,
};
use crate::{
    event::{Class, DeadLetter},
    topology::codes,
};

/// Stands for a code that this version does not know.
const UNKNOWN_CODE: &str = "HW???";

/// Writes dead letters.
pub struct DeadLetterEncoder(wire::Writer);

impl DeadLetterEncoder {
    /// For `headwater.DeadLetter`, registered under that id.
    pub fn new(schema_id: u32) -> Result<Self, CodecError> {
        wire::Writer::new(DEAD_LETTER_SCHEMA, schema_id).map(DeadLetterEncoder)
    }

    /// Appends the framed dead letter to `out`; on error `out` is as it was.
    pub fn encode(&mut self, letter: &DeadLetter, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.0.write(&Body(letter), out)
    }
}

/// Reads dead letters.
#[derive(Clone)]
pub struct DeadLetterDecoder(Arc<SchemaCache>);

impl DeadLetterDecoder {
    pub fn new(schemas: Arc<SchemaCache>) -> Self {
        DeadLetterDecoder(schemas)
    }

    /// The dead letter in a framed value. A code that this version does not know reads as `HW???`, an unknown class
    /// as `agent`.
    pub fn decode(&self, framed: &[u8]) -> Result<DeadLetter, DecodeError> {
        wire::read(&self.0, framed, Seed)
    }
}

struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Body<'a>(&'a DeadLetter);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let letter = self.0;
        let count = |count: u32| count.min(i32::MAX as u32);
        let mut out = serializer.serialize_struct("DeadLetter", 23)?;
        out.serialize_field("id", &letter.id)?;
        out.serialize_field("failed_at", &letter.failed_at_ms)?;
        out.serialize_field("stage", &*letter.stage)?;
        out.serialize_field("code", letter.code)?;
        out.serialize_field("class", letter.class.name())?;
        out.serialize_field("message", &letter.message)?;
        out.serialize_field("agents", &Texts(&letter.agents))?;
        out.serialize_field("destination", &letter.destination.as_deref())?;
        out.serialize_field("producer", &letter.producer)?;
        out.serialize_field("attempts", &count(letter.attempts))?;
        out.serialize_field("replays", &count(letter.replays))?;
        out.serialize_field("event_id", &letter.event_id.as_deref())?;
        out.serialize_field("topic", &*letter.topic)?;
        out.serialize_field("partition", &letter.partition)?;
        out.serialize_field("offset", &letter.offset)?;
        out.serialize_field("timestamp", &letter.timestamp_ms)?;
        out.serialize_field("schema_id", &letter.schema_id)?;
        out.serialize_field("traceparent", &letter.traceparent)?;
        out.serialize_field("preview", &letter.preview)?;
        out.serialize_field("key", &letter.key.as_deref().map(Raw))?;
        out.serialize_field("value", &letter.value.as_deref().map(Raw))?;
        out.serialize_field("value_sha256", &letter.value_sha256)?;
        out.serialize_field("headers", &Headers(&letter.headers))?;
        out.end()
    }
}

struct Headers<'a>(&'a [(String, Vec<u8>)]);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.0.len()))?;
        for header in self.0 {
            out.serialize_element(&HeaderBody(header))?;
        }
        out.end()
    }
}

struct HeaderBody<'a>(&'a (String, Vec<u8>));

impl Serialize for HeaderBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Header", 2)?;
        out.serialize_field("name", &self.0.0)?;
        out.serialize_field("value", &Raw(&self.0.1))?;
        out.end()
    }
}

struct Seed;

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = DeadLetter;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DeadLetter, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = DeadLetter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record like headwater.DeadLetter")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DeadLetter, A::Error> {
        const NAMES: [&str; 23] = [
            "id",
            "failed_at",
            "stage",
            "code",
            "class",
            "message",
            "agents",
            "destination",
            "producer",
            "attempts",
            "replays",
            "event_id",
            "topic",
            "partition",
            "offset",
            "timestamp",
            "schema_id",
            "traceparent",
            "preview",
            "key",
            "value",
            "value_sha256",
            "headers",
        ];
        let mut letter = empty();
        while let Some(name) = map.next_key_seed(Key(|name: &str| NAMES.into_iter().find(|known| *known == name)))? {
            let Some(name) = name else {
                skip(&mut map)?;
                continue;
            };
            match name {
                "id" => letter.id = string(&mut map, name)?.unwrap_or_default(),
                "failed_at" => letter.failed_at_ms = field(&mut map, name, Long)?.unwrap_or_default(),
                "stage" => letter.stage = field(&mut map, name, Text)?.unwrap_or_default(),
                "code" => {
                    let code = field(&mut map, name, Text)?.unwrap_or_default();
                    letter.code = codes::find(&code).map_or(UNKNOWN_CODE, |code| code.id);
                }
                "class" => {
                    let class = field(&mut map, name, Text)?.unwrap_or_default();
                    let known = Class::ALL.iter().find(|known| known.name() == &*class);
                    letter.class = known.copied().unwrap_or(Class::Agent);
                }
                "message" => letter.message = string(&mut map, name)?.unwrap_or_default(),
                "agents" => letter.agents = field(&mut map, name, TextList)?.unwrap_or_default(),
                "destination" => letter.destination = field(&mut map, name, Text)?,
                "producer" => letter.producer = string(&mut map, name)?.unwrap_or(letter.producer),
                "attempts" => letter.attempts = number(&mut map, name)?.unwrap_or_default(),
                "replays" => letter.replays = number(&mut map, name)?.unwrap_or_default(),
                "event_id" => letter.event_id = field(&mut map, name, Text)?,
                "topic" => letter.topic = field(&mut map, name, Text)?.unwrap_or_default(),
                "partition" => letter.partition = number(&mut map, name)?.unwrap_or_default(),
                "offset" => letter.offset = field(&mut map, name, Long)?.unwrap_or_default(),
                "timestamp" => letter.timestamp_ms = field(&mut map, name, Long)?,
                "schema_id" => letter.schema_id = number(&mut map, name)?,
                "traceparent" => letter.traceparent = string(&mut map, name)?,
                "preview" => letter.preview = string(&mut map, name)?,
                "key" => letter.key = field(&mut map, name, Bytes)?,
                "value" => letter.value = field(&mut map, name, Bytes)?,
                "value_sha256" => letter.value_sha256 = string(&mut map, name)?,
                _ => letter.headers = field(&mut map, name, HeadersSeed)?,
            }
        }
        Ok(letter)
    }
}

fn empty() -> DeadLetter {
    DeadLetter {
        id: String::new(),
        failed_at_ms: 0,
        stage: Arc::default(),
        code: UNKNOWN_CODE,
        class: Class::Agent,
        message: String::new(),
        agents: Vec::new(),
        destination: None,
        producer: "unknown".to_owned(),
        attempts: 0,
        replays: 0,
        event_id: None,
        topic: Arc::default(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        schema_id: None,
        traceparent: None,
        preview: None,
        key: None,
        value: None,
        value_sha256: None,
        headers: Vec::new(),
    }
}

fn string<'de, A: MapAccess<'de>>(map: &mut A, name: &str) -> Result<Option<String>, A::Error> {
    Ok(field(map, name, Text)?.map(|text| text.to_string()))
}

fn number<'de, A: MapAccess<'de>, N: TryFrom<i64>>(map: &mut A, name: &str) -> Result<Option<N>, A::Error> {
    let out_of_range = |value| A::Error::custom(format_args!("{name}: {value} is out of range"));
    field(map, name, Long)?.map(|value| N::try_from(value).map_err(|_| out_of_range(value))).transpose()
}

struct HeadersSeed;

impl<'de> DeserializeSeed<'de> for HeadersSeed {
    type Value = Vec<(String, Vec<u8>)>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for HeadersSeed {
    type Value = Vec<(String, Vec<u8>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of headers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut headers = Vec::new();
        while let Some(header) = seq.next_element_seed(HeaderSeed)? {
            headers.push(header);
        }
        Ok(headers)
    }
}

struct HeaderSeed;

impl<'de> DeserializeSeed<'de> for HeaderSeed {
    type Value = (String, Vec<u8>);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed {
    type Value = (String, Vec<u8>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut name, mut value) = (String::new(), Vec::new());
        while let Some(key) = map.next_key_seed(Key(|key: &str| (key == "name", key == "value")))? {
            match key {
                (true, _) => name = string(&mut map, "name")?.unwrap_or_default(),
                (_, true) => value = field(&mut map, "value", Bytes)?.unwrap_or_default(),
                _ => skip(&mut map)?,
            }
        }
        Ok((name, value))
    }
}
