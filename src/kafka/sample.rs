//! A look at the newest records of a topic, without a trace in any group.

use std::time::Duration;

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

use super::admin::{Admin, AdminError};
use crate::clock;

/// After so long, what was seen is enough.
const PATIENCE: Duration = Duration::from_secs(10);

/// The partitions and keys of the newest records, at most so many of each partition; records without a key are left
/// out.
pub async fn newest_keys(
    admin: &Admin,
    topic: &str,
    partitions: i32,
    of_each: i64,
) -> Result<Vec<(i32, Vec<u8>)>, AdminError> {
    let bounds = admin.bounds(topic, partitions).await?;
    let from: Vec<_> = (0..)
        .zip(bounds)
        .filter(|(_, bounds)| bounds.begin < bounds.end)
        .map(|(partition, bounds)| (partition, bounds.begin.max(bounds.end - of_each)))
        .collect();
    if from.is_empty() {
        return Ok(Vec::new());
    }
    // Named like the topic, for clusters that grant groups by prefix; it never joins and never commits.
    let (mut config, name) = (admin.member(topic), topic.to_owned());
    config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "20");
    admin
        .blocking(&format!("reading the newest records of {topic}"), move || {
            let consumer: BaseConsumer = config.create()?;
            let mut list = TopicPartitionList::new();
            for (partition, offset) in &from {
                list.add_partition_offset(&name, *partition, Offset::Offset(*offset))?;
            }
            consumer.assign(&list)?;
            let until = clock::now() + PATIENCE;
            let (mut keys, mut open) = (Vec::new(), from.len());
            while open > 0 && keys.len() < from.len().saturating_mul(of_each.max(0) as usize) {
                match consumer.poll(until.saturating_duration_since(clock::now())) {
                    None => break,
                    Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                    Some(Err(error)) => return Err(error),
                    Some(Ok(message)) => {
                        keys.extend(message.key().map(|key| (message.partition(), key.to_vec())));
                    }
                }
            }
            Ok(keys)
        })
        .await
}
