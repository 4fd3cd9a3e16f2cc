//! The control topic, `<topology>.control`: compacted, one partition. Under the key `chain` it holds which chain of
//! stages is deployed and whether intake is open; the offset of that record is the *epoch*.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
    types::RDKafkaErrorCode,
};
use serde::{Deserialize, Serialize};

use crate::clock;

const KEY: &str = "chain";
const PARTITION: i32 = 0;

/// What is wrong with the control topic.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Kafka did not answer, or in vain. Without this topic nobody knows what is deployed: wait and try again.
    #[error("HW501 {topic} cannot be {what}: {message}")]
    Kafka { topic: String, what: &'static str, message: String },
    /// Somebody else wrote into it. Write it anew with `headwater apply` after deleting the topic with the stages stopped.
    #[error("HW503 {topic} holds something at offset {offset} that is no chain of ours: {message}")]
    Malformed { topic: String, offset: i64, message: String },
}

/// The chain that is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Counts up with every change; stands in every record.
    pub number: u32,
    pub stages: Vec<ChainStage>,
    /// Whether intake takes in.
    pub open: bool,
    /// Of the topology that was applied last.
    pub topology_version: String,
    /// Names in the order of the parts: ties in later topologies are broken by it.
    pub agents: Vec<String>,
    /// Names of the destinations whose groups have their first offsets.
    #[serde(default)]
    pub destinations: Vec<String>,
}

/// One stage of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainStage {
    pub name: String,
    pub agents: Vec<String>,
    pub input: String,
    pub output: String,
}

/// What the control topic says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    pub chain: Chain,
    /// The offset of the record that says so.
    pub epoch: i64,
}

/// Reads the topic to its end; `None` where nothing was ever applied. Blocks for at most `timeout`: not for a
/// worker's thread. `config` is [`super::settings::client_config`]'s.
pub fn read(config: &ClientConfig, topic: &str, timeout: Duration) -> Result<Option<Control>, ControlError> {
    let fail = |message: String| ControlError::Kafka { topic: topic.to_owned(), what: "read", message };
    let kafka = |error: KafkaError| fail(error.to_string());
    let until = clock::now() + timeout;
    let mut config = config.clone();
    // Named like the topic, for clusters that grant groups by prefix; it never joins and never commits.
    config.set("group.id", topic).set("enable.auto.commit", "false");
    config.set("isolation.level", "read_uncommitted").set("auto.offset.reset", "error");
    // The end is told when a fetch comes back empty.
    config.set("fetch.wait.max.ms", "20");
    let consumer: BaseConsumer = config.create().map_err(kafka)?;
    let (begin, end) = consumer.fetch_watermarks(topic, PARTITION, timeout).map_err(kafka)?;
    if begin >= end {
        return Ok(None);
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, PARTITION, Offset::Offset(begin)).map_err(kafka)?;
    consumer.assign(&list).map_err(kafka)?;
    let mut last = None;
    loop {
        // Markers are passed over inside `poll`: the position alone tells the end.
        match consumer.poll(Duration::from_millis(20)) {
            None => {}
            Some(Ok(message)) if message.key() == Some(KEY.as_bytes()) => {
                last = Some((message.offset(), message.payload().unwrap_or_default().to_vec()));
            }
            Some(Ok(_)) => {}
            // librdkafka says so and goes on by itself.
            Some(Err(error))
                if matches!(
                    error.rdkafka_error_code(),
                    Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
                ) => {}
            Some(Err(error)) => return Err(kafka(error)),
        }
        let position = consumer.position().map_err(kafka)?;
        if position.elements().iter().any(|element| matches!(element.offset(), Offset::Offset(at) if at >= end)) {
            break;
        }
        if clock::now() > until {
            return Err(fail(format!("its end was not reached in {} s", timeout.as_secs())));
        }
    }
    let Some((epoch, value)) = last else { return Ok(None) };
    let chain = serde_json::from_slice(&value).map_err(|error| ControlError::Malformed {
        topic: topic.to_owned(),
        offset: epoch,
        message: error.to_string(),
    })?;
    Ok(Some(Control { chain, epoch }))
}

/// Writes a chain and gives the new epoch, once all replicas have it.
pub async fn write(config: &ClientConfig, topic: &str, chain: &Chain) -> Result<i64, ControlError> {
    let fail = |message: String| ControlError::Kafka { topic: topic.to_owned(), what: "written", message };
    let mut config = config.clone();
    config.set("enable.idempotence", "true").set("acks", "all").set("message.timeout.ms", "15000");
    let producer: FutureProducer = config.create().map_err(|error: KafkaError| fail(error.to_string()))?;
    let value = serde_json::to_string(chain).map_err(|error| fail(error.to_string()))?;
    let record = FutureRecord::to(topic).partition(PARTITION).key(KEY).payload(&value);
    let delivery = producer.send(record, Duration::from_secs(15)).await;
    delivery.map(|delivered| delivered.offset).map_err(|(error, _)| fail(error.to_string()))
}
