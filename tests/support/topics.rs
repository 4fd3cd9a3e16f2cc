//! Topics on any broker: create, fill, and read wholly, as a stranger would, with rdkafka and nothing of ours.

use std::{collections::BTreeSet, time::Duration};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Header, Headers as _, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::wait::wait_until;

const ANSWER: Duration = Duration::from_secs(20);

/// What a reader sees of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Records of committed transactions, and of none.
    Committed,
    /// Everything in the log, aborted and open transactions too.
    Uncommitted,
}

/// One record as it lies in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Message {
    /// A header as text; the first of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }
}

/// Creates topics, each `(name, partitions)`, with one copy, and waits until the broker tells of them.
pub fn create(bootstrap: &str, topics: &[(&str, i32)]) {
    create_with(bootstrap, topics, &[]);
}

/// As [`create`], with settings such as `("cleanup.policy", "compact")`.
pub fn create_with(bootstrap: &str, topics: &[(&str, i32)], settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap).create().expect("an admin client");
    let new: Vec<NewTopic> = topics
        .iter()
        .map(|(name, partitions)| {
            let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(1));
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ANSWER));
    let created = futures::executor::block_on(admin.create_topics(&new, &options)).expect("an answer");
    for result in created {
        result.expect("the topic is created");
    }
    for (name, partitions) in topics {
        let known = || self::partitions(bootstrap, name).len() == *partitions as usize;
        wait_until(ANSWER, known, || format!("topic {name} has no {partitions} partitions"));
    }
}

/// Deletes a topic and waits until the broker no longer tells of it.
pub fn delete(bootstrap: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap).create().expect("an admin client");
    let deleted = futures::executor::block_on(admin.delete_topics(&[topic], &AdminOptions::new())).expect("an answer");
    deleted.into_iter().for_each(|result| drop(result.expect("the topic is deleted")));
    wait_until(ANSWER, || !names(bootstrap).contains(&topic.to_owned()), || format!("{topic} is still there"));
}

/// Sends records, each `(partition, key, value)`, and waits until all are acknowledged.
pub fn fill<'a>(bootstrap: &str, topic: &str, records: impl IntoIterator<Item = (i32, &'a str, Vec<u8>)>) {
    fill_with_headers(
        bootstrap,
        topic,
        records.into_iter().map(|(partition, key, value)| (partition, key, value, vec![])),
    );
}

/// As [`fill`], with headers.
pub fn fill_with_headers<'a>(
    bootstrap: &str,
    topic: &str,
    records: impl IntoIterator<Item = (i32, &'a str, Vec<u8>, Vec<(&'a str, &'a str)>)>,
) {
    let producer: BaseProducer = client(bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .expect("a producer");
    for (partition, key, value, headers) in records {
        let headers = headers
            .into_iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
        let record = BaseRecord::to(topic).partition(partition).key(key).payload(&value).headers(headers);
        producer.send(record).map_err(|(error, _)| error).expect("the record is queued");
        producer.poll(Duration::ZERO);
    }
    producer.flush(ANSWER).expect("all records are acknowledged");
}

/// Every topic's name.
pub fn names(bootstrap: &str) -> Vec<String> {
    let metadata = reader(bootstrap, Isolation::Uncommitted).fetch_metadata(None, ANSWER).expect("metadata");
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

/// The partitions of a topic, none when it does not exist.
pub fn partitions(bootstrap: &str, topic: &str) -> Vec<i32> {
    let consumer = reader(bootstrap, Isolation::Uncommitted);
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER).expect("metadata");
    let topic = metadata.topics().iter().find(|found| found.name() == topic);
    topic.map_or_else(Vec::new, |topic| topic.partitions().iter().map(|partition| partition.id()).collect())
}

/// The end of every partition, `(partition, offset)`: with [`Isolation::Committed`] the last stable offset.
pub fn ends(bootstrap: &str, topic: &str, isolation: Isolation) -> Vec<(i32, i64)> {
    let consumer = reader(bootstrap, isolation);
    let end = |partition| consumer.fetch_watermarks(topic, partition, ANSWER).expect("watermarks").1;
    partitions(bootstrap, topic).into_iter().map(|partition| (partition, end(partition))).collect()
}

/// Everything in the topic up to its present end, by partition and offset. Waits, at most `limit`, until no
/// transaction is open before that end; a topic that does not exist is empty.
pub fn read(bootstrap: &str, topic: &str, isolation: Isolation, limit: Duration) -> Vec<Message> {
    let ends = ends(bootstrap, topic, Isolation::Uncommitted);
    read_to(bootstrap, topic, isolation, &ends, limit)
}

/// Everything in the topic up to the given ends (and perhaps a little more), by partition and offset.
pub fn read_to(
    bootstrap: &str,
    topic: &str,
    isolation: Isolation,
    ends: &[(i32, i64)],
    limit: Duration,
) -> Vec<Message> {
    // librdkafka reports a partition's end at the last stable offset, which an open transaction holds back. So first
    // wait until everything wanted is stable: every end that is reported later is then far enough.
    let stable = || self::ends(bootstrap, topic, isolation);
    let behind = |ends: &[(i32, i64)], stable: &[(i32, i64)]| {
        ends.iter().any(|wanted| !stable.iter().any(|found| found.0 == wanted.0 && found.1 >= wanted.1))
    };
    wait_until(
        limit,
        || !behind(ends, &stable()),
        || format!("{topic} is stable to {:?} only, not {ends:?}", stable()),
    );

    let consumer = reader(bootstrap, isolation);
    let mut assignment = TopicPartitionList::new();
    for (partition, _) in ends {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).expect("a valid offset");
    }
    consumer.assign(&assignment).expect("the assignment");

    let mut open: BTreeSet<i32> = ends.iter().map(|(partition, _)| *partition).collect();
    let mut messages = Vec::new();
    let step = || {
        while !open.is_empty() {
            match consumer.poll(Duration::from_millis(100)) {
                None => return false,
                Some(Ok(message)) => messages.push(own(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                Some(Err(error)) => panic!("reading {topic}: {error}"),
            }
        }
        true
    };
    wait_until(limit, step, || format!("the end of {topic} was not reached"));
    messages.sort_by_key(|message| (message.partition, message.offset));
    messages
}

/// The committed offset of a group on each partition; -1 where there is none.
pub fn committed(bootstrap: &str, group: &str, topic: &str) -> Vec<(i32, i64)> {
    let consumer: BaseConsumer = client(bootstrap).set("group.id", group).create().expect("a consumer");
    let mut wanted = TopicPartitionList::new();
    for partition in partitions(bootstrap, topic) {
        wanted.add_partition(topic, partition);
    }
    let committed = consumer.committed_offsets(wanted, ANSWER).expect("committed offsets");
    let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { -1 };
    committed.elements().iter().map(|found| (found.partition(), offset(found.offset()))).collect()
}

fn own(message: &rdkafka::message::BorrowedMessage<'_>) -> Message {
    let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.unwrap_or_default().to_vec());
    Message {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map_or_else(Vec::new, |headers| headers.iter().map(header).collect()),
    }
}

fn reader(bootstrap: &str, isolation: Isolation) -> BaseConsumer {
    let level = if isolation == Isolation::Committed { "read_committed" } else { "read_uncommitted" };
    client(bootstrap)
        // Never joined: offsets and partitions are given by hand.
        .set("group.id", "headwater-tests-reader")
        .set("isolation.level", level)
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .expect("a consumer")
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", bootstrap).set("log_level", "3");
    client
}
