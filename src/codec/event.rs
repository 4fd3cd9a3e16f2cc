//! Events: as producers write them to the raw topic, and as the first field of every record.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, MapAccess, Visitor},
    ser::{SerializeMap, SerializeStruct},
};

use super::{
    CodecError, DecodeError,
    cache::SchemaCache,
    read::{Bool, Double, Key, Long, MapOf, Scalar, Text, field, skip},
    schema::EVENT_SCHEMA,
    wire,
};
use crate::event::Event;

/// Writes events as a producer would: development traffic and tests.
pub struct EventEncoder(wire::Writer);

impl EventEncoder {
    /// For `headwater.Event`, registered under that id.
    pub fn new(schema_id: u32) -> Result<Self, CodecError> {
        wire::Writer::new(EVENT_SCHEMA, schema_id).map(EventEncoder)
    }

    /// Appends the framed event to `out`; on error `out` is as it was.
    pub fn encode(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.0.write(&Body(event), out)
    }
}

/// Reads producers' events, by whatever schema they wrote them.
#[derive(Clone)]
pub struct EventDecoder(Arc<SchemaCache>);

impl EventDecoder {
    pub fn new(schemas: Arc<SchemaCache>) -> Self {
        EventDecoder(schemas)
    }

    /// The event in a framed value. Fields that the writer does not have take their default, an absent id is empty.
    pub fn decode(&self, framed: &[u8]) -> Result<Event, DecodeError> {
        wire::read(&self.0, framed, Seed)
    }
}

/// An event on its way out, in the order of the schema.
pub(super) struct Body<'a>(pub &'a Event);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
        let mut out = serializer.serialize_struct("Event", 17)?;
        out.serialize_field("id", &*event.id)?;
        out.serialize_field("type", &*event.kind)?;
        out.serialize_field("name", &*event.name)?;
        out.serialize_field("user_id", &event.user_id.as_deref())?;
        out.serialize_field("anonymous_id", &event.anonymous_id.as_deref())?;
        out.serialize_field("occurred_at", &event.occurred_at_ms)?;
        out.serialize_field("url", &event.url.as_deref())?;
        out.serialize_field("referrer", &event.referrer.as_deref())?;
        out.serialize_field("ip", &event.ip.as_deref())?;
        out.serialize_field("user_agent", &event.user_agent.as_deref())?;
        out.serialize_field("description", &event.description.as_deref())?;
        out.serialize_field("client_hints", &TextMap(&event.client_hints))?;
        out.serialize_field("campaign", &TextMap(&event.campaign))?;
        out.serialize_field("properties", &TextMap(&event.properties))?;
        out.serialize_field("consent", &Consent(&event.consent))?;
        out.serialize_field("revenue", &event.revenue)?;
        out.serialize_field("currency", &event.currency.as_deref())?;
        out.end()
    }
}

/// A map of texts.
pub(super) struct TextMap<'a>(pub &'a BTreeMap<Arc<str>, Arc<str>>);

impl Serialize for TextMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            out.serialize_entry(&**key, &**value)?;
        }
        out.end()
    }
}

struct Consent<'a>(&'a BTreeMap<Arc<str>, bool>);

impl Serialize for Consent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            out.serialize_entry(&**key, value)?;
        }
        out.end()
    }
}

/// The event's fields, with the names under which producers know some of them.
enum Field {
    Id,
    Kind,
    Name,
    UserId,
    AnonymousId,
    OccurredAt,
    Url,
    Referrer,
    Ip,
    UserAgent,
    Description,
    ClientHints,
    Campaign,
    Properties,
    Consent,
    Revenue,
    Currency,
    Other,
}

impl Field {
    fn of(name: &str) -> Self {
        match name {
            "id" | "messageId" | "message_id" => Field::Id,
            "type" => Field::Kind,
            "name" => Field::Name,
            "user_id" | "userId" => Field::UserId,
            "anonymous_id" | "anonymousId" => Field::AnonymousId,
            "occurred_at" | "occurredAt" | "originalTimestamp" | "original_timestamp" => Field::OccurredAt,
            "url" => Field::Url,
            "referrer" => Field::Referrer,
            "ip" => Field::Ip,
            "user_agent" | "userAgent" => Field::UserAgent,
            "description" => Field::Description,
            "client_hints" | "clientHints" => Field::ClientHints,
            "campaign" => Field::Campaign,
            "properties" => Field::Properties,
            "consent" => Field::Consent,
            "revenue" => Field::Revenue,
            "currency" => Field::Currency,
            _ => Field::Other,
        }
    }
}

/// An event on its way in.
pub(super) struct Seed;

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Event;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record like headwater.Event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let mut event = Event::default();
        let mut kind = None;
        while let Some(key) = map.next_key_seed(Key(Field::of))? {
            match key {
                Field::Id => event.id = field(&mut map, "id", Text)?.unwrap_or_default(),
                Field::Kind => kind = field(&mut map, "type", Text)?,
                Field::Name => event.name = field(&mut map, "name", Text)?.unwrap_or_default(),
                Field::UserId => event.user_id = field(&mut map, "user_id", Text)?,
                Field::AnonymousId => event.anonymous_id = field(&mut map, "anonymous_id", Text)?,
                Field::OccurredAt => event.occurred_at_ms = field(&mut map, "occurred_at", Long)?.unwrap_or_default(),
                Field::Url => event.url = field(&mut map, "url", Text)?,
                Field::Referrer => event.referrer = field(&mut map, "referrer", Text)?,
                Field::Ip => event.ip = field(&mut map, "ip", Text)?,
                Field::UserAgent => event.user_agent = field(&mut map, "user_agent", Text)?,
                Field::Description => event.description = field(&mut map, "description", Text)?,
                Field::ClientHints => event.client_hints = field(&mut map, "client_hints", MapOf(|| Text))?,
                Field::Campaign => event.campaign = field(&mut map, "campaign", MapOf(|| Text))?,
                Field::Properties => event.properties = field(&mut map, "properties", MapOf(|| Scalar))?,
                Field::Consent => event.consent = field(&mut map, "consent", MapOf(|| Bool))?,
                Field::Revenue => event.revenue = field(&mut map, "revenue", Double)?,
                Field::Currency => event.currency = field(&mut map, "currency", Text)?,
                Field::Other => skip(&mut map)?,
            }
        }
        event.kind = kind.unwrap_or_else(|| "track".into());
        Ok(event)
    }
}
