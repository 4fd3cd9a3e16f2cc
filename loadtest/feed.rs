//! The sample traffic, as a producer sends it: Avro in Confluent's frame, keyed and partitioned as Java clients do.

use std::{sync::Arc, time::Duration};

use headwater::{
    codec::{EVENT_SCHEMA, EventEncoder, RegistryClient, murmur2},
    dev::traffic::Traffic,
};
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
};

use crate::{
    Outcome,
    stand::{PARTITIONS, PEOPLE, Stand},
    support::topics,
};

/// The same in every run, so that runs differ in nothing else.
const SEED: u64 = 0x10AD;

/// Makes the events and sends them, numbered from 1.
pub struct Feed {
    traffic: Traffic,
    encoder: EventEncoder,
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: Arc<str>,
    value: Vec<u8>,
    bytes: u64,
    sent: u64,
}

impl Feed {
    /// Creates the topic. `linger_ms` is how long a record may wait for company.
    pub fn new(stand: &Stand, topic: &str, linger_ms: u32) -> Outcome<Feed> {
        topics::create(stand.kafka.bootstrap(), &[(topic, PARTITIONS)]);
        let registry = RegistryClient::at(&stand.registry.url())?;
        let schema = stand.runtime.block_on(registry.register(&format!("{topic}-value"), EVENT_SCHEMA))?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", stand.kafka.bootstrap())
            .set("enable.idempotence", "true")
            .set("linger.ms", linger_ms.to_string())
            .set("queue.buffering.max.messages", "200000")
            .create()?;
        Ok(Feed {
            traffic: Traffic::new(SEED, PEOPLE),
            encoder: EventEncoder::new(schema)?,
            producer,
            topic: topic.into(),
            value: Vec::new(),
            bytes: 0,
            sent: 0,
        })
    }

    /// The next event, happening at `at_ms` (milliseconds since 1970 UTC). Waits only where the producer's queue is full.
    pub fn send(&mut self, at_ms: i64) -> Outcome<()> {
        let event = self.traffic.next_event(at_ms);
        self.value.clear();
        self.encoder.encode(&event, &mut self.value)?;
        let key = event.user_id.or(event.anonymous_id).unwrap_or_default();
        let partition = murmur2::partition(key.as_bytes(), PARTITIONS);
        let mut record =
            BaseRecord::to(&self.topic).partition(partition).key(key.as_bytes()).payload(self.value.as_slice());
        while let Err((error, back)) = self.producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error.into());
            }
            std::thread::park_timeout(Duration::from_millis(1));
            record = back;
        }
        self.sent += 1;
        self.bytes += self.value.len() as u64;
        Ok(())
    }

    /// Waits until the broker has everything. Gives the mean size of a value in bytes.
    pub fn finish(self) -> Outcome<u64> {
        self.producer.flush(Duration::from_secs(60))?;
        Ok(self.bytes / self.sent.max(1))
    }
}
