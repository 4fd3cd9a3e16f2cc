//! The schemas: three written by hand in `schemas/`, and the record's, derived from the topology.
//!
//! The derived one is made so that adding or removing an agent or one of its fields is FULL_TRANSITIVE: every
//! agent's record is non-null with a full default, its leaves are nullable, enums are closed and have a default,
//! open vocabularies are strings.

use serde_json::{Value as Json, json};

use super::layout::{AgentLayout, Layout};
use crate::{
    event::{Outcome, Type},
    topology::Topology,
};

/// `headwater.Event`, `schemas/Event.avsc`.
pub const EVENT_SCHEMA: &str = include_str!("../../schemas/Event.avsc");
/// `headwater.Trigger`, `schemas/Trigger.avsc`.
pub const TRIGGER_SCHEMA: &str = include_str!("../../schemas/Trigger.avsc");
/// `headwater.DeadLetter`, `schemas/DeadLetter.avsc`.
pub const DEAD_LETTER_SCHEMA: &str = include_str!("../../schemas/DeadLetter.avsc");

/// The symbols of `headwater.Status`, in the order of [`crate::event::Status`].
pub(super) const STATUSES: [&str; 2] = ["complete", "partial"];

/// The schema of a topology's records, from `<topology>.events` to `<topology>.enriched`, as indented JSON.
/// The same topology gives the same text.
pub fn enriched_schema(topology: &Topology) -> String {
    derive(&Layout::new(topology))
}

/// The same, from the layout.
pub(super) fn derive(layout: &Layout) -> String {
    let event: Json = serde_json::from_str(EVENT_SCHEMA).unwrap_or_default();
    let timestamp = json!({ "type": "long", "logicalType": "timestamp-millis" });
    let mut fields = vec![
        json!({ "name": "event", "type": event, "doc": "As accepted." }),
        json!({
            "name": "status",
            "type": { "type": "enum", "name": "Status", "namespace": "headwater", "symbols": STATUSES, "default": STATUSES[0] },
            "default": STATUSES[0],
            "doc": "partial: some agent failed; incomplete names it.",
        }),
        json!({ "name": "incomplete", "type": { "type": "array", "items": "string" }, "default": [], "doc": "Names of the agents that failed." }),
        json!({ "name": "received_at", "type": timestamp, "default": 0, "doc": "When intake accepted it." }),
        json!({ "name": "enriched_at", "type": timestamp, "default": 0, "doc": "When the last stage decided; 0 on the way." }),
        json!({ "name": "origin", "type": origin(), "default": { "topic": "", "tag": 0, "partition": 0, "offset": -1, "events_offset": -1, "events_tag": 0 }, "doc": "Its place in the raw topic: names the record for ever." }),
        json!({ "name": "repeat", "type": "boolean", "default": false, "doc": "Accepted before: changes no state, fires no trigger." }),
        json!({ "name": "refire", "type": "boolean", "default": false, "doc": "A replay that wants its triggers again." }),
        json!({ "name": "chain", "type": "long", "default": 0, "doc": "The chain of stages that it was accepted for." }),
        json!({ "name": "topology_version", "type": "string", "default": "", "doc": "Of the topology that wrote it last." }),
    ];
    let namespace = namespace(&layout.topology);
    for (index, agent) in layout.agents().iter().enumerate() {
        fields.push(part(agent, &namespace, index == 0));
    }
    let schema = json!({
        "type": "record",
        "name": "Enriched",
        "namespace": namespace,
        "doc": format!("A record of {}: the event as accepted, and one part per agent. A part that has not been filled yet is pending.", layout.topology),
        "fields": fields,
    });
    format!("{schema:#}\n")
}

fn origin() -> Json {
    json!({
        "type": "record",
        "name": "Origin",
        "namespace": "headwater",
        "fields": [
            { "name": "topic", "type": "string", "default": "" },
            { "name": "tag", "type": "long", "default": 0, "doc": "32 bits of cluster id, topic id and partition: a recreated topic's offsets differ." },
            { "name": "partition", "type": "int", "default": 0 },
            { "name": "offset", "type": "long", "default": -1 },
            { "name": "events_offset", "type": "long", "default": -1, "doc": "Offset in <topology>.events; -1 until the first stage has read it there." },
            { "name": "events_tag", "type": "long", "default": 0, "doc": "As tag, of <topology>.events." },
        ],
    })
}

/// One agent's field. The first agent's defines `headwater.Provenance`; the others name it.
fn part(agent: &AgentLayout, namespace: &str, first: bool) -> Json {
    let mut fields: Vec<Json> = Vec::with_capacity(agent.fields.len() + 1);
    let mut default = serde_json::Map::new();
    for (name, ty) in &agent.fields {
        fields.push(json!({ "name": **name, "type": ["null", leaf(*ty)], "default": null }));
        default.insert(name.to_string(), Json::Null);
    }
    let provenance_type = if first { provenance() } else { json!("headwater.Provenance") };
    fields.push(json!({ "name": "provenance", "type": provenance_type, "default": provenance_default() }));
    default.insert("provenance".into(), provenance_default());
    json!({
        "name": *agent.name,
        "type": { "type": "record", "name": *agent.name, "namespace": namespace, "fields": fields },
        "default": default,
    })
}

fn leaf(ty: Type) -> Json {
    match ty {
        Type::Bool => json!("boolean"),
        Type::Int => json!("long"),
        Type::Float => json!("double"),
        Type::Text => json!("string"),
        Type::TextList => json!({ "type": "array", "items": "string" }),
        Type::Timestamp => json!({ "type": "long", "logicalType": "timestamp-millis" }),
    }
}

fn provenance() -> Json {
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
    json!({
        "type": "record",
        "name": "Provenance",
        "namespace": "headwater",
        "doc": "How a part came about.",
        "fields": [
            { "name": "outcome", "type": { "type": "enum", "name": "Outcome", "namespace": "headwater", "symbols": outcomes, "default": Outcome::default().name() }, "default": Outcome::default().name() },
            { "name": "reason", "type": ["null", "string"], "default": null, "doc": "Why it is not plainly ok." },
            { "name": "source", "type": ["null", "string"], "default": null, "doc": "Where the values come from." },
            { "name": "attempts", "type": "int", "default": 0, "doc": "Requests sent for this event." },
            { "name": "latency_ms", "type": "long", "default": 0, "doc": "From inputs there to fields there." },
            { "name": "age_ms", "type": ["null", "long"], "default": null, "doc": "Of a cached value." },
        ],
    })
}

fn provenance_default() -> Json {
    json!({
        "outcome": Outcome::default().name(), "reason": null, "source": null,
        "attempts": 0, "latency_ms": 0, "age_ms": null,
    })
}

/// `headwater.<topology>`, with what Avro's names cannot hold replaced by `_`.
fn namespace(topology: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = topology.chars().map(clean).collect();
    let lead = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    format!("headwater.{lead}{name}")
}
