//! Fetch and ListOffsets.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProducerId};

use super::Shared;
use super::log::Read;
use super::server::Caller;
use super::state::State;

/// A fetch waits at most this long, whatever it asks for.
const MAX_WAIT: Duration = Duration::from_secs(30);
const READ_COMMITTED: i8 = 1;

/// What one look at the partitions found, in the order asked for.
#[derive(Default)]
struct Look {
    partitions: Vec<(PartitionData, Read)>,
    bytes: usize,
    failed: bool,
}

/// Reads; waits up to `max_wait_ms` for `min_bytes`. Every answer has session id 0: there are no fetch sessions, the
/// client asks in full each time.
pub async fn fetch(shared: &Arc<Shared>, caller: &Caller, request: FetchRequest) -> FetchResponse {
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let timeout = tokio::time::sleep(wait);
    tokio::pin!(timeout);
    let mut last_look = wait.is_zero();
    let look = loop {
        let look = look(&mut shared.state.lock(), caller, &request);
        if last_look || look.failed || look.bytes >= min_bytes || look.partitions.is_empty() {
            break look;
        }
        tokio::select! {
            () = caller.wake.notified() => {}
            () = &mut timeout => last_look = true,
        }
    };
    // Batches are joined outside the lock.
    let mut found = look.partitions.into_iter();
    let committed_only = request.isolation_level == READ_COMMITTED;
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = found.by_ref().take(topic.partitions.len()).map(|found| finish(found, committed_only));
        FetchableTopicResponse::default().with_partitions(partitions.collect()).with_topic(topic.topic)
    });
    FetchResponse::default().with_responses(responses.collect())
}

fn look(state: &mut State, caller: &Caller, request: &FetchRequest) -> Look {
    let committed_only = request.isolation_level == READ_COMMITTED;
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0);
    let mut look = Look::default();
    for topic in &request.topics {
        for asked in &topic.partitions {
            let data = PartitionData::default().with_partition_index(asked.partition);
            let partition = match state.partition(topic.topic.as_str(), asked.partition) {
                Ok(partition) => partition,
                Err(error) => {
                    look.failed = true;
                    look.partitions.push((refused(data, error), Read::default()));
                    continue;
                }
            };
            partition.wait(&caller.wake);
            let log = &partition.log;
            let most = left.min(usize::try_from(asked.partition_max_bytes).unwrap_or(0));
            let data = data
                .with_high_watermark(log.end_offset())
                .with_last_stable_offset(log.last_stable_offset())
                .with_log_start_offset(log.start_offset());
            // The first batch of a response is given even when it is larger than asked for (KIP-74).
            match log.read(asked.fetch_offset, most, look.bytes == 0, committed_only) {
                Ok(read) => {
                    left = left.saturating_sub(read.bytes);
                    look.bytes += read.bytes;
                    look.partitions.push((data, read));
                }
                Err(error) => {
                    look.failed = true;
                    look.partitions.push((refused(data, error), Read::default()));
                }
            }
        }
    }
    look
}

fn refused(data: PartitionData, error: ResponseError) -> PartitionData {
    data.with_error_code(error.code()).with_high_watermark(-1).with_last_stable_offset(-1).with_log_start_offset(-1)
}

fn finish((data, read): (PartitionData, Read), committed_only: bool) -> PartitionData {
    let aborted = read.aborted.iter().map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(aborted.producer_id))
            .with_first_offset(aborted.first_offset)
    });
    let aborted = committed_only.then(|| aborted.collect());
    data.with_aborted_transactions(aborted).with_records(Some(join(read)))
}

fn join(mut read: Read) -> Bytes {
    if read.batches.len() == 1 {
        return read.batches.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(read.bytes);
    read.batches.iter().for_each(|batch| joined.extend_from_slice(batch));
    joined.freeze()
}

/// The timestamps that ListOffsets understands beside real ones.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

/// Earliest, latest, by time, or the largest timestamp.
pub fn list_offsets(shared: &Shared, request: &ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
    let committed_only = request.isolation_level == READ_COMMITTED;
    let mut state = shared.state.lock();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let response = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            let log = match state.partition(topic.name.as_str(), asked.partition_index) {
                Ok(partition) => &partition.log,
                Err(error) => return response.with_error_code(error.code()),
            };
            let (offset, timestamp) = match asked.timestamp {
                LATEST => (log.visible_end(committed_only), -1),
                EARLIEST => (log.start_offset(), -1),
                MAX_TIMESTAMP => log.find_max_time().unwrap_or((-1, -1)),
                time if time >= 0 => log.find_time(time, committed_only).unwrap_or((-1, -1)),
                _ => return response.with_error_code(ResponseError::UnsupportedVersion.code()),
            };
            // Before version 4 the field does not exist, and only its default may be "encoded".
            let epoch = if version >= 4 && offset >= 0 { 0 } else { -1 };
            response.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
        });
        ListOffsetsTopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}
