//! Produce: batches are checked, numbered and appended as they came.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use super::Shared;
use super::batch::{self, BatchError, BatchHeader};
use crate::clock;

/// Appends; None when the producer wants no answer (acks 0).
pub fn produce(shared: &Shared, request: ProduceRequest) -> Option<ProduceResponse> {
    let acks_known = matches!(request.acks, -1..=1);
    let transactional_id = request.transactional_id.as_ref().map(|id| id.as_str());
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let response = PartitionProduceResponse::default().with_index(data.index).with_log_append_time_ms(-1);
            // The checksum is computed before the lock is taken.
            let parsed = match &data.records {
                _ if !acks_known => Err((ResponseError::InvalidRequiredAcks, None)),
                Some(records) => batch::parse(records).map(|header| (records, header)).map_err(explain),
                None => Err((ResponseError::InvalidRecord, None)),
            };
            let at = (topic.name.as_str(), data.index);
            partitions.push(match parsed {
                Ok((records, header)) => append(shared, at, records, &header, transactional_id, response),
                Err((error, text)) => refused(response, error).with_error_message(text),
            });
        }
        responses.push(TopicProduceResponse::default().with_name(topic.name).with_partition_responses(partitions));
    }
    (request.acks != 0).then(|| ProduceResponse::default().with_responses(responses))
}

fn append(
    shared: &Shared,
    at: (&str, i32),
    records: &Bytes,
    header: &BatchHeader,
    transactional_id: Option<&str>,
    response: PartitionProduceResponse,
) -> PartitionProduceResponse {
    let mut state = shared.state.lock();
    match state.append(at, records, header, transactional_id, clock::unix_ms()) {
        Ok((appended, time)) => {
            let start = state.partition(at.0, at.1).map_or(-1, |partition| partition.log.start_offset());
            response
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(time.unwrap_or(-1))
                .with_log_start_offset(start)
        }
        Err(error) => refused(response, error),
    }
}

fn refused(response: PartitionProduceResponse, error: ResponseError) -> PartitionProduceResponse {
    response.with_error_code(error.code()).with_base_offset(-1).with_log_start_offset(-1)
}

fn explain(error: BatchError) -> (ResponseError, Option<StrBytes>) {
    let code = match error {
        BatchError::Checksum => ResponseError::CorruptMessage,
        BatchError::Format(_) => ResponseError::UnsupportedForMessageFormat,
        BatchError::Length(_) | BatchError::Count(..) => ResponseError::InvalidRecord,
    };
    (code, Some(StrBytes::from_string(error.to_string())))
}
