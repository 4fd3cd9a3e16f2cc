//! The last record of one key in a compacted topic, read from its beginning without a trace in any group.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::admin::{Admin, AdminError};
use crate::clock;

/// One question, or silence before the end, takes no longer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at the time.
const LOOK: Duration = Duration::from_secs(1);

/// A record, as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub partition: i32,
    pub offset: i64,
    /// The record's timestamp, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// `None`: the key was deleted.
    pub value: Option<Vec<u8>>,
}

/// How far it is in one partition, in offsets: read and to read.
pub type Watch = dyn Fn(i32, u64, u64) + Send + Sync;

/// The last committed record of `key` in that partition, up to where no transaction is open when it begins.
/// `watch` is told now and then how far it is.
pub async fn last_of_key(
    admin: &Admin,
    topic: &str,
    partition: i32,
    key: &[u8],
    watch: Arc<Watch>,
) -> Result<Option<Found>, AdminError> {
    // Named like the topic, for clusters that grant groups by prefix; it never joins and never commits.
    let (mut config, name, key) = (admin.member(topic), topic.to_owned(), key.to_vec());
    config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    config.set("fetch.wait.max.ms", "50").set("fetch.queue.backoff.ms", "5");
    admin
        .blocking(&format!("reading {topic}-{partition}"), move || {
            let consumer: BaseConsumer = config.create()?;
            let (begin, end) = consumer.fetch_watermarks(&name, partition, TIMEOUT)?;
            if begin >= end {
                return Ok(None);
            }
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&name, partition, Offset::Offset(begin))?;
            consumer.assign(&list)?;
            let mut found = None;
            let (mut told_at, mut silent_since) = (clock::now(), clock::now());
            loop {
                let message = match consumer.poll(LOOK) {
                    // Before the end there is always something to come.
                    None if silent_since.elapsed() < TIMEOUT => continue,
                    None => return Err(KafkaError::MessageConsumption(Code::OperationTimedOut)),
                    // The end lies at the last stable offset, which does not go back.
                    Some(Err(KafkaError::PartitionEOF(_))) => return Ok(found),
                    // librdkafka says so and goes on by itself.
                    Some(Err(error))
                        if matches!(
                            error.rdkafka_error_code(),
                            Some(Code::BrokerTransportFailure | Code::AllBrokersDown)
                        ) =>
                    {
                        continue;
                    }
                    Some(Err(error)) => return Err(error),
                    Some(Ok(message)) => message,
                };
                silent_since = clock::now();
                if message.offset() >= end {
                    return Ok(found);
                }
                if message.key() == Some(&*key) {
                    found = Some(Found {
                        partition,
                        offset: message.offset(),
                        at_ms: message.timestamp().to_millis().unwrap_or_default(),
                        value: message.payload().map(<[u8]>::to_vec),
                    });
                }
                if told_at.elapsed() >= Duration::from_secs(1) {
                    told_at = clock::now();
                    watch(partition, (message.offset() - begin) as u64, (end - begin) as u64);
                }
            }
        })
        .await
}
