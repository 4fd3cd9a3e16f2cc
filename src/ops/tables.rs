//! Which stage keeps state in which tables, and the changelog topic of each. Pure.

use std::time::Duration;

use crate::{
    stage::StateTable,
    topology::{StageSpec, Topology},
};

/// What decide remembers is kept at least so long: no replay of an internal topic reaches further back.
const DECIDED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Ids are kept a little longer than they count, for records that wait.
const SLACK: Duration = Duration::from_secs(60 * 60);

fn table(topology: &Topology, name: &str, window: Option<Duration>) -> StateTable {
    StateTable { name: name.into(), topic: topology.topic(&format!("state.{name}")).into(), window }
}

/// The tables of a stage of agents: those of its agents in their order, then decide's, where it is the last one.
pub fn of_stage(topology: &Topology, stage: &StageSpec) -> Vec<StateTable> {
    let agents = stage.agents.iter().filter_map(|agent| topology.agents.get(*agent));
    let mut tables: Vec<StateTable> =
        agents.filter(|agent| agent.kind.keeps_state()).map(|agent| table(topology, &agent.name, None)).collect();
    if topology.stages.last() == Some(stage) {
        tables.extend(of_decide(topology));
    }
    tables
}

/// What decide remembers, where there is something to decide.
pub fn of_decide(topology: &Topology) -> Option<StateTable> {
    let longest = topology.triggers.iter().filter_map(|trigger| trigger.cooldown).max().unwrap_or_default();
    (!topology.triggers.is_empty()).then(|| table(topology, "decide", Some(longest.max(DECIDED) + SLACK)))
}

/// The ids that intake remembers, where a window is declared. Its changelog has the raw topic's partitions.
pub fn of_intake(topology: &Topology) -> Option<StateTable> {
    topology.source.dedup.map(|window| table(topology, "dedup", Some(window + SLACK)))
}

/// All of them.
pub fn of(topology: &Topology) -> Vec<StateTable> {
    let stages = topology.stages.iter().flat_map(|stage| of_stage(topology, stage));
    of_intake(topology).into_iter().chain(stages).collect()
}
