//! What is done to a cluster rather than on it: topics, groups' offsets, where partitions begin and end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use super::settings::client_config;
use crate::{clock, config::Settings};

/// One question takes no longer, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A new topic has its leaders everywhere after at most so long.
const TOPIC_READY: Duration = Duration::from_secs(60);
/// What is only settling has settled after so long.
const SETTLED: Duration = Duration::from_secs(30);
/// Between two looks at something that takes its time.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What went wrong with the cluster.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No broker answers: check HEADWATER_BOOTSTRAP_SERVERS, the network, and TLS or SASL settings.
    #[error("HW501 Kafka at {servers} cannot be reached ({what}): {message}")]
    Unreachable { servers: String, what: String, message: String },
    /// A broker answered no: a missing permission, a policy of the cluster, a group that is at work.
    #[error("HW501 Kafka refuses {what}: {message}")]
    Refused { what: String, message: String },
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub replication: i32,
    /// Kafka's topic settings.
    pub config: Vec<(&'static str, String)>,
}

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicState {
    pub partitions: i32,
    /// Kafka's topic settings, inherited ones included.
    pub config: BTreeMap<String, String>,
}

/// A partition's first offset and the one after its last, of records that are not yet committed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub begin: i64,
    pub end: i64,
}

/// A client for a cluster's affairs. Clones share its connections.
#[derive(Clone)]
pub struct Admin {
    config: ClientConfig,
    client: Arc<AdminClient<DefaultClientContext>>,
    servers: String,
    timeout: Duration,
}

impl Admin {
    /// For the cluster that the settings name; nothing is sent yet.
    pub fn new(settings: &Settings) -> Result<Self, AdminError> {
        let config = client_config(settings);
        let client = config.create().map_err(|error: KafkaError| AdminError::Refused {
            what: "these settings (HEADWATER_KAFKA_…)".into(),
            message: error.to_string(),
        })?;
        Ok(Admin { config, client: Arc::new(client), servers: settings.bootstrap_servers.clone(), timeout: TIMEOUT })
    }

    /// The same, with another limit for each question (10 s by default).
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Admin { timeout, ..self }
    }

    /// What other clients of this cluster start from.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// How many brokers there are.
    pub async fn brokers(&self) -> Result<usize, AdminError> {
        let (client, timeout) = (self.client.clone(), self.timeout);
        let metadata = self.blocking("asking for its brokers", move || client.inner().fetch_metadata(None, timeout));
        Ok(metadata.await?.brokers().len())
    }

    /// The cluster's id, by which offsets of one cluster are told from another's.
    pub async fn cluster_id(&self) -> Result<String, AdminError> {
        let (client, timeout) = (self.client.clone(), self.timeout);
        let what = "asking for its id";
        // librdkafka gives none where it could not ask; asking for metadata tells why.
        let id = self.blocking(what, move || match client.inner().fetch_cluster_id(timeout) {
            Some(id) => Ok(Some(id)),
            None => client.inner().fetch_metadata(None, timeout).map(|_| None),
        });
        id.await?.ok_or_else(|| AdminError::Refused { what: what.to_owned(), message: "it has none".to_owned() })
    }

    /// Those of the topics that exist, with their settings.
    pub async fn topics(&self, names: &[String]) -> Result<BTreeMap<String, TopicState>, AdminError> {
        let counts = self.partition_counts(names).await?;
        let resources: Vec<_> = counts.keys().map(|name| ResourceSpecifier::Topic(name)).collect();
        let mut topics = BTreeMap::new();
        if resources.is_empty() {
            return Ok(topics);
        }
        let options = AdminOptions::new().request_timeout(Some(self.timeout));
        let what = "asking for the settings of topics";
        let described = self.client.describe_configs(&resources, &options).await.map_err(|e| self.error(what, e))?;
        for ((name, partitions), result) in counts.iter().zip(described) {
            let resource = result.map_err(|code| self.error(what, KafkaError::AdminOp(code)))?;
            let set = |entry: rdkafka::admin::ConfigEntry| Some((entry.name, entry.value?));
            let config = resource.entries.into_iter().filter_map(set).collect();
            topics.insert(name.clone(), TopicState { partitions: *partitions, config });
        }
        Ok(topics)
    }

    /// The number of partitions of those topics that exist and have a leader for each.
    async fn partition_counts(&self, names: &[String]) -> Result<BTreeMap<String, i32>, AdminError> {
        let (client, timeout) = (self.client.clone(), self.timeout);
        // All topics are asked for: asking for one by name may create it.
        let metadata = self.blocking("asking for its topics", move || client.inner().fetch_metadata(None, timeout));
        let metadata = metadata.await?;
        let ready = metadata.topics().iter().filter(|topic| {
            topic.error().is_none() && topic.partitions().iter().all(|partition| partition.leader() >= 0)
        });
        Ok(ready
            .filter(|topic| names.iter().any(|name| name == topic.name()))
            .map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32))
            .collect())
    }

    /// Creates topics and waits until every partition has a leader. One that exists already is left as it is.
    pub async fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), AdminError> {
        if specs.is_empty() {
            return Ok(());
        }
        let topics: Vec<_> = specs
            .iter()
            .map(|spec| {
                let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
                spec.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout));
        let results =
            self.client.create_topics(&topics, &options).await.map_err(|error| self.error("creating topics", error))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(self.error(&format!("creating topic {name}"), KafkaError::AdminOp(code)));
                }
            }
        }
        self.wait_for(specs).await
    }

    async fn wait_for(&self, specs: &[TopicSpec]) -> Result<(), AdminError> {
        let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let until = clock::now() + TOPIC_READY;
        loop {
            let found = self.partition_counts(&names).await?;
            let Some(missing) = specs.iter().find(|spec| found.get(&spec.name) != Some(&spec.partitions)) else {
                return Ok(());
            };
            if clock::now() > until {
                let message = format!("it has no leader for each of its partitions after {} s", TOPIC_READY.as_secs());
                return Err(AdminError::Refused { what: format!("topic {}", missing.name), message });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// What a group has committed, by partition from 0; `None` where nothing.
    pub async fn committed(&self, group: &str, topic: &str, partitions: i32) -> Result<Vec<Option<i64>>, AdminError> {
        let (config, topic, timeout) = (self.member(group), topic.to_owned(), self.timeout);
        let what = format!("asking what {group} has committed");
        self.blocking(&what, move || {
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&topic, 0, partitions - 1);
            let consumer: BaseConsumer = config.create()?;
            let committed = consumer.committed_offsets(list, timeout)?;
            let mut offsets = vec![None; partitions.max(0) as usize];
            for element in committed.elements() {
                element.error()?;
                if let (Offset::Offset(offset), Some(slot)) =
                    (element.offset(), offsets.get_mut(element.partition() as usize))
                {
                    *slot = Some(offset);
                }
            }
            Ok(offsets)
        })
        .await
    }

    /// Commits first offsets for a group that has none there; what it has committed stays. The group must be at rest.
    pub async fn commit_first(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<(), AdminError> {
        let partitions = offsets.iter().map(|(partition, _)| partition + 1).max().unwrap_or_default();
        let committed = self.committed(group, topic, partitions).await?;
        let open = |partition: i32| committed.get(partition as usize).is_none_or(Option::is_none);
        let new: Vec<_> = offsets.iter().copied().filter(|(partition, _)| open(*partition)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let (config, topic) = (self.member(group), topic.to_owned());
        let what = format!("the first offsets of group {group}");
        self.blocking(&what, move || {
            let mut list = TopicPartitionList::new();
            for (partition, offset) in &new {
                list.add_partition_offset(&topic, *partition, Offset::Offset(*offset))?;
            }
            let consumer: BaseConsumer = config.create()?;
            consumer.commit(&list, CommitMode::Sync)
        })
        .await
    }

    /// Where each partition begins and ends, by partition from 0.
    pub async fn bounds(&self, topic: &str, partitions: i32) -> Result<Vec<Bounds>, AdminError> {
        let (client, topic, timeout) = (self.client.clone(), topic.to_owned(), self.timeout);
        let what = format!("asking where {topic} begins and ends");
        self.blocking(&what, move || {
            (0..partitions)
                .map(|partition| {
                    let (begin, end) = client.inner().fetch_watermarks(&topic, partition, timeout)?;
                    Ok(Bounds { begin, end })
                })
                .collect()
        })
        .await
    }

    /// For a throwaway consumer that speaks for a group without joining it.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.config.clone();
        config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "error");
        config
    }

    /// Runs what blocks away from the runtime's workers, again while the cluster is only settling: a new topic's
    /// leader or a group's coordinator that is not known everywhere yet.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl Fn() -> Result<T, KafkaError> + Send + Sync + 'static,
    ) -> Result<T, AdminError> {
        let work = Arc::new(work);
        let until = clock::now() + SETTLED;
        loop {
            let once = work.clone();
            match tokio::task::spawn_blocking(move || once()).await {
                Ok(Err(error)) if is_settling(&error) && clock::now() < until => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(done) => return done.map_err(|error| self.error(what, error)),
                Err(error) => {
                    return Err(AdminError::Refused { what: what.to_owned(), message: error.to_string() });
                }
            }
        }
    }

    fn error(&self, what: &str, error: KafkaError) -> AdminError {
        let (what, message) = (what.to_owned(), error.to_string());
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::TimedOutQueue
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Authentication,
            ) => AdminError::Unreachable { servers: self.servers.clone(), what, message },
            Some(
                RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::RebalanceInProgress,
            ) => AdminError::Refused { what, message: "the group is at work. Stop its pods, apply, start them".into() },
            _ => AdminError::Refused { what, message },
        }
    }
}

/// Whether the cluster will answer otherwise in a moment.
fn is_settling(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}
