//! The two clients of a restore: one reads what is committed, the other asks where partitions end, open transactions
//! included.

use std::{sync::Arc, thread, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, base_consumer::PartitionQueue},
    error::{KafkaError as RdError, RDKafkaErrorCode as Code},
    message::BorrowedMessage,
};

use super::{Changelog, RestoreError};
use crate::{
    clock,
    config::Settings,
    engine::partition_tag,
    kafka::{KafkaError, client_config, raw, rebalance},
    state::LogBounds,
};

/// One question takes no longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// librdkafka's log; its errors come out of the queues as well.
struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        rebalance::log(level, facility, message);
    }

    fn error(&self, error: RdError, reason: &str) {
        if !matches!(error, RdError::PartitionEOF(_)) {
            tracing::warn!(%error, reason, "restore");
        }
    }
}

impl ConsumerContext for Context {}

/// The records of one changelog partition.
pub(super) struct Reader(PartitionQueue<Context>);

/// What a reader has next.
pub(super) enum Polled<'a> {
    Record(BorrowedMessage<'a>),
    /// The last stable offset was reached, as it was when this was fetched.
    End,
    /// What is to be read next is no longer in the log, or the topic has gone.
    Lost,
    Nothing,
}

impl Reader {
    pub fn poll(&self) -> Polled<'_> {
        loop {
            match self.0.poll(Duration::ZERO) {
                None => return Polled::Nothing,
                Some(Ok(message)) => return Polled::Record(message),
                Some(Err(RdError::PartitionEOF(_))) => return Polled::End,
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(
                        Code::AutoOffsetReset
                        | Code::OffsetOutOfRange
                        | Code::UnknownTopicOrPartition
                        | Code::UnknownTopic
                        | Code::UnknownPartition,
                    ) => return Polled::Lost,
                    // librdkafka says so and goes on by itself.
                    _ => tracing::warn!(%error, "restore"),
                },
            }
        }
    }
}

/// What there is to know of a changelog partition before it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub bounds: LogBounds,
    pub tag: u32,
    /// When the end was asked for.
    pub asked_ms: i64,
}

/// Why there was nothing to see.
pub(super) enum Blind {
    /// It may pass by itself.
    Again(String),
    /// It does not exist, as far as the broker that answered knows.
    Missing(RestoreError),
}

/// The clients.
pub(super) struct Changelogs {
    /// By table.
    changelogs: Vec<Changelog>,
    committed: Arc<BaseConsumer<Context>>,
    uncommitted: BaseConsumer<Context>,
}

impl Changelogs {
    /// Called on whatever thread; nothing is sent yet.
    pub fn new(settings: &Settings, changelogs: Vec<Changelog>) -> Result<Self, KafkaError> {
        let refused = |error: RdError| KafkaError::Setting(error.to_string());
        let mut config = client_config(settings);
        // Named like a topic, for clusters that grant groups by prefix; it never joins and never commits.
        let group = changelogs.first().map_or("headwater.state", |changelog| &changelog.topic);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false");
        let with = |isolation: &str| {
            let mut config: ClientConfig = config.clone();
            config.set("isolation.level", isolation);
            config
        };
        let mut reading = with("read_committed");
        reading
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.error.backoff.ms", "50")
            // By default librdkafka stops fetching a partition for a second when its queue is full.
            .set("fetch.queue.backoff.ms", "5")
            // Of each changelog partition that is being read.
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "2048");
        Ok(Changelogs {
            changelogs,
            committed: Arc::new(reading.create_with_context(Context).map_err(refused)?),
            uncommitted: with("read_uncommitted").create_with_context(Context).map_err(refused)?,
        })
    }

    /// Tables and their changelogs.
    pub fn tables(&self) -> impl Iterator<Item = (usize, &Changelog)> {
        self.changelogs.iter().enumerate()
    }

    /// Serves callbacks; what comes by the main queue are errors that pass.
    pub fn serve(&self) {
        while let Some(polled) = self.committed.poll(Duration::ZERO) {
            match polled {
                Ok(_) | Err(RdError::PartitionEOF(_)) => {}
                Err(error) => tracing::warn!(%error, "restore"),
            }
        }
    }

    /// Where a changelog partition begins and ends, and which it is. Blocks for some seconds at most.
    pub fn look(&self, topic: &str, partition: i32) -> Result<Look, Blind> {
        let again = |error: RdError| Blind::Again(format!("{topic}-{partition}: {error}"));
        self.assert_exists(topic, partition)?;
        let client = self.uncommitted.client();
        let cluster = client
            .fetch_cluster_id(TIMEOUT)
            .ok_or_else(|| Blind::Again("the cluster did not give its id in time".to_owned()))?;
        let id = raw::topic_id(client, topic, TIMEOUT).map_err(|error| Blind::Again(format!("{topic}: {error}")))?;
        let asked_ms = clock::unix_ms();
        let (begin, end) = self.uncommitted.fetch_watermarks(topic, partition, TIMEOUT).map_err(again)?;
        let tag = partition_tag(&cluster, &id, partition);
        Ok(Look { bounds: LogBounds { begin, end }, tag, asked_ms })
    }

    fn assert_exists(&self, topic: &str, partition: i32) -> Result<(), Blind> {
        let metadata = self.uncommitted.fetch_metadata(Some(topic), TIMEOUT);
        let metadata = metadata.map_err(|error| Blind::Again(format!("{topic}: {error}")))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let missing = || Blind::Missing(RestoreError::TopicMissing { topic: topic.to_owned() });
        let found = found.ok_or_else(missing)?;
        match found.error().map(Code::from) {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Err(missing()),
            Some(code) => return Err(Blind::Again(format!("{topic}: {code}"))),
            None => {}
        }
        if found.partitions().iter().any(|found| found.id() == partition) {
            return Ok(());
        }
        let (topic, partitions) = (topic.to_owned(), found.partitions().len() as i32);
        Err(Blind::Missing(RestoreError::PartitionMissing { topic, partition, partitions }))
    }

    /// The last stable offset: before it no transaction is open.
    pub fn stable(&self, topic: &str, partition: i32) -> Result<i64, RdError> {
        self.committed.fetch_watermarks(topic, partition, TIMEOUT).map(|(_, stable)| stable)
    }

    /// One past what its reader has given, transaction markers included.
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        match self.committed.position().ok()?.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// Reads a changelog partition from this offset on. Wakes the calling thread when there is something to read.
    pub fn read(&self, topic: &str, partition: i32, from: i64) -> Result<Reader, RdError> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, Offset::Offset(from))?;
        // Before the fetcher starts: nothing of it may come beside its queue.
        raw::split(self.committed.client(), topic, partition);
        self.committed.incremental_assign(&list)?;
        let queue = self.committed.split_partition_queue(topic, partition);
        let mut queue = queue.ok_or(RdError::Subscription(format!("{topic}-{partition} has no queue")))?;
        let reader = thread::current();
        queue.set_nonempty_callback(move || reader.unpark());
        Ok(Reader(queue))
    }

    /// Reads it no longer. Its [`Reader`] is to be dropped before.
    pub fn release(&self, topic: &str, partition: i32) {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(topic, partition);
        if let Err(error) = self.committed.incremental_unassign(&list) {
            tracing::warn!(%error, "{topic}-{partition} cannot be given up");
        }
    }
}
