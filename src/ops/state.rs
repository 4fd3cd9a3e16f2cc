//! What is known of one key: the last record of a table's changelog.

use std::sync::Arc;

use super::{OpsError, tables};
use crate::{
    codec::murmur2,
    kafka::{
        admin::Admin,
        lookup::{Found, Watch, last_of_key},
    },
    stage::StateTable,
    topology::{Topology, codes},
};

/// The table whose keys are event ids, which lie wherever their events did.
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

/// The tables of a topology: of its agents with state, and ours.
pub fn tables(topology: &Topology) -> Vec<StateTable> {
    tables::of(topology)
}

/// Reads a table's changelog for one key. `watch` is told how far it is.
pub async fn state_of(admin: &Admin, table: &StateTable, key: &str, watch: Arc<Watch>) -> Result<StateOf, OpsError> {
    let topic = table.topic.to_string();
    let topics = admin.topics(std::slice::from_ref(&topic)).await?;
    let Some(state) = topics.get(&topic) else {
        let code = codes::HW504;
        let message = format!("{code} topic {topic} does not exist. Run `headwater apply`");
        return Err(OpsError::Refused(message));
    };
    let partitions = match &*table.name {
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
