//! A stage's consumer: one topic, one group, explicit offsets, a queue per partition.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::{
    Offset,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata, base_consumer::PartitionQueue},
    error::{KafkaError as RdError, RDKafkaErrorCode as Code},
    message::{BorrowedMessage, Message},
};

use super::{
    GroupMember, KafkaError, client_config, raw,
    rebalance::{Assignment, Change, CommitGate, Context, commit_list},
};
use crate::{config::Settings, engine::LedgerEntry};

/// After so long without a heartbeat the broker gives a member's partitions to others.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

/// The consumer of one worker.
pub struct StageConsumer {
    inner: Arc<BaseConsumer<Context>>,
    topic: String,
}

/// The queue of one partition: not polling it is the back-pressure.
pub struct Queue(PartitionQueue<Context>);

impl Queue {
    /// The next record, without waiting.
    pub fn poll(&self) -> Option<Result<BorrowedMessage<'_>, RdError>> {
        self.0.poll(Duration::ZERO)
    }
}

impl StageConsumer {
    /// Joins the group. `wake` is called from librdkafka's threads whenever something can be polled.
    pub fn join(
        settings: &Settings,
        topic: &str,
        group: &str,
        gate: Arc<CommitGate>,
        wake: impl Fn() + Clone + Send + Sync + 'static,
    ) -> Result<Self, KafkaError> {
        let mut config = client_config(settings);
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("heartbeat.interval.ms", "500")
            .set("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Losing records to retention is to be seen, never silent.
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // By default librdkafka stops fetching a partition for a second when its queue is full.
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.error.backoff.ms", "50")
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "16384");
        let context = Context {
            group: group.to_owned(),
            topic: topic.to_owned(),
            servers: settings.bootstrap_servers.clone(),
            changes: Mutex::new(Vec::new()),
            gate,
            farewells: Mutex::default(),
            served: AtomicBool::new(false),
        };
        let mut consumer: BaseConsumer<Context> =
            config.create_with_context(context).map_err(|error| KafkaError::Setting(error.to_string()))?;
        consumer.set_nonempty_callback(wake);
        consumer.subscribe(&[topic]).map_err(|error| KafkaError::Refused {
            what: format!("subscribe to {topic}"),
            message: error.to_string(),
        })?;
        Ok(StageConsumer { inner: Arc::new(consumer), topic: topic.to_owned() })
    }

    /// Serves callbacks and gives errors; records come by the partitions' queues. Take [`StageConsumer::changes`] after
    /// each call.
    pub fn poll(&self) -> Option<Result<Place, RdError>> {
        let context = self.inner.context();
        loop {
            context.served.store(false, Ordering::Relaxed);
            match self.inner.poll(Duration::ZERO) {
                // A served callback ends a poll although more may be queued.
                None if context.served.load(Ordering::Relaxed) => {}
                None => return None,
                Some(Ok(message)) => {
                    return Some(Ok(Place { partition: message.partition(), offset: message.offset() }));
                }
                Some(Err(error)) => return Some(Err(error)),
            }
        }
    }

    /// What to commit for this partition should it be left cleanly.
    pub fn set_farewell(&self, partition: i32, farewell: Option<LedgerEntry>) {
        let mut farewells = self.inner.context().farewells.lock();
        match farewell {
            Some(entry) => farewells.insert(partition, entry),
            None => farewells.remove(&partition),
        };
    }

    /// A commit begins: what was to be said at leaving may be out of date before it ends.
    pub fn clear_farewells(&self) {
        self.inner.context().farewells.lock().clear();
    }

    /// What rebalances did since the last call.
    pub fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.inner.context().changes.lock())
    }

    /// The partition's own queue.
    pub fn queue(&self, partition: i32, wake: impl Fn() + Send + Sync + 'static) -> Option<Queue> {
        let mut queue = self.inner.split_partition_queue(&self.topic, partition)?;
        queue.set_nonempty_callback(wake);
        Some(Queue(queue))
    }

    /// Group metadata for a transaction, if we are a member whom the broker will check. Asks librdkafka's main thread
    /// three times: call it once per commit.
    pub fn member(&self) -> Option<ConsumerGroupMetadata> {
        if self.inner.assignment_lost() {
            return None;
        }
        let before = GroupMember::of(self.inner.client())?;
        let metadata = self.inner.group_metadata()?;
        // Unchanged around it: what was checked is what is used.
        (before.is_valid() && GroupMember::of(self.inner.client())? == before).then_some(metadata)
    }

    /// Where the consumer stands in each partition: one past the last record it gave, or past markers behind that.
    pub fn positions(&self) -> Vec<(i32, i64)> {
        let Ok(list) = self.inner.position() else { return Vec::new() };
        list.elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            })
            .collect()
    }

    /// Starts these partitions again from what is committed: forgets what was fetched. Their queues are to be split
    /// again.
    pub fn resume(&self, partitions: &[i32]) -> Result<Vec<Assignment>, KafkaError> {
        let context = self.inner.context();
        let refused = |error: RdError| KafkaError::Refused {
            what: format!("reposition in {}", self.topic),
            message: error.to_string(),
        };
        let assigned = context.read_committed(&self.inner, partitions)?;
        let list = context.list(&self.inner, &assigned).map_err(refused)?;
        self.inner.incremental_unassign(&list).map_err(refused)?;
        self.inner.incremental_assign(&list).map_err(refused)?;
        Ok(assigned)
    }

    /// Moves a partition whose offset lies outside the log to the log's start. Gives the first offset there is, and the
    /// one after the last. Its queue is to be split again.
    pub fn move_to_start(&self, partition: i32) -> Result<(i64, i64), KafkaError> {
        let refused = |error: RdError| KafkaError::Refused {
            what: format!("find the start of {}-{partition}", self.topic),
            message: error.to_string(),
        };
        let (low, high) =
            self.inner.fetch_watermarks(&self.topic, partition, Duration::from_secs(10)).map_err(refused)?;
        let start = Assignment { partition, offset: low, metadata: Vec::new() };
        let list = self.inner.context().list(&self.inner, &[start]).map_err(refused)?;
        self.inner.incremental_unassign(&list).map_err(refused)?;
        self.inner.incremental_assign(&list).map_err(refused)?;
        Ok((low, high))
    }

    /// An ordinary commit of offsets with their ledgers; waits for the answer. For stages without transactions.
    pub fn commit(&self, ledgers: &[LedgerEntry]) -> Result<(), RdError> {
        let list = commit_list(&self.topic, ledgers)?;
        self.inner.commit(&list, CommitMode::Sync)
    }

    /// Another handle to the same consumer, for the commit thread.
    pub fn share(&self) -> StageConsumer {
        StageConsumer { inner: self.inner.clone(), topic: self.topic.clone() }
    }

    /// The cluster's id and the topic's, which tag ledgers and origins.
    pub fn identity(&self) -> Result<(String, [u8; 16]), KafkaError> {
        let client = self.inner.client();
        let timeout = Duration::from_secs(10);
        let unreachable = |message: String| KafkaError::Unreachable {
            servers: client.context().servers.clone(),
            what: "did not describe the topic",
            message,
        };
        let cluster =
            client.fetch_cluster_id(timeout).ok_or_else(|| unreachable("no cluster id in time".to_owned()))?;
        let topic = raw::topic_id(client, &self.topic, timeout).map_err(unreachable)?;
        Ok((cluster, topic))
    }
}

/// Whether the consumer cannot go on.
pub fn is_fatal(error: &RdError) -> bool {
    matches!(error, RdError::MessageConsumptionFatal(_))
}

/// Whether this poll error says that the committed offset lies outside the log.
pub fn is_out_of_range(error: &RdError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange))
}
