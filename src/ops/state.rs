//! What is known of one key: the last record of a table's changelog.

use std::sync::Arc;

use super::OpsError;
use crate::{
    codec::murmur2,
    kafka::{
        admin::Admin,
        lookup::{Found, Watch, last_of_key},
    },
    topology::{Topology, codes},
};

/// Tables beside those of agents.
const OWN_TABLES: [&str; 2] = [DEDUP, "decide"];
/// Its keys are event ids, which lie wherever their events did.
const DEDUP: &str = "dedup";

/// What was looked for, and what was found.
#[derive(Debug, Clone)]
pub struct StateOf {
    pub topic: String,
    /// Where the key would lie.
    pub partitions: Vec<i32>,
    /// The newest record of the key; `None`: there is none.
    pub found: Option<Found>,
}

/// The tables that a topology may have: its agents' and ours.
pub fn tables(topology: &Topology) -> Vec<&str> {
    topology.agents.iter().map(|agent| &*agent.name).chain(OWN_TABLES).collect()
}

/// Reads a table's changelog for one key. `watch` is told how far it is.
pub async fn state_of(
    topology: &Topology,
    admin: &Admin,
    table: &str,
    key: &str,
    watch: Arc<Watch>,
) -> Result<StateOf, OpsError> {
    let topic = format!("{}.state.{table}", topology.name);
    let topics = admin.topics(std::slice::from_ref(&topic)).await?;
    let Some(state) = topics.get(&topic) else {
        let code = codes::HW504;
        let message =
            format!("{code} topic {topic} does not exist: {table} keeps no state, or `headwater apply` has not run");
        return Err(OpsError::Refused(message));
    };
    let partitions = match table {
        DEDUP => (0..state.partitions).collect(),
        _ => vec![murmur2::partition(key.as_bytes(), state.partitions)],
    };
    let mut found: Option<Found> = None;
    for partition in &partitions {
        let here = last_of_key(admin, &topic, *partition, key.as_bytes(), watch.clone()).await?;
        found = found.into_iter().chain(here).max_by_key(|found| found.at_ms);
    }
    Ok(StateOf { topic, partitions, found })
}
