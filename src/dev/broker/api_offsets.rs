//! Committed offsets: plain and transactional commits, fetch, delete.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Shared;
use super::group::GroupState;
use super::offsets::{Committed, GroupOffsets, MAX_METADATA_BYTES};
use super::state::State;
use super::txn::{ProducerRef, TopicPartition};
use crate::clock;

fn code(result: Result<(), ResponseError>) -> i16 {
    result.err().map_or(0, |error| error.code())
}

/// Commits of a group the broker has never heard of are taken only without a generation (a client that manages itself).
fn may_commit(
    state: &mut State,
    group: &str,
    member: (&str, Option<&str>, i32),
    transactional: bool,
) -> Result<(), ResponseError> {
    let (member_id, instance_id, generation) = member;
    if !state.groups.contains_key(group) && generation >= 0 {
        return Err(ResponseError::IllegalGeneration);
    }
    let entry = state.group(group)?;
    entry.group.may_commit(member_id, instance_id, generation, transactional, clock::now())
}

/// Checks one offset and gives the group it belongs into.
fn accept<'a>(
    state: &'a mut State,
    group: &str,
    at: &TopicPartition,
    metadata: &Option<StrBytes>,
) -> Result<&'a mut GroupOffsets, ResponseError> {
    if metadata.as_ref().is_some_and(|metadata| metadata.len() > MAX_METADATA_BYTES) {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    state.partition(&at.0, at.1)?;
    Ok(&mut state.group(group)?.offsets)
}

fn committed(offset: i64, leader_epoch: i32, metadata: Option<StrBytes>) -> Committed {
    Committed { offset, leader_epoch, metadata: metadata.map(|metadata| metadata.to_string()).unwrap_or_default() }
}

/// OffsetCommit.
pub fn commit(shared: &Shared, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut state = shared.state.lock();
    let group = request.group_id.as_str();
    let instance = request.group_instance_id.as_ref().map(|id| id.as_str());
    let member = (request.member_id.as_str(), instance, request.generation_id_or_member_epoch);
    let allowed = may_commit(&mut state, group, member, false);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            let at = (topic.name.to_string(), p.partition_index);
            let taken = allowed.and_then(|()| accept(&mut state, group, &at, &p.committed_metadata));
            let stored = taken.map(|offsets| {
                offsets.commit(at, committed(p.committed_offset, p.committed_leader_epoch, p.committed_metadata));
            });
            OffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code(stored))
        });
        OffsetCommitResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// TxnOffsetCommit: kept aside until the transaction ends.
pub fn commit_in_transaction(shared: &Shared, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let mut state = shared.state.lock();
    let group = request.group_id.as_str();
    let producer = ProducerRef { id: request.producer_id.0, epoch: request.producer_epoch };
    let instance = request.group_instance_id.as_ref().map(|id| id.as_str());
    let member = (request.member_id.as_str(), instance, request.generation_id);
    let allowed = state
        .txns
        .may_commit(request.transactional_id.as_str(), producer, group)
        .and_then(|()| may_commit(&mut state, group, member, true));
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            let at = (topic.name.to_string(), p.partition_index);
            let taken = allowed.and_then(|()| accept(&mut state, group, &at, &p.committed_metadata));
            let stored = taken.map(|offsets| {
                let committed = committed(p.committed_offset, p.committed_leader_epoch, p.committed_metadata);
                offsets.commit_pending(producer.id, at, committed);
            });
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code(stored))
        });
        TxnOffsetCommitResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// OffsetFetch; since version 8 for several groups.
pub fn fetch(shared: &Shared, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let state = shared.state.lock();
    if version >= 8 {
        let groups = request.groups.into_iter().map(|group| fetch_group(&state, group, request.require_stable));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let topics = |topics: Vec<OffsetFetchRequestTopic>| {
        let topic = |topic: OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default().with_name(topic.name).with_partition_indexes(topic.partition_indexes)
        };
        topics.into_iter().map(topic).collect()
    };
    let group =
        OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(request.topics.map(topics));
    let answer = fetch_group(&state, group, request.require_stable);
    let topics = answer.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_committed_offset(p.committed_offset)
                .with_committed_leader_epoch(p.committed_leader_epoch)
                .with_metadata(p.metadata)
                .with_error_code(p.error_code)
        });
        OffsetFetchResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn fetch_group(state: &State, request: OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup {
    let offsets = state.groups.get(request.group_id.as_str()).map(|entry| &entry.offsets);
    let asked: Vec<(TopicName, Vec<i32>)> = match request.topics {
        Some(topics) => topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect(),
        None => all_topics(offsets),
    };
    let topics = asked.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|partition| {
            let at = (name.to_string(), partition);
            let response = OffsetFetchResponsePartitions::default()
                .with_partition_index(partition)
                .with_metadata(Some(StrBytes::new()));
            if require_stable && offsets.is_some_and(|offsets| offsets.is_unstable(&at)) {
                let unstable = ResponseError::UnstableOffsetCommit.code();
                return response.with_committed_offset(-1).with_committed_leader_epoch(-1).with_error_code(unstable);
            }
            match offsets.and_then(|offsets| offsets.get(&at)) {
                Some(committed) => response
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(StrBytes::from_string(committed.metadata.clone()))),
                None => response.with_committed_offset(-1).with_committed_leader_epoch(-1),
            }
        });
        OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(name.clone())
    });
    OffsetFetchResponseGroup::default().with_topics(topics.collect()).with_group_id(request.group_id)
}

fn all_topics(offsets: Option<&GroupOffsets>) -> Vec<(TopicName, Vec<i32>)> {
    let mut topics: Vec<(TopicName, Vec<i32>)> = Vec::new();
    for (topic, partition) in offsets.map(GroupOffsets::partitions).unwrap_or_default() {
        match topics.last_mut() {
            Some((name, partitions)) if name.as_str() == topic => partitions.push(partition),
            _ => topics.push((TopicName(StrBytes::from_string(topic)), vec![partition])),
        }
    }
    topics
}

/// OffsetDelete, of groups without members. (Kafka also allows it for topics that a live group does not read.)
pub fn delete(shared: &Shared, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut state = shared.state.lock();
    let Some(entry) = state.groups.get_mut(request.group_id.as_str()) else {
        return OffsetDeleteResponse::default().with_error_code(ResponseError::GroupIdNotFound.code());
    };
    let allowed = match entry.group.state {
        GroupState::Empty => 0,
        _ => ResponseError::GroupSubscribedToTopic.code(),
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            if allowed == 0 {
                entry.offsets.delete(&(topic.name.to_string(), p.partition_index));
            }
            OffsetDeleteResponsePartition::default().with_partition_index(p.partition_index).with_error_code(allowed)
        });
        OffsetDeleteResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
