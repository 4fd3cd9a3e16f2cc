//! What would have to change, from what a topology needs and what there is. Pure; nothing is ever deleted.

use super::{
    deployment::{Deployment, Group, Role, Topic},
    observe::{Observed, Sampled},
    schema_diff, topic_settings,
};
use crate::{
    kafka::{admin::TopicSpec, control::Chain},
    topology::{Start, codes},
};

/// Every subject of ours has this level: any version reads any other.
pub(super) const LEVEL: &str = "FULL_TRANSITIVE";
/// Partitions of a new deployment's topics, unless said otherwise.
const PARTITIONS: i32 = 12;

/// What the operator chose.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Of new topics; `None` is that of the topics that exist, else 12.
    pub partitions: Option<i32>,
    /// Of new topics; no more than there are brokers.
    pub replication: i32,
}

impl Default for Options {
    fn default() -> Self {
        Options { partitions: None, replication: 3 }
    }
}

/// One thing to do, in the order in which it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    CreateTopic {
        spec: TopicSpec,
        role: Role,
    },
    /// `level` and `register`: what of the two is to be done. `from` is the newest version, `detail` what is new.
    Schema {
        subject: String,
        schema: String,
        level: bool,
        register: bool,
        from: Option<u32>,
        detail: String,
    },
    /// First offsets for the partitions that have none.
    FirstOffsets {
        group: String,
        topic: String,
        partitions: Vec<i32>,
        start: Start,
    },
    /// A new record in the control topic.
    Chain {
        chain: Chain,
        from: Option<Chain>,
    },
}

/// Why the plan cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// What would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub topology: String,
    pub changes: Vec<Change>,
    /// Worth knowing, without any change.
    pub notes: Vec<String>,
    /// Not empty: nothing can be applied.
    pub refusals: Vec<Refusal>,
    /// How much there is already as it should be: topics, subjects, groups.
    pub unchanged: [usize; 3],
}

/// Compares what is needed with what there is.
pub fn plan(deployment: &Deployment, observed: &Observed, options: &Options) -> Plan {
    let mut plan = Plan { topology: deployment.topology.clone(), ..Plan::default() };
    plan.topics(deployment, observed, options);
    plan.subjects(deployment, observed);
    plan.groups(deployment, observed);
    plan.chain(deployment, observed);
    plan
}

impl Plan {
    /// Whether there is nothing to do and nothing in the way.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refusals.is_empty()
    }

    fn refuse(&mut self, code: &'static str, message: String) {
        self.refusals.push(Refusal { code, message });
    }

    fn topics(&mut self, deployment: &Deployment, observed: &Observed, options: &Options) {
        let partitions = self.partitions(deployment, observed, options);
        self.sampled(deployment, observed);
        let replication = options.replication.clamp(1, observed.brokers.clamp(1, i32::MAX as usize) as i32);
        let mut created = false;
        for topic in &deployment.topics {
            if let Some(state) = observed.topics.get(&topic.name) {
                self.unchanged[0] += 1;
                self.state_partitions(topic, state.partitions, deployment, observed);
                let judged = topic_settings::judge(topic, &state.config);
                self.notes.extend(judged.note);
                judged.refusal.into_iter().for_each(|message| self.refuse(codes::HW504, message));
                continue;
            }
            created = true;
            if topic.role == Role::Raw {
                let name = &topic.name;
                self.notes.push(format!(
                    "{name} did not exist: it is created with {partitions} partitions. Producers write events there"
                ));
            }
            let partitions = match topic.role {
                Role::Control => 1,
                Role::State { of_raw: true, .. } => {
                    observed.topics.get(&deployment.raw).map_or(partitions, |raw| raw.partitions)
                }
                _ => partitions,
            };
            let config = topic_settings::of(topic.role, replication);
            let spec = TopicSpec { name: topic.name.clone(), partitions, replication, config };
            self.changes.push(Change::CreateTopic { spec, role: topic.role });
        }
        if created && replication < options.replication {
            let (brokers, asked) = (observed.brokers, options.replication);
            self.notes.push(format!("replication factor {replication} instead of {asked}: there {} {brokers} broker{}. A lost disk loses data", if brokers == 1 { "is" } else { "are" }, if brokers == 1 { "" } else { "s" }));
        }
    }

    /// The changelog of intake's ids grows with the raw topic.
    fn state_partitions(&mut self, topic: &Topic, has: i32, deployment: &Deployment, observed: &Observed) {
        let raw = observed.topics.get(&deployment.raw).map_or(0, |raw| raw.partitions);
        if matches!(topic.role, Role::State { of_raw: true, .. }) && has < raw {
            let name = &topic.name;
            self.refuse(
                codes::HW504,
                format!("{name} has {has} partitions and {} has {raw}; it is to grow with it: kafka-topics --alter --topic {name} --partitions {raw}", deployment.raw),
            );
        }
    }

    fn sampled(&mut self, deployment: &Deployment, observed: &Observed) {
        let Sampled { records, misplaced } = observed.sampled;
        if misplaced > 0 {
            let message = format!(
                "source.keyed: true says that {} is partitioned by murmur2 of its keys as Java clients do, but {misplaced} \
                 of its {records} newest records lie in another partition. Remove keyed: intake then keys and partitions \
                 them. (librdkafka and its clients need partitioner=murmur2_random)",
                deployment.raw
            );
            self.refuse(codes::HW605, message);
        }
    }

    /// How many partitions the deployment has. Output goes to the partition that the event lies in, so all topics
    /// between intake and delivery have the same number, for life.
    fn partitions(&mut self, deployment: &Deployment, observed: &Observed, options: &Options) -> i32 {
        let counted = |topic: &&Topic| {
            matches!(topic.role, Role::Internal | Role::Enriched | Role::Triggers | Role::State { of_raw: false, .. })
                || (topic.role == Role::Raw && deployment.keyed)
        };
        let existing: Vec<_> = deployment
            .topics
            .iter()
            .filter(counted)
            .filter_map(|topic| Some((&topic.name, observed.topics.get(&topic.name)?.partitions)))
            .collect();
        let Some((first, partitions)) = existing.first().copied() else {
            return options.partitions.unwrap_or(PARTITIONS);
        };
        let name = &deployment.topology;
        let recipe = format!(
            "Partition counts are for life: keys would change their partition and lose their order. Recipe: deploy a \
             second topology under another name with the new count, let both run until the first has caught up, then \
             stop the first. A topic that holds nothing may instead be deleted with {name}'s pods stopped: \
             kafka-topics --delete --topic <topic>, then apply again"
        );
        if existing.iter().any(|(_, count)| *count != partitions) {
            let counts: Vec<_> = existing.iter().map(|(topic, count)| format!("{topic} {count}")).collect();
            let message =
                format!("these topics must have the same number of partitions: {}. {recipe}", counts.join(", "));
            self.refuse(codes::HW504, message);
        }
        if let Some(asked) = options.partitions.filter(|asked| *asked != partitions) {
            self.refuse(
                codes::HW504,
                format!("{asked} partitions are asked for, but {first} has {partitions}. {recipe}"),
            );
        }
        partitions
    }

    fn subjects(&mut self, deployment: &Deployment, observed: &Observed) {
        for subject in &deployment.subjects {
            let state = observed.subjects.get(&subject.name).cloned().unwrap_or_default();
            if subject.foreign && state.latest.is_some() {
                self.unchanged[1] += 1;
                if !state.holds_it {
                    self.notes.push(format!(
                        "{} holds producers' own schemas; they are read by Avro's rules and left alone",
                        subject.name
                    ));
                }
                continue;
            }
            if !state.incompatibilities.is_empty() {
                let why = state.incompatibilities.join("; ");
                let message = format!(
                    "{} would no longer be readable by all its versions: {why}. A field's type never changes; give the field a new name",
                    subject.name
                );
                self.refuse(codes::HW507, message);
                continue;
            }
            let level = state.level.as_deref() != Some(LEVEL);
            if state.holds_it && !level {
                self.unchanged[1] += 1;
                continue;
            }
            let detail = match &state.latest {
                None => schema_diff::name(&subject.schema),
                Some(_) if state.holds_it => format!("level {}→", state.level.as_deref().unwrap_or("of the registry")),
                Some(latest) => schema_diff::difference(&latest.schema, &subject.schema),
            };
            self.changes.push(Change::Schema {
                subject: subject.name.clone(),
                schema: subject.schema.clone(),
                level,
                register: !state.holds_it,
                from: state.latest.map(|latest| latest.version),
                detail,
            });
        }
    }

    fn groups(&mut self, deployment: &Deployment, observed: &Observed) {
        for group in &deployment.groups {
            let committed = observed.committed.get(&group.name).map(Vec::as_slice).unwrap_or_default();
            let known = committed.iter().flatten().count();
            if observed.committed.contains_key(&group.name) && known == committed.len() {
                self.unchanged[2] += 1;
                continue;
            }
            // A topic that is yet to be created has its partitions counted by apply.
            let missing: Vec<i32> =
                (0..).zip(committed).filter(|(_, offset)| offset.is_none()).map(|(partition, _)| partition).collect();
            if known == 0 && deployed(group, deployment, observed) {
                self.refuse(codes::HW502, lost_offsets(group));
                continue;
            }
            // Partitions that were added under a running group hold what nobody has read yet.
            let start = if known > 0 { Start::Beginning } else { group.start };
            self.changes.push(Change::FirstOffsets {
                group: group.name.clone(),
                topic: group.topic.clone(),
                partitions: missing,
                start,
            });
        }
    }

    fn chain(&mut self, deployment: &Deployment, observed: &Observed) {
        let wanted = &deployment.chain;
        let Some(control) = &observed.control else {
            self.changes.push(Change::Chain { chain: wanted.clone(), from: None });
            return;
        };
        let deployed = &control.chain;
        if !deployed.open {
            self.notes.push("intake is stopped by the control topic (open: false) and stays so".to_owned());
        }
        if let Some(why) = chain_difference(deployed, wanted) {
            let message = format!(
                "the chain of stages changes: {why}. A changed chain needs a drain, which this version does not have yet. \
                 Keep the deployed stages (a new agent can join one of them: placement fused, or a list of stages), or \
                 deploy under another name"
            );
            self.refuse(codes::HW503, message);
            return;
        }
        let next = Chain { number: deployed.number, open: deployed.open, ..wanted.clone() };
        if next != *deployed {
            self.changes.push(Change::Chain { chain: next, from: Some(deployed.clone()) });
        }
    }
}

/// Whether the deployed chain had this group, so that missing offsets are lost ones.
fn deployed(group: &Group, deployment: &Deployment, observed: &Observed) -> bool {
    let Some(control) = &observed.control else { return false };
    // Topics that vanished with the group's offsets are created anew: then nothing is skipped by beginning anew.
    if !observed.topics.contains_key(&group.topic) {
        return false;
    }
    match &group.destination {
        Some(destination) => control.chain.destinations.contains(destination),
        None => {
            group.name == format!("{}.intake", deployment.topology)
                || control.chain.stages.iter().any(|stage| stage.input == group.topic)
        }
    }
}

fn lost_offsets(group: &Group) -> String {
    let Group { name, topic, .. } = group;
    format!(
        "group {name} is deployed but has no offsets on {topic}: they expired or were deleted. Where it goes on is \
         yours to say: kafka-consumer-groups --group {name} --topic {topic} --reset-offsets --execute with \
         --to-earliest (reads again what is there), --to-datetime …, or --to-latest (skips it)"
    )
}

/// What is different in the list of stages and their topics; agents that join a stage are no difference.
pub(super) fn chain_difference(deployed: &Chain, wanted: &Chain) -> Option<String> {
    let line = |chain: &Chain| {
        let topics = chain.stages.iter().map(|stage| stage.output.as_str());
        let first = chain.stages.first().map(|stage| stage.input.as_str());
        first.into_iter().chain(topics).collect::<Vec<_>>().join(" → ")
    };
    let of = |chain: &Chain| -> Vec<_> {
        chain.stages.iter().map(|stage| (stage.name.clone(), stage.input.clone(), stage.output.clone())).collect()
    };
    if of(deployed) != of(wanted) {
        return Some(format!(
            "deployed (number {}) is {}, wanted is {}",
            deployed.number,
            line(deployed),
            line(wanted)
        ));
    }
    let home = |chain: &Chain, agent: &String| {
        chain.stages.iter().find(|stage| stage.agents.contains(agent)).map(|stage| stage.name.clone())
    };
    deployed.agents.iter().find_map(|agent| {
        let (from, to) = (home(deployed, agent)?, home(wanted, agent)?);
        (from != to).then(|| format!("agent {agent} moves from stage {from} to stage {to}"))
    })
}
