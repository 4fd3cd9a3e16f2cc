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
    /// The chain (list of stages and topics) that intake accepted it for.
    pub chain: u32,
    /// Version of the topology that wrote it last.
    pub topology_version: Arc<str>,
    /// One per agent, in the topology's order (`Topology::agents`).
    pub parts: Vec<Part>,
}

impl Record {
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
