//! What a topology needs in the cluster: topics, subjects, groups and the chain, by name. Pure.

use super::tables;
use crate::{
    codec::{DEAD_LETTER_SCHEMA, EVENT_SCHEMA, TRIGGER_SCHEMA, enriched_schema},
    kafka::control::{Chain, ChainStage},
    topology::{Start, Topology},
};

/// What a topic is for; its settings follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The producers' own; created only where it is missing.
    Raw,
    /// Between stages.
    Internal,
    Enriched,
    Triggers,
    DeadLetters,
    Control,
    /// A changelog: what is remembered per key. `window_ms`: for how long; `None` is for ever. `of_raw`: it has the raw
    /// topic's partitions.
    State {
        window_ms: Option<u64>,
        of_raw: bool,
    },
}

/// A topic by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub role: Role,
}

/// A subject and the schema that it is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub name: String,
    pub schema: String,
    /// The raw topic's: producers' schemas there are not ours to judge.
    pub foreign: bool,
}

/// A consumer group, the topic that it reads, and where it begins when it is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub topic: String,
    pub start: Start,
    /// The destination it delivers to.
    pub destination: Option<String>,
}

/// What a topology needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub topology: String,
    /// The raw topic.
    pub raw: String,
    pub topics: Vec<Topic>,
    pub subjects: Vec<Subject>,
    pub groups: Vec<Group>,
    /// As it would be deployed first: number 1, open.
    pub chain: Chain,
    /// Whether the raw topic must have as many partitions as the others.
    pub keyed: bool,
}

impl Deployment {
    /// What that topology needs.
    pub fn of(topology: &Topology) -> Self {
        let raw = topology.source.topic.to_string();
        let enriched = topology.topic("enriched");
        let triggers = topology.topic("triggers");
        let dead_letters = topology.topic("dead-letters");
        let mut records: Vec<String> = Vec::new();
        for stage in &topology.stages {
            for topic in [&stage.input, &stage.output] {
                if **topic != *raw && !records.iter().any(|known| **known == **topic) {
                    records.push(topic.to_string());
                }
            }
        }
        let mut topics = vec![Topic { name: raw.clone(), role: Role::Raw }];
        topics.extend(records.iter().map(|name| Topic {
            name: name.clone(),
            role: if *name == enriched { Role::Enriched } else { Role::Internal },
        }));
        topics.push(Topic { name: triggers.clone(), role: Role::Triggers });
        topics.push(Topic { name: dead_letters.clone(), role: Role::DeadLetters });
        topics.push(Topic { name: topology.topic("control"), role: Role::Control });
        let ids = tables::of_intake(topology).map(|table| table.topic);
        topics.extend(tables::of(topology).into_iter().map(|table| {
            let window_ms = table.window.map(|window| u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
            Topic {
                role: Role::State { window_ms, of_raw: ids.as_ref() == Some(&table.topic) },
                name: table.topic.to_string(),
            }
        }));

        let subject = |topic: &str, schema: &str, foreign| Subject {
            name: format!("{topic}-value"),
            schema: schema.to_owned(),
            foreign,
        };
        let record = enriched_schema(topology);
        let mut subjects = vec![subject(&raw, EVENT_SCHEMA, true)];
        subjects.extend(records.iter().map(|topic| subject(topic, &record, false)));
        subjects.push(subject(&triggers, TRIGGER_SCHEMA, false));
        subjects.push(subject(&dead_letters, DEAD_LETTER_SCHEMA, false));

        Deployment {
            topology: topology.name.to_string(),
            topics,
            subjects,
            groups: groups(topology, &raw, &triggers),
            raw,
            chain: chain(topology),
            keyed: topology.source.keyed,
        }
    }

    /// `<topology>.control`.
    pub fn control_topic(&self) -> String {
        format!("{}.control", self.topology)
    }
}

/// The group on an internal topic bears the topic's name, so that offsets belong to topics, not to stages.
fn groups(topology: &Topology, raw: &str, triggers: &str) -> Vec<Group> {
    let group = |name: String, topic: &str, start| Group { name, topic: topic.to_owned(), start, destination: None };
    let mut groups = vec![group(topology.topic("intake"), raw, topology.source.start)];
    let inputs = topology.stages.iter().map(|stage| &*stage.input).filter(|input| *input != raw);
    groups.extend(inputs.map(|input| group(input.to_owned(), input, Start::End)));
    groups.extend(topology.destinations.iter().map(|destination| Group {
        destination: Some(destination.name.to_string()),
        ..group(topology.topic(&format!("deliver.{}", destination.name)), triggers, Start::End)
    }));
    groups
}

fn chain(topology: &Topology) -> Chain {
    let agent = |index: &usize| topology.agents.get(*index).map(|agent| agent.name.to_string());
    let stage = |stage: &crate::topology::StageSpec| ChainStage {
        name: stage.name.to_string(),
        agents: stage.agents.iter().filter_map(agent).collect(),
        input: stage.input.to_string(),
        output: stage.output.to_string(),
    };
    Chain {
        number: 1,
        stages: topology.stages.iter().map(stage).collect(),
        open: true,
        topology_version: topology.version.to_string(),
        agents: topology.agents.iter().map(|agent| agent.name.to_string()).collect(),
        destinations: topology.destinations.iter().map(|destination| destination.name.to_string()).collect(),
    }
}
