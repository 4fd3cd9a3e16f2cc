//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::Shared;
use super::api_configs;
use super::state::{Refusal, State};

/// Creates topics, each on its own.
pub fn create_topics(shared: &Shared, request: CreateTopicsRequest, version: i16) -> CreateTopicsResponse {
    let mut state = shared.state.lock();
    let defaults = shared.config.default_partitions;
    let create = |topic: CreatableTopic| {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        match create_topic(&mut state, topic, defaults, request.validate_only) {
            Ok(None) => result.with_num_partitions(-1).with_replication_factor(-1),
            Ok(Some(created)) if version >= 5 => created,
            Ok(Some(created)) => result.with_topic_id(created.topic_id),
            Err((error, text)) => {
                result.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(text)))
            }
        }
    };
    CreateTopicsResponse::default().with_topics(request.topics.into_iter().map(create).collect())
}

fn create_topic(
    state: &mut State,
    asked: CreatableTopic,
    default_partitions: usize,
    validate_only: bool,
) -> Result<Option<CreatableTopicResult>, Refusal> {
    if !matches!(asked.replication_factor, -1 | 1) || asked.assignments.iter().any(|a| a.broker_ids.len() > 1) {
        let text = format!(
            "Unable to replicate the partition {} time(s): the development broker is one node.",
            asked.replication_factor
        );
        return Err((ResponseError::InvalidReplicationFactor, text));
    }
    let partitions = match asked.num_partitions {
        -1 if !asked.assignments.is_empty() => asked.assignments.len(),
        -1 => default_partitions,
        number => usize::try_from(number).unwrap_or(0),
    };
    let pair = |config: kafka_protocol::messages::create_topics_request::CreatableTopicConfig| {
        Some((config.name.to_string(), config.value?.to_string()))
    };
    let configs: BTreeMap<_, _> = asked.configs.into_iter().filter_map(pair).collect();
    state.create_topic(asked.name.as_str(), partitions, configs, validate_only)?;
    let Some(topic) = state.topics.get(asked.name.as_str()) else { return Ok(None) };
    let configs = api_configs::topic_configs(topic).map(|config| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(config.name))
            .with_value(Some(StrBytes::from_string(config.value)))
            .with_config_source(config.source)
    });
    let result = CreatableTopicResult::default()
        .with_topic_id(topic.id)
        .with_num_partitions(topic.partitions.len() as i32)
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()))
        .with_name(asked.name);
    Ok(Some(result))
}

/// Deletes topics by name or id.
pub fn delete_topics(shared: &Shared, request: DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let mut state = shared.state.lock();
    let named = |name: TopicName| DeleteTopicState::default().with_name(Some(name));
    let asked: Vec<_> = match version {
        ..=5 => request.topic_names.into_iter().map(named).collect(),
        _ => request.topics,
    };
    let delete = |topic: DeleteTopicState| {
        let by_id = || state.topics.iter().find(|(_, known)| known.id == topic.topic_id).map(|(name, _)| name.clone());
        let (name, unknown) = match &topic.name {
            Some(name) => (Some(name.to_string()), ResponseError::UnknownTopicOrPartition),
            None => (by_id(), ResponseError::UnknownTopicId),
        };
        let id = name.as_ref().and_then(|name| state.topics.get(name)).map_or(topic.topic_id, |known| known.id);
        let deleted = name.as_ref().is_some_and(|name| state.delete_topic(name));
        DeletableTopicResult::default()
            .with_name(name.map(|name| TopicName(StrBytes::from_string(name))))
            .with_topic_id(id)
            .with_error_code(if deleted { 0 } else { unknown.code() })
    };
    DeleteTopicsResponse::default().with_responses(asked.into_iter().map(delete).collect())
}

/// Adds partitions to topics.
pub fn create_partitions(shared: &Shared, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut state = shared.state.lock();
    let results = request.topics.into_iter().map(|topic| {
        let result = CreatePartitionsTopicResult::default();
        let result = match state.create_partitions(topic.name.as_str(), topic.count, request.validate_only) {
            Ok(()) => result,
            Err((error, text)) => {
                result.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(text)))
            }
        };
        result.with_name(topic.name)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

/// Moves the start of logs forward.
pub fn delete_records(shared: &Shared, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut state = shared.state.lock();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let result = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            match state.delete_records(topic.name.as_str(), asked.partition_index, asked.offset) {
                Ok(start) => result.with_low_watermark(start),
                Err(error) => result.with_low_watermark(-1).with_error_code(error.code()),
            }
        });
        DeleteRecordsTopicResult::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
