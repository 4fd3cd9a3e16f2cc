//! The record that grows.

use std::sync::Arc;

use super::{Event, Outcome, Part};

/// Whether every agent had its say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    #[default]
    Complete,
    /// Some agent failed; `incomplete` names it.
    Partial,
}

/// Where a record comes from: its place in the raw topic. It names the record for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// The raw topic.
    pub topic: Arc<str>,
    /// 32 bits of (cluster id, topic id, partition): another cluster's or a recreated topic's offsets differ.
    pub tag: u32,
    pub partition: i32,
    pub offset: i64,
    /// Offset in `<topology>.events`, stamped by the first stage that reads it there; -1 before.
    pub events_offset: i64,
    /// 32 bits of (cluster id, topic id, partition) of `<topology>.events`, stamped with the offset; 0 before.
    pub events_tag: u32,
}

/// An event's place in the order of its key: in `<topology>.events`, or in the raw topic where that is keyed. Places of
/// one tag are in order; those of different tags say nothing about each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Place {
    pub tag: u32,
    pub offset: i64,
}

impl Place {
    /// Whether it is at or below `last` in the same log: the event was seen before.
    pub fn is_within(self, last: Place) -> bool {
        self.tag == last.tag && self.offset <= last.offset
    }
}

impl Origin {
    /// The place in the order of its key.
    pub fn place(&self) -> Place {
        if self.events_offset >= 0 {
            Place { tag: self.events_tag, offset: self.events_offset }
        } else {
            Place { tag: self.tag, offset: self.offset }
        }
    }
}

/// The one record of every topic from `<topology>.events` to `<topology>.enriched`, fuller at each step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    pub event: Event,
    pub status: Status,
    /// Names of the agents whose part failed, in the topology's order.
    pub incomplete: Vec<Arc<str>>,
    /// When intake accepted it. Milliseconds since 1970 UTC.
    pub received_at_ms: i64,
    /// When the last stage decided; 0 before.
    pub enriched_at_ms: i64,
    pub origin: Origin,
    /// Intake has accepted this very record before (its group was reset, or somebody replays it): it reads state,
    /// changes none, and fires no trigger unless `refire` asks for it.
    pub repeat: bool,
    /// Whoever replays it wants its triggers again.
    pub refire: bool,
    /// The chain (list of stages and topics) that intake accepted it for.
    pub chain: u32,
    /// Version of the topology that wrote it last.
    pub topology_version: Arc<str>,
    /// One per agent, in the topology's order (`Topology::agents`).
    pub parts: Vec<Part>,
}

impl Record {
    /// When it happened, for everything that reckons in event time: as the producer says, but not after we received it.
    /// Milliseconds since 1970 UTC.
    pub fn event_time_ms(&self) -> i64 {
        self.event.occurred_at_ms.min(self.received_at_ms)
    }

    /// Whether the part of that agent failed or any other: recomputes `status` and `incomplete`.
    pub fn settle(&mut self, agent_names: &[Arc<str>]) {
        self.incomplete = agent_names
            .iter()
            .zip(&self.parts)
            .filter(|(_, part)| part.provenance.outcome == Outcome::Failed)
            .map(|(name, _)| name.clone())
            .collect();
        self.status = if self.incomplete.is_empty() { Status::Complete } else { Status::Partial };
    }
}
