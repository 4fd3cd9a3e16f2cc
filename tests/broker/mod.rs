//! The development broker, judged by real clients: librdkafka, kcat, Kafka's own tools, and bytes written by hand.
//!
//! What is inside `on_both!` is a behaviour of Kafka, not of ours: it also runs on Apache Kafka, where one is offered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests

/// Tests of a behaviour, on the development broker and on Apache Kafka.
macro_rules! on_both {
    ($(fn $name:ident($running:ident) $body:block)*) => {
        $(fn $name($running: &$crate::broker::Running) $body)*

        mod development {
            $(#[test] fn $name() { super::$name(&$crate::broker::Running::start()) })*
        }

        mod apache {
            $(#[test] fn $name() { $crate::broker::Running::apache().iter().for_each(super::$name) })*
        }
    };
}

mod fencing;
mod groups;
mod java;
mod kcat;
mod markers;
mod offsets;
mod records;
mod server;
mod transactions;
mod wire;

use std::time::Duration;

use headwater::clock;
use headwater::dev::broker::{Broker, BrokerConfig};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, and a runtime of its own, so that tests can use blocking clients. Names are made unique, so that tests
/// can share an Apache Kafka.
pub struct Running {
    runtime: tokio::runtime::Runtime,
    broker: Option<Broker>,
    address: String,
    unique: String,
}

impl Running {
    /// A development broker.
    pub fn start() -> Self {
        Self::start_with(BrokerConfig::default())
    }

    pub fn start_with(config: BrokerConfig) -> Self {
        let mut running = Self::at(String::new());
        let broker = running.runtime.block_on(Broker::start(config)).unwrap();
        running.address = broker.address();
        running.broker = Some(broker);
        running
    }

    /// The tests' own Apache Kafka; None, said loudly, where there is none.
    pub fn apache() -> Option<Self> {
        crate::support::kafka::ApacheKafka::shared().map(|kafka| Self::at(kafka.bootstrap().to_owned()))
    }

    fn at(address: String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { runtime, broker: None, address, unique: format!("{:08x}", fastrand::u32(..)) }
    }

    /// The development broker itself.
    pub fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// A name of a group or transactional id that no other test uses.
    pub fn name(&self, name: &str) -> String {
        format!("{name}-{}", self.unique)
    }

    /// Creates a topic and gives its full name.
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        self.topic_with(name, partitions, &[])
    }

    pub fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = self.name(name);
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let created = self.block_on(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        created[0].as_ref().unwrap();
        let known = || self.admin().inner().fetch_metadata(Some(&name), PATIENCE).unwrap();
        eventually("the topic has leaders", || {
            let partitions = known().topics()[0].partitions().iter().map(|p| p.leader()).collect::<Vec<_>>();
            (!partitions.is_empty() && partitions.iter().all(|leader| *leader >= 0)).then_some(())
        });
        name
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client(&[]).create().unwrap()
    }

    pub fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        settings.iter().for_each(|(key, value)| _ = config.set(*key, *value));
        config
    }

    pub fn producer(&self, settings: &[(&str, &str)]) -> BaseProducer {
        self.client(&[("linger.ms", "0"), ("retry.backoff.ms", "5")]).extend_with(settings).create().unwrap()
    }

    pub fn transactional(&self, id: &str) -> BaseProducer {
        let id = self.name(id);
        let producer = self.producer(&[("transactional.id", &id), ("transaction.timeout.ms", "10000")]);
        producer.init_transactions(PATIENCE).unwrap();
        producer
    }

    pub fn consumer(&self, group: &str, settings: &[(&str, &str)]) -> BaseConsumer {
        let group = self.name(group);
        let base = [
            ("group.id", group.as_str()),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("fetch.wait.max.ms", "50"),
        ];
        self.client(&base).extend_with(settings).create().unwrap()
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The values of a partition up to its visible end, read without a group.
    pub fn read(&self, topic: &str, partition: i32, isolation: &str) -> Vec<String> {
        let consumer = self.consumer("reader", &[("isolation.level", isolation), ("enable.partition.eof", "true")]);
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&from).unwrap();
        let mut values = Vec::new();
        loop {
            match consumer.poll(PATIENCE).expect("records or the end of the partition") {
                Ok(message) => values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap()),
                Err(KafkaError::PartitionEOF(_)) => return values,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.shutdown());
        }
    }
}

trait ExtendWith {
    fn extend_with(self, settings: &[(&str, &str)]) -> Self;
}

impl ExtendWith for ClientConfig {
    fn extend_with(mut self, settings: &[(&str, &str)]) -> Self {
        settings.iter().for_each(|(key, value)| _ = self.set(*key, *value));
        self
    }
}

/// Queues a record; `flush` or a commit sends it.
pub fn send(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    producer.send(BaseRecord::<str, str>::to(topic).partition(partition).payload(value)).map_err(|(e, _)| e).unwrap();
}

/// Sends a record and waits until the broker has it.
pub fn deliver(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    send(producer, topic, partition, value);
    producer.flush(PATIENCE).unwrap();
}

/// Polls until `ready` gives something.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = clock::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The next record. (`poll` also comes back empty-handed after a rebalance.)
pub fn next_record(consumer: &BaseConsumer) -> OwnedMessage {
    eventually("a record", || consumer.poll(Duration::from_millis(100)).map(|polled| polled.unwrap().detach()))
}

/// The offset of the next record.
pub fn next_offset(consumer: &BaseConsumer) -> i64 {
    next_record(consumer).offset()
}

/// Partitions a consumer holds at the moment, sorted.
pub fn assigned(consumer: &BaseConsumer) -> Vec<i32> {
    let mut partitions: Vec<_> = consumer.assignment().unwrap().elements().iter().map(|e| e.partition()).collect();
    partitions.sort_unstable();
    partitions
}
