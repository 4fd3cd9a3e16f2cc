//! A way into a record: what `event.user_id`, `geo.country` or `intent.outcome` reads.

use std::sync::Arc;

use super::{Event, Part, Record, Status, Value};

/// A scalar field of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventField {
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
    Revenue,
    Currency,
}

/// A map of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventMap {
    ClientHints,
    Campaign,
    Properties,
    Consent,
}

/// A field of the record beside event and parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordField {
    Status,
    ReceivedAt,
}

/// A field of a part's provenance that conditions may read (`intent.outcome`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProvenanceField {
    Outcome,
    Reason,
    Source,
    Attempts,
    AgeMs,
}

/// A resolved path. Names were resolved by `topology`; reading costs an index, not a look-up by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Path {
    Event(EventField),
    /// A whole map, `event.client_hints`.
    Map(EventMap),
    /// One entry of a map, `event.properties.plan`.
    Entry(EventMap, Arc<str>),
    Record(RecordField),
    /// Field `field` of the part of agent `agent` (indexes into the topology's agents and their outputs).
    Part {
        agent: usize,
        field: usize,
    },
    Provenance {
        agent: usize,
        field: ProvenanceField,
    },
}

impl Path {
    /// The value there, null where absent.
    pub fn get(&self, record: &Record) -> Value {
        match self {
            Path::Event(field) => field.get(&record.event),
            Path::Map(map) => map.all(&record.event),
            Path::Entry(map, key) => map.entry(&record.event, key),
            Path::Record(RecordField::Status) => Value::from(match record.status {
                Status::Complete => "complete",
                Status::Partial => "partial",
            }),
            Path::Record(RecordField::ReceivedAt) => Value::Int(record.received_at_ms),
            Path::Part { agent, field } => {
                record.parts.get(*agent).map_or(Value::Null, |part| part.field(*field).clone())
            }
            Path::Provenance { agent, field } => record.parts.get(*agent).map_or(Value::Null, |part| field.get(part)),
        }
    }
}

impl EventField {
    /// Every field with its name under `event.`.
    pub const ALL: &'static [(&'static str, EventField)] = &[
        ("id", EventField::Id),
        ("type", EventField::Kind),
        ("name", EventField::Name),
        ("user_id", EventField::UserId),
        ("anonymous_id", EventField::AnonymousId),
        ("occurred_at", EventField::OccurredAt),
        ("url", EventField::Url),
        ("referrer", EventField::Referrer),
        ("ip", EventField::Ip),
        ("user_agent", EventField::UserAgent),
        ("description", EventField::Description),
        ("revenue", EventField::Revenue),
        ("currency", EventField::Currency),
    ];

    /// Its value in this event.
    pub fn get(self, event: &Event) -> Value {
        let text = |text: &Option<Arc<str>>| text.clone().map_or(Value::Null, Value::Text);
        match self {
            EventField::Id => Value::Text(event.id.clone()),
            EventField::Kind => Value::Text(event.kind.clone()),
            EventField::Name => Value::Text(event.name.clone()),
            EventField::UserId => text(&event.user_id),
            EventField::AnonymousId => text(&event.anonymous_id),
            EventField::OccurredAt => Value::Int(event.occurred_at_ms),
            EventField::Url => text(&event.url),
            EventField::Referrer => text(&event.referrer),
            EventField::Ip => text(&event.ip),
            EventField::UserAgent => text(&event.user_agent),
            EventField::Description => text(&event.description),
            EventField::Revenue => event.revenue.into(),
            EventField::Currency => text(&event.currency),
        }
    }
}

impl EventMap {
    /// Every map with its name under `event.`.
    pub const ALL: &'static [(&'static str, EventMap)] = &[
        ("client_hints", EventMap::ClientHints),
        ("campaign", EventMap::Campaign),
        ("properties", EventMap::Properties),
        ("consent", EventMap::Consent),
    ];

    fn entry(self, event: &Event, key: &str) -> Value {
        let text = |map: &std::collections::BTreeMap<Arc<str>, Arc<str>>| {
            map.get(key).map_or(Value::Null, |text| Value::Text(text.clone()))
        };
        match self {
            EventMap::ClientHints => text(&event.client_hints),
            EventMap::Campaign => text(&event.campaign),
            EventMap::Properties => text(&event.properties),
            // A purpose that is not named is a no, not an unknown.
            EventMap::Consent => Value::Bool(event.consents_to(key)),
        }
    }

    fn all(self, event: &Event) -> Value {
        let text = |map: &std::collections::BTreeMap<Arc<str>, Arc<str>>| {
            map.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone()))).collect()
        };
        Value::Map(Arc::new(match self {
            EventMap::ClientHints => text(&event.client_hints),
            EventMap::Campaign => text(&event.campaign),
            EventMap::Properties => text(&event.properties),
            EventMap::Consent => event.consent.iter().map(|(key, value)| (key.clone(), Value::Bool(*value))).collect(),
        }))
    }
}

impl ProvenanceField {
    /// Every field with its name after the agent's (`intent.outcome`).
    pub const ALL: &'static [(&'static str, ProvenanceField)] = &[
        ("outcome", ProvenanceField::Outcome),
        ("reason", ProvenanceField::Reason),
        ("source", ProvenanceField::Source),
        ("attempts", ProvenanceField::Attempts),
        ("age_ms", ProvenanceField::AgeMs),
    ];

    /// Its value in this part.
    pub fn get(self, part: &Part) -> Value {
        let provenance = &part.provenance;
        match self {
            ProvenanceField::Outcome => Value::from(provenance.outcome.name()),
            ProvenanceField::Reason => provenance.reason.map(super::Reason::name).into(),
            ProvenanceField::Source => provenance.source.map(super::Source::name).into(),
            ProvenanceField::Attempts => Value::Int(provenance.attempts.into()),
            ProvenanceField::AgeMs => provenance.age_ms.into(),
        }
    }
}
