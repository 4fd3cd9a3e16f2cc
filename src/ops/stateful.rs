//! The state of a run's stages: which tables each keeps, where their local copies lie.

use std::sync::Arc;

use super::{
    assemble::{Assembly, RunError},
    tables,
};
use crate::{
    stage::{Dedup, Enrich, LocalState, Memory, StateTable},
    state::{Durable, Keeper},
    topology::StageSpec,
    worker::{Stage, Stats},
};

/// Memory for keys in use lately, for each stage that keeps state, in bytes.
const STATE_MEMORY: usize = 64 << 20;

impl Assembly<'_> {
    /// The durable side of these tables of a stage's worker.
    fn durable(&self, stage: &str, tables: &[StateTable], stats: &Arc<Stats>) -> Result<Box<dyn Durable>, RunError> {
        let folder =
            self.settings.state_dir.join(&*self.topology.name).join(folder_name(&self.settings.pod)).join(stage);
        Ok(Box::new(LocalState::open(
            self.settings,
            &folder,
            tables,
            self.partitions.max(1).unsigned_abs(),
            stats.clone(),
        )?))
    }

    /// The duplicate check of the stage that reads the raw topic, where a window is declared.
    pub fn dedup(&self, topic: usize, stats: &Arc<Stats>) -> Result<Option<Dedup>, RunError> {
        let (Some(table), Some(window)) = (tables::of_intake(self.topology), self.topology.source.dedup) else {
            return Ok(None);
        };
        let durable = self.durable("dedup", &[table], stats)?;
        let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Ok(Some(Dedup::new(durable, window_ms, topic, stats.clone())))
    }

    /// What the stage remembers, where any of its agents or decide does.
    pub fn memory(
        &self,
        spec: &StageSpec,
        tables: &[StateTable],
        stats: &Arc<Stats>,
    ) -> Result<Option<Memory>, RunError> {
        if tables.is_empty() {
            return Ok(None);
        }
        let table = |name: &str| tables.iter().position(|table| *table.name == *name);
        let of_agent = |agent: &usize| {
            let agent = &self.topology.agents[*agent];
            table(&agent.name).filter(|_| agent.kind.keeps_state())
        };
        let keeper = Keeper::new(self.durable(&spec.name, tables, stats)?, tables.len(), STATE_MEMORY);
        let of_agents = spec.agents.iter().map(of_agent).collect();
        Ok(Some(Memory::new(keeper, of_agents, table("decide"), Enrich::STATE_FROM, stats.clone())))
    }
}

/// A pod's name as one folder's: whatever the environment says, it stays below the state directory.
fn folder_name(pod: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = pod.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn a_pods_folder_stays_below_the_state_directory() {
        assert_eq!(folder_name("headwater-0"), "headwater-0");
        assert_eq!(folder_name("../../etc"), "_.._.._etc");
        assert_eq!(folder_name("a/b c"), "a_b_c");
    }
}
