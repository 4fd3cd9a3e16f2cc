//! Transactions: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};

use super::Shared;
use super::txn::{End, Init, ProducerRef};
use crate::clock;

/// A fenced producer's error has a name of its own only since some version of each request.
fn code(error: ResponseError, version: i16, fenced_since: i16) -> i16 {
    match error {
        ResponseError::ProducerFenced if version < fenced_since => ResponseError::InvalidProducerEpoch.code(),
        error => error.code(),
    }
}

/// Writes the markers of a decided transaction a little later, as a real cluster does: until then the next transaction
/// is answered CONCURRENT_TRANSACTIONS.
fn complete_later(shared: &Arc<Shared>, transactional_id: &str) {
    let (delay, shared, id) = (shared.config.marker_delay, Arc::downgrade(shared), transactional_id.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        if let Some(shared) = shared.upgrade() {
            shared.state.lock().finish_transaction(&id, clock::now(), clock::unix_ms());
        }
    });
}

/// A producer id and epoch; fences and aborts what a previous owner of the transactional id left.
pub fn init_producer_id(shared: &Arc<Shared>, request: &InitProducerIdRequest, version: i16) -> InitProducerIdResponse {
    let answer = |result: Result<ProducerRef, ResponseError>| {
        let response = InitProducerIdResponse::default();
        match result {
            Ok(producer) => response.with_producer_id(ProducerId(producer.id)).with_producer_epoch(producer.epoch),
            Err(error) => response
                .with_error_code(code(error, version, 4))
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        }
    };
    let mut state = shared.state.lock();
    let Some(id) = request.transactional_id.as_ref().map(|id| id.as_str()) else {
        return answer(Ok(state.txns.idempotent_producer()));
    };
    if id.is_empty() {
        return answer(Err(ResponseError::InvalidRequest));
    }
    let expected = (version >= 3 && request.producer_id.0 >= 0)
        .then_some(ProducerRef { id: request.producer_id.0, epoch: request.producer_epoch });
    answer(match state.txns.init(id, request.transaction_timeout_ms, expected, clock::now()) {
        Ok(Init::Ready(producer)) => Ok(producer),
        Ok(Init::Aborting) => {
            complete_later(shared, id);
            Err(ResponseError::ConcurrentTransactions)
        }
        Err(error) => Err(error),
    })
}

/// Partitions that the transaction is about to write to. One that does not exist fails them all.
pub fn add_partitions(shared: &Shared, request: AddPartitionsToTxnRequest, version: i16) -> AddPartitionsToTxnResponse {
    let mut state = shared.state.lock();
    let producer = ProducerRef { id: request.v3_and_below_producer_id.0, epoch: request.v3_and_below_producer_epoch };
    let topics = request.v3_and_below_topics;
    let partitions: Vec<_> =
        topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| (topic.name.to_string(), *p))).collect();
    let unknown = partitions.iter().any(|(topic, partition)| state.partition(topic, *partition).is_err());
    let added = if unknown {
        Err(ResponseError::OperationNotAttempted)
    } else {
        let id = request.v3_and_below_transactional_id.as_str();
        state.txns.add_partitions(id, producer, partitions, clock::now())
    };
    let results = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|&partition| {
            let missing = state.partition(topic.name.as_str(), partition).err();
            let error = missing.or(added.err()).map_or(0, |error| code(error, version, 2));
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(partition)
                .with_partition_error_code(error)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_results_by_partition(partitions.collect())
            .with_name(topic.name.clone())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

/// A group whose offsets the transaction is about to commit.
pub fn add_offsets(shared: &Shared, request: &AddOffsetsToTxnRequest, version: i16) -> AddOffsetsToTxnResponse {
    let mut state = shared.state.lock();
    let producer = ProducerRef { id: request.producer_id.0, epoch: request.producer_epoch };
    let (id, group) = (request.transactional_id.as_str(), request.group_id.as_str());
    let added = state.txns.add_group(id, producer, group, clock::now());
    AddOffsetsToTxnResponse::default().with_error_code(added.err().map_or(0, |error| code(error, version, 2)))
}

/// Commits or aborts: answers at once, the markers follow.
pub fn end(shared: &Arc<Shared>, request: &EndTxnRequest, version: i16) -> EndTxnResponse {
    let producer = ProducerRef { id: request.producer_id.0, epoch: request.producer_epoch };
    let id = request.transactional_id.as_str();
    let ended = shared.state.lock().txns.end(id, producer, request.committed);
    if ended == Ok(End::Decided) {
        complete_later(shared, id);
    }
    EndTxnResponse::default().with_error_code(ended.err().map_or(0, |error| code(error, version, 2)))
}
