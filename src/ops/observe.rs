//! What there is in the cluster and the registry of what a topology needs.

use std::{collections::BTreeMap, time::Duration};

use futures::future::try_join_all;

use super::{OpsError, deployment::Deployment};
use crate::{
    codec::{Registered, RegistryClient, murmur2},
    kafka::{
        admin::{Admin, AdminError, TopicState},
        control::{self, Control},
        sample::newest_keys,
    },
};

/// Records of each partition of a keyed source that are looked at.
const SAMPLE: i64 = 100;
const CONTROL_TIMEOUT: Duration = Duration::from_secs(20);

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub brokers: usize,
    /// By name; missing topics are missing.
    pub topics: BTreeMap<String, TopicState>,
    /// By name.
    pub subjects: BTreeMap<String, ObservedSubject>,
    /// Committed offsets by group's name, by partition of its topic; none for topics that are missing.
    pub committed: BTreeMap<String, Vec<Option<i64>>>,
    /// Of a keyed source: how many of the newest records were looked at, and how many lie in another partition than
    /// their key's.
    pub sampled: Sampled,
    /// `None`: nothing was ever applied to the end.
    pub control: Option<Control>,
}

/// What a look at a keyed source's newest records showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sampled {
    pub records: usize,
    pub misplaced: usize,
}

/// What the registry says of a subject and the schema that it is to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedSubject {
    pub latest: Option<Registered>,
    /// Whether exactly that schema is one of its versions.
    pub holds_it: bool,
    /// Its own level.
    pub level: Option<String>,
    /// Why its versions and that schema do not read each other.
    pub incompatibilities: Vec<String>,
}

/// Looks at everything that the deployment names.
pub async fn observe(deployment: &Deployment, admin: &Admin, registry: &RegistryClient) -> Result<Observed, OpsError> {
    let names: Vec<_> = deployment.topics.iter().map(|topic| topic.name.clone()).collect();
    let mut observed =
        Observed { brokers: admin.brokers().await?, topics: admin.topics(&names).await?, ..Observed::default() };
    for subject in &deployment.subjects {
        let latest = registry.latest(&subject.name).await?;
        let mut state = ObservedSubject { level: registry.compatibility(&subject.name).await?, ..Default::default() };
        if latest.is_some() {
            state.holds_it = registry.find(&subject.name, &subject.schema).await?.is_some();
            if !state.holds_it && !subject.foreign {
                state.incompatibilities = registry.incompatibilities(&subject.name, &subject.schema).await?;
            }
        }
        observed.subjects.insert(subject.name.clone(), ObservedSubject { latest, ..state });
    }
    // Each group's coordinator is to be found first, which takes its time: ask for all at once.
    let groups = deployment.groups.iter().filter_map(|group| Some((group, observed.topics.get(&group.topic)?)));
    let asked = groups.map(async |(group, topic)| {
        let committed = admin.committed(&group.name, &group.topic, topic.partitions).await?;
        Ok::<_, AdminError>((group.name.clone(), committed))
    });
    let committed = try_join_all(asked).await?;
    observed.committed = committed.into_iter().collect();
    if let (true, Some(raw)) = (deployment.keyed, observed.topics.get(&deployment.raw)) {
        let keys = newest_keys(admin, &deployment.raw, raw.partitions, SAMPLE).await?;
        let misplaced = |(partition, key): &&(i32, Vec<u8>)| murmur2::partition(key, raw.partitions) != *partition;
        observed.sampled = Sampled { records: keys.len(), misplaced: keys.iter().filter(misplaced).count() };
    }
    let topic = deployment.control_topic();
    if observed.topics.contains_key(&topic) {
        observed.control = read_control(admin, topic).await?;
    }
    Ok(observed)
}

async fn read_control(admin: &Admin, topic: String) -> Result<Option<Control>, OpsError> {
    let config = admin.config().clone();
    let name = topic.clone();
    match tokio::task::spawn_blocking(move || control::read(&config, &topic, CONTROL_TIMEOUT)).await {
        Ok(control) => Ok(control?),
        Err(error) => Err(AdminError::Refused { what: format!("reading {name}"), message: error.to_string() }.into()),
    }
}
