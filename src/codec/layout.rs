//! What a topology's records look like: the agents and their fields, by name, type and order.

use std::{collections::HashMap, sync::Arc};

use crate::{event::Type, topology::Topology};

/// The shape of a topology's records, shared by its encoders and decoders.
#[derive(Debug)]
pub struct Layout {
    pub(super) topology: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) source_topic: Arc<str>,
    agents: Vec<AgentLayout>,
    by_name: HashMap<Arc<str>, usize>,
}

/// One agent's part.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentLayout {
    pub name: Arc<str>,
    /// In the order of `Part::fields`.
    pub fields: Vec<(Arc<str>, Type)>,
}

impl Layout {
    /// The layout of that topology's records.
    pub fn new(topology: &Topology) -> Arc<Self> {
        let agents: Vec<_> = topology
            .agents
            .iter()
            .map(|agent| AgentLayout {
                name: agent.name.clone(),
                fields: agent.output.iter().map(|field| (field.name.clone(), field.ty)).collect(),
            })
            .collect();
        Arc::new(Layout {
            topology: topology.name.clone(),
            version: topology.version.clone(),
            source_topic: topology.source.topic.clone(),
            by_name: agents.iter().enumerate().map(|(index, agent)| (agent.name.clone(), index)).collect(),
            agents,
        })
    }

    /// The agents in the order of `Record::parts`.
    pub fn agents(&self) -> &[AgentLayout] {
        &self.agents
    }

    /// Which agent bears that name. `guess` is tried first: a writer's order is mostly ours.
    pub(super) fn agent(&self, name: &str, guess: usize) -> Option<usize> {
        match self.agents.get(guess) {
            Some(agent) if *agent.name == *name => Some(guess),
            _ => self.by_name.get(name).copied(),
        }
    }
}

impl AgentLayout {
    /// Which field bears that name. `guess` is tried first.
    pub(super) fn field(&self, name: &str, guess: usize) -> Option<usize> {
        match self.fields.get(guess) {
            Some((field, _)) if **field == *name => Some(guess),
            _ => self.fields.iter().position(|(field, _)| **field == *name),
        }
    }
}
