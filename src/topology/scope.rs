//! The names that inputs, conditions and payloads may use, and help where one does not exist.

use std::sync::Arc;

use super::{codes, model::OutputField, suggest::nearest};
use crate::{
    event::{EventField, EventMap, Path, ProvenanceField, RecordField, Type},
    expr::Scope,
};

/// What other agents may read of an agent.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub name: Arc<str>,
    pub output: Vec<OutputField>,
}

/// Every name of a topology, agents in the order of the record's parts.
pub(super) struct Names<'t> {
    pub agents: &'t [Signature],
    /// Agents that are written but could not be read: reading one of their fields is not reported again.
    pub broken: &'t [String],
}

/// Why a name means nothing, and what to write.
pub(super) struct Unknown {
    pub code: &'static str,
    pub message: String,
    pub fix: String,
}

/// Provenance fields with their types.
fn provenance_type(field: ProvenanceField) -> Type {
    match field {
        ProvenanceField::Outcome | ProvenanceField::Reason | ProvenanceField::Source => Type::Text,
        ProvenanceField::Attempts | ProvenanceField::AgeMs => Type::Int,
    }
}

fn event_type(field: EventField) -> Type {
    match field {
        EventField::OccurredAt => Type::Timestamp,
        EventField::Revenue => Type::Float,
        _ => Type::Text,
    }
}

impl Scope for Names<'_> {
    fn resolve(&self, dotted: &str) -> Option<(Path, Type)> {
        let Some((root, rest)) = dotted.split_once('.') else {
            return match dotted {
                "status" => Some((Path::Record(RecordField::Status), Type::Text)),
                "received_at" => Some((Path::Record(RecordField::ReceivedAt), Type::Timestamp)),
                _ => None,
            };
        };
        if root == "event" {
            if let Some((_, field)) = EventField::ALL.iter().find(|(name, _)| *name == rest) {
                return Some((Path::Event(*field), event_type(*field)));
            }
            let of = |map: EventMap| if map == EventMap::Consent { Type::Bool } else { Type::Text };
            let (map, key) = match rest.split_once('.') {
                Some((map, key)) => (map, Some(key)),
                None => (rest, None),
            };
            let (_, map) = EventMap::ALL.iter().find(|(name, _)| *name == map)?;
            return Some(match key {
                Some(key) => (Path::Entry(*map, key.into()), of(*map)),
                None => (Path::Map(*map), of(*map)),
            });
        }
        let agent = self.agents.iter().position(|agent| *agent.name == *root)?;
        if let Some(field) = self.agents[agent].output.iter().position(|field| *field.name == *rest) {
            return Some((Path::Part { agent, field }, self.agents[agent].output[field].ty));
        }
        let (_, field) = ProvenanceField::ALL.iter().find(|(name, _)| *name == rest)?;
        Some((Path::Provenance { agent, field: *field }, provenance_type(*field)))
    }
}

/// Words people try for a field of the event.
const EVENT_SYNONYMS: &[(&str, &str)] = &[
    ("text", "description"),
    ("message", "description"),
    ("body", "description"),
    ("comment", "description"),
    ("messageId", "id"),
    ("message_id", "id"),
    ("event_id", "id"),
    ("userId", "user_id"),
    ("user", "user_id"),
    ("anonymousId", "anonymous_id"),
    ("timestamp", "occurred_at"),
    ("time", "occurred_at"),
    ("event", "name"),
    ("page", "url"),
    ("userAgent", "user_agent"),
    ("ua", "user_agent"),
    ("price", "revenue"),
    ("value", "revenue"),
    ("amount", "revenue"),
    ("ip_address", "ip"),
    ("referer", "referrer"),
    ("utm", "campaign"),
    ("traits", "properties"),
];

impl Names<'_> {
    /// Explains an unknown name; `None` where that has been reported already. `reader` is who uses it: `score`.
    pub(super) fn explain(&self, dotted: &str, reader: &str) -> Option<Unknown> {
        let (root, field) = dotted.split_once('.').unwrap_or((dotted, ""));
        if self.broken.iter().any(|name| name == root) {
            return None;
        }
        if root == "event" {
            return Some(self.explain_event(field));
        }
        if let Some(agent) = self.agents.iter().find(|agent| *agent.name == *root) {
            return Some(explain_field(agent, field));
        }
        let defined = self.agents.iter().map(|agent| &*agent.name);
        let message = if field.is_empty() {
            format!("\"{dotted}\" is not defined; {reader} uses it")
        } else {
            format!("agent \"{root}\" is not defined; {reader} uses {dotted}")
        };
        let known =
            if self.agents.is_empty() { String::new() } else { format!("Defined: {}. ", join(defined.clone())) };
        let fix = match (nearest(root, defined.chain(["event"])), root) {
            (Some(near), _) if field.is_empty() => format!("Did you mean {near}.…?"),
            (Some(near), _) => {
                format!("Did you mean {near}.{field}? {}", known.trim_end_matches([' ', '.'])).trim_end().to_owned()
            }
            (None, "session" | "funnel" | "attribution") => format!("{known}Add {{ name: {root}, type: {root} }}"),
            (None, "geo") => format!("{known}Add {{ name: geo, type: geoip, database: … }}"),
            (None, "device") => format!("{known}Add {{ name: device, type: user_agent }}"),
            (None, _) if field.is_empty() => {
                "Names are event.<field>, <agent>.<field> and status; texts stand in quotes".to_owned()
            }
            (None, _) => known.trim_end_matches([' ', '.']).to_owned(),
        };
        Some(Unknown { code: codes::HW202, message, fix })
    }

    fn explain_event(&self, field: &str) -> Unknown {
        let names = EventField::ALL.iter().map(|(name, _)| *name).chain(EventMap::ALL.iter().map(|(name, _)| *name));
        let synonym = EVENT_SYNONYMS.iter().find(|(word, _)| *word == field).map(|(_, name)| *name);
        let custom = format!("For a custom field write event.properties.{field}");
        let (message, fix) = match synonym.or_else(|| nearest(field, names.clone())) {
            _ if field.is_empty() => (
                "event is the whole event, not a field of it".to_owned(),
                format!("Write event.<field>: {}", join(names)),
            ),
            Some(near) => (format!("Event has no field \"{field}\""), format!("did you mean event.{near}? {custom}")),
            None => (format!("Event has no field \"{field}\""), custom),
        };
        Unknown { code: codes::HW206, message, fix }
    }
}

fn explain_field(agent: &Signature, field: &str) -> Unknown {
    let name = &agent.name;
    let outputs = || agent.output.iter().map(|field| &*field.name);
    if field.is_empty() {
        return Unknown {
            code: codes::HW203,
            message: format!("{name} is an agent, not a field"),
            fix: format!("Write {name}.<field>: {}", join(outputs())),
        };
    }
    let renamed = agent.output.iter().find(|output| *output.from == *field);
    let fix = match (renamed, nearest(field, outputs())) {
        (Some(output), _) => format!("Write {name}.{}. The left side of output is the new name", output.name),
        (None, Some(near)) => format!("did you mean {name}.{near}?"),
        (None, None) => String::new(),
    };
    let yields = if agent.output.is_empty() {
        "it has no output".to_owned()
    } else {
        format!("its output is {}", join(outputs()))
    };
    Unknown { code: codes::HW203, message: format!("{name} has no field \"{field}\"; {yields}"), fix }
}

pub(super) fn join<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
