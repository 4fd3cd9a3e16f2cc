//! The record that grows, to and from Avro: what every stage reads and writes.

use std::{fmt, sync::Arc};

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor},
    ser::{SerializeMap, SerializeSeq, SerializeStruct},
};

use super::{
    CodecError, DecodeError,
    cache::SchemaCache,
    event,
    layout::Layout,
    part::{PartBody, PartSeed},
    read::{Bool, Key, Long, Symbol, TextList, field, integer, skip},
    schema::{STATUSES, derive},
    wire,
};
use crate::event::{Origin, Outcome, Part, Provenance, Record, Status};

/// Writes the records of a topology.
pub struct RecordEncoder {
    layout: Arc<Layout>,
    writer: wire::Writer,
}

impl RecordEncoder {
    /// For the topology's derived schema, registered under that id.
    pub fn new(layout: Arc<Layout>, schema_id: u32) -> Result<Self, CodecError> {
        let writer = wire::Writer::new(&derive(&layout), schema_id)?;
        Ok(RecordEncoder { layout, writer })
    }

    /// Appends the framed record to `out`; on error `out` is as it was. Missing parts are written as pending.
    pub fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.writer.write(&Body { record, layout: &self.layout }, out)
    }
}

/// Reads the records of a topology, by whatever version of their schema they were written.
pub struct RecordDecoder {
    layout: Arc<Layout>,
    schemas: Arc<SchemaCache>,
    /// Copies of this decoder's own of the texts that nearly every record holds: sharing them costs a count that no
    /// other thread touches, not an allocation.
    topic: Arc<str>,
    version: Arc<str>,
}

impl RecordDecoder {
    /// One per worker.
    pub fn new(layout: Arc<Layout>, schemas: Arc<SchemaCache>) -> Self {
        let (topic, version) = (Arc::from(&*layout.source_topic), Arc::from(&*layout.version));
        RecordDecoder { layout, schemas, topic, version }
    }

    /// The record in a framed value, with one part for each of our agents: pending where the writer has none. A part
    /// whose fields are all null has no fields.
    pub fn decode(&self, framed: &[u8]) -> Result<Record, DecodeError> {
        wire::read(&self.schemas, framed, Seed(self))
    }
}

struct Body<'a> {
    record: &'a Record,
    layout: &'a Layout,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        static PENDING: Part = Part {
            fields: Vec::new(),
            provenance: Provenance {
                outcome: Outcome::Pending,
                reason: None,
                source: None,
                attempts: 0,
                latency_ms: 0,
                age_ms: None,
            },
        };
        let record = self.record;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("event", &event::Body(&record.event))?;
        out.serialize_entry("status", &(record.status as u32))?;
        out.serialize_entry("incomplete", &Texts(&record.incomplete))?;
        out.serialize_entry("received_at", &record.received_at_ms)?;
        out.serialize_entry("enriched_at", &record.enriched_at_ms)?;
        out.serialize_entry("origin", &OriginBody(&record.origin))?;
        out.serialize_entry("repeat", &record.repeat)?;
        out.serialize_entry("refire", &record.refire)?;
        out.serialize_entry("chain", &record.chain)?;
        out.serialize_entry("topology_version", &*record.topology_version)?;
        for (index, agent) in self.layout.agents().iter().enumerate() {
            let part = record.parts.get(index).unwrap_or(&PENDING);
            out.serialize_entry(&*agent.name, &PartBody { part, agent })?;
        }
        out.end()
    }
}

/// A list of texts.
pub(super) struct Texts<'a>(pub &'a [Arc<str>]);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.0.len()))?;
        for text in self.0 {
            out.serialize_element(&**text)?;
        }
        out.end()
    }
}

struct OriginBody<'a>(&'a Origin);

impl Serialize for OriginBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Origin", 6)?;
        out.serialize_field("topic", &*self.0.topic)?;
        out.serialize_field("tag", &self.0.tag)?;
        out.serialize_field("partition", &self.0.partition)?;
        out.serialize_field("offset", &self.0.offset)?;
        out.serialize_field("events_offset", &self.0.events_offset)?;
        out.serialize_field("events_tag", &self.0.events_tag)?;
        out.end()
    }
}

enum Name {
    Event,
    Status,
    Incomplete,
    ReceivedAt,
    EnrichedAt,
    Origin,
    Repeat,
    Refire,
    Chain,
    TopologyVersion,
    Part(usize),
    Other,
}

struct Seed<'a>(&'a RecordDecoder);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Record;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Record, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Record;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record like headwater's Enriched")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
        let layout = &*self.0.layout;
        let mut record = Record { parts: vec![Part::default(); layout.agents().len()], ..Record::default() };
        record.origin = Origin { offset: -1, events_offset: -1, ..Origin::default() };
        let mut next_agent = 0;
        let mut found_event = false;
        let name_of = |name: &str, next_agent| match name {
            "event" => Name::Event,
            "status" => Name::Status,
            "incomplete" => Name::Incomplete,
            "received_at" => Name::ReceivedAt,
            "enriched_at" => Name::EnrichedAt,
            "origin" => Name::Origin,
            "repeat" => Name::Repeat,
            "refire" => Name::Refire,
            "chain" => Name::Chain,
            "topology_version" => Name::TopologyVersion,
            _ => layout.agent(name, next_agent).map_or(Name::Other, Name::Part),
        };
        while let Some(name) = map.next_key_seed(Key(|name: &str| name_of(name, next_agent)))? {
            match name {
                Name::Event => {
                    record.event = field(&mut map, "event", event::Seed)?;
                    found_event = true;
                }
                Name::Status => record.status = field(&mut map, "status", Symbol(status))?.unwrap_or_default(),
                Name::Incomplete => record.incomplete = field(&mut map, "incomplete", TextList)?.unwrap_or_default(),
                Name::ReceivedAt => record.received_at_ms = field(&mut map, "received_at", Long)?.unwrap_or_default(),
                Name::EnrichedAt => record.enriched_at_ms = field(&mut map, "enriched_at", Long)?.unwrap_or_default(),
                Name::Origin => record.origin = field(&mut map, "origin", OriginSeed(&self.0.topic))?,
                Name::Repeat => record.repeat = field(&mut map, "repeat", Bool)?.unwrap_or_default(),
                Name::Refire => record.refire = field(&mut map, "refire", Bool)?.unwrap_or_default(),
                Name::Chain => record.chain = integer(&mut map, "chain")?,
                Name::TopologyVersion => {
                    let known = |text: &str| Some(shared(text, &self.0.version));
                    record.topology_version = field(&mut map, "topology_version", Symbol(known))?.unwrap_or_default();
                }
                Name::Part(index) => {
                    let agent = &layout.agents()[index];
                    record.parts[index] = field(&mut map, &agent.name, PartSeed(agent))?;
                    next_agent = index + 1;
                }
                Name::Other => skip(&mut map)?,
            }
        }
        if found_event { Ok(record) } else { Err(A::Error::custom("it has no field event: not a record of ours")) }
    }
}

fn status(symbol: &str) -> Option<Status> {
    if symbol == STATUSES[1] { Some(Status::Partial) } else { Some(Status::Complete) }
}

/// The known text's own pointer where the text is the same.
fn shared(text: &str, known: &Arc<str>) -> Arc<str> {
    if *text == **known { known.clone() } else { text.into() }
}

struct OriginSeed<'a>(&'a Arc<str>);

impl<'de> DeserializeSeed<'de> for OriginSeed<'_> {
    type Value = Origin;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Origin, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OriginSeed<'_> {
    type Value = Origin;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record like headwater.Origin")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Origin, A::Error> {
        let mut origin = Origin { offset: -1, events_offset: -1, ..Origin::default() };
        let names = ["topic", "tag", "partition", "offset", "events_offset", "events_tag"];
        let index = |name: &str| names.iter().position(|n| *n == name);
        while let Some(name) = map.next_key_seed(Key(index))? {
            match name {
                Some(0) => {
                    let known = |text: &str| Some(shared(text, self.0));
                    origin.topic = field(&mut map, "topic", Symbol(known))?.unwrap_or_default();
                }
                Some(1) => origin.tag = integer(&mut map, "tag")?,
                Some(2) => origin.partition = integer(&mut map, "partition")?,
                Some(3) => origin.offset = field(&mut map, "offset", Long)?.unwrap_or(-1),
                Some(4) => origin.events_offset = field(&mut map, "events_offset", Long)?.unwrap_or(-1),
                Some(5) => origin.events_tag = integer(&mut map, "events_tag")?,
                _ => skip(&mut map)?,
            }
        }
        Ok(origin)
    }
}
