//! Who is there: Metadata, DescribeCluster, FindCoordinator. The answer is always this one node.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
    MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Shared;
use super::state::State;
use super::topic::Topic;

/// The only node.
pub const NODE: BrokerId = BrokerId(1);

impl Shared {
    fn host(&self) -> StrBytes {
        StrBytes::from_string(self.address.ip().to_string())
    }

    fn port(&self) -> i32 {
        i32::from(self.address.port())
    }

    fn cluster_id(&self) -> StrBytes {
        StrBytes::from_string(self.config.cluster_id.clone())
    }
}

/// Topics and where they are.
pub fn metadata(shared: &Shared, request: MetadataRequest, version: i16) -> MetadataResponse {
    let mut state = shared.state.lock();
    let asked = request.topics.filter(|topics| version >= 1 || !topics.is_empty());
    let topics = match asked {
        None => state.topics.iter().map(|(name, topic)| describe(name, topic)).collect(),
        Some(topics) => {
            let create = shared.config.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
            let create = create.then_some(shared.config.default_partitions);
            topics.into_iter().map(|topic| find(&mut state, topic, create)).collect()
        }
    };
    let broker = MetadataResponseBroker::default().with_node_id(NODE).with_host(shared.host()).with_port(shared.port());
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(shared.cluster_id()))
        .with_controller_id(NODE)
        .with_topics(topics)
}

fn find(state: &mut State, asked: MetadataRequestTopic, create: Option<usize>) -> MetadataResponseTopic {
    let missing = MetadataResponseTopic::default().with_topic_id(asked.topic_id).with_name(asked.name.clone());
    let Some(name) = asked.name else {
        let found = state.topics.iter().find(|(_, topic)| topic.id == asked.topic_id && topic.id != Uuid::nil());
        let found = found.map(|(name, topic)| describe(name, topic));
        return found.unwrap_or_else(|| missing.with_error_code(ResponseError::UnknownTopicId.code()));
    };
    if let (Some(partitions), false) = (create, state.topics.contains_key(name.as_str()))
        && let Err((error, _)) = state.create_topic(name.as_str(), partitions, Default::default(), false)
    {
        return missing.with_error_code(error.code());
    }
    match state.topics.get(name.as_str()) {
        Some(topic) => describe(name.as_str(), topic),
        None => missing.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
    }
}

fn describe(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partition = |index: usize| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(NODE)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_topic_id(topic.id)
        .with_partitions((0..topic.partitions.len()).map(partition).collect())
}

/// The cluster: one node.
pub fn describe_cluster(shared: &Shared) -> DescribeClusterResponse {
    let broker =
        DescribeClusterBroker::default().with_broker_id(NODE).with_host(shared.host()).with_port(shared.port());
    DescribeClusterResponse::default()
        .with_cluster_id(shared.cluster_id())
        .with_controller_id(NODE)
        .with_brokers(vec![broker])
}

/// The coordinator of a group or a transactional id: this node. Since version 4 several keys at once.
pub fn find_coordinator(shared: &Shared, request: FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    const GROUP: i8 = 0;
    const TRANSACTION: i8 = 1;
    let known = matches!(request.key_type, GROUP | TRANSACTION);
    let error = if known { 0 } else { ResponseError::InvalidRequest.code() };
    let response = FindCoordinatorResponse::default();
    if version < 4 {
        return response.with_error_code(error).with_node_id(NODE).with_host(shared.host()).with_port(shared.port());
    }
    let one = |key: StrBytes| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(error)
            .with_node_id(NODE)
            .with_host(shared.host())
            .with_port(shared.port())
    };
    response.with_coordinators(request.coordinator_keys.into_iter().map(one).collect())
}
