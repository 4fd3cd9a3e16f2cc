//! A stage's consumer: one topic, one group, explicit offsets, a queue per partition.
//!
//! The rebalance callback runs on the thread that polls, the worker's. On assignment it reads offset and ledger of
//! each partition in one go and assigns with that offset; on revocation it waits for a running commit, so that the next
//! owner begins where we ended. What happened it leaves as [`Change`]s, which the worker takes right after the poll.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{
        BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata, base_consumer::PartitionQueue,
    },
    error::{KafkaError as RdError, RDKafkaErrorCode as Code},
    message::{BorrowedMessage, Message},
    types::RDKafkaRespErr,
};

use super::{
    GroupMember, KafkaError, client_config,
    raw::{self, Committed},
};
use crate::{clock, config::Settings, engine::LedgerEntry};

/// A partition that is ours now, with what is committed for it.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub partition: i32,
    pub offset: i64,
    pub metadata: Vec<u8>,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

/// What a rebalance did.
#[derive(Debug)]
pub enum Change {
    Assigned(Vec<Assignment>),
    /// Ours, but what is committed for them cannot be read yet: [`StageConsumer::resume`] them later.
    Unread(Vec<i32>, KafkaError),
    /// No longer ours, with everything uncommitted.
    Revoked(Vec<i32>),
    /// The group cannot go on.
    Failed(KafkaError),
}

/// Tells the rebalance callback whether a commit is under way.
#[derive(Default)]
pub struct CommitGate {
    busy: Mutex<bool>,
    idle: Condvar,
}

impl CommitGate {
    /// A commit begins or has ended.
    pub fn set_busy(&self, busy: bool) {
        *self.busy.lock() = busy;
        if !busy {
            self.idle.notify_all();
        }
    }

    fn wait_idle(&self, limit: Duration) -> bool {
        let deadline = clock::now() + limit;
        let mut busy = self.busy.lock();
        while *busy {
            if self.idle.wait_until(&mut busy, deadline).timed_out() {
                return !*busy;
            }
        }
        true
    }
}

/// librdkafka's log lines, by level.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// After so long without a heartbeat the broker gives a member's partitions to others.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a rebalance may wait for the committed offsets; then it goes on without.
const READ_COMMITTED: Duration = Duration::from_secs(5);

struct Context {
    group: String,
    topic: String,
    servers: String,
    changes: Mutex<Vec<Change>>,
    gate: Arc<CommitGate>,
    /// What to commit for partitions that are left cleanly.
    farewells: Mutex<BTreeMap<i32, LedgerEntry>>,
    /// A callback was served during a poll that gave nothing: there may be more.
    served: AtomicBool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.served.store(true, Ordering::Relaxed);
        log(level, facility, message);
    }

    fn error(&self, error: RdError, reason: &str) {
        // Consumer errors also come out of `poll`, where they are handled; a partition's end is none.
        if !matches!(error, RdError::PartitionEOF(_)) {
            tracing::warn!(group = self.group, %error, reason, "consumer");
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.served.store(true, Ordering::Relaxed);
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let change = match self.read_committed(consumer, &partitions) {
                Ok(assigned) => self.assign(consumer, assigned),
                Err(error) => self.assign_unread(consumer, partitions, error),
            };
            self.changes.lock().push(change);
        } else {
            if !consumer.assignment_lost() {
                if !self.gate.wait_idle(Duration::from_secs(5)) {
                    tracing::warn!(group = self.group, "partitions go while a commit is still under way");
                }
                self.bid_farewell(consumer, &partitions);
            }
            self.changes.lock().push(Change::Revoked(partitions));
            if let Err(error) = consumer.incremental_unassign(list) {
                tracing::error!(group = self.group, %error, "partitions cannot be given up");
            }
        }
    }
}

impl Context {
    /// Tells the next owner that nothing in these partitions has killed us.
    fn bid_farewell(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) {
        let mut farewells = self.farewells.lock();
        let leaving: Vec<LedgerEntry> = partitions.iter().filter_map(|partition| farewells.remove(partition)).collect();
        if leaving.is_empty() {
            return;
        }
        // Where this fails the next owner counts one take-over too many, which alone condemns nothing.
        if let Err(error) = commit_list(&self.topic, &leaving).and_then(|list| consumer.commit(&list, CommitMode::Sync))
        {
            tracing::info!(group = self.group, %error, "left without a farewell");
        }
    }

    /// The protocol wants an answer now. From the end nothing old is read meanwhile; what comes is not taken in.
    fn assign_unread(&self, consumer: &BaseConsumer<Self>, partitions: Vec<i32>, error: KafkaError) -> Change {
        if matches!(error, KafkaError::NoCommittedOffset { .. }) {
            return Change::Failed(error);
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        let listed = partitions.iter().try_for_each(|partition| {
            raw::split(consumer.client(), &self.topic, *partition);
            list.add_partition_offset(&self.topic, *partition, Offset::End)
        });
        match listed.and_then(|()| consumer.incremental_assign(&list)) {
            Ok(()) => Change::Unread(partitions, error),
            Err(_) => Change::Failed(error),
        }
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, assigned: Vec<Assignment>) -> Change {
        match self.list(consumer, &assigned).and_then(|list| consumer.incremental_assign(&list)) {
            Ok(()) => Change::Assigned(assigned),
            Err(error) => Change::Failed(KafkaError::Refused {
                what: format!("assign {} of group {}", self.topic, self.group),
                message: error.to_string(),
            }),
        }
    }

    /// A list to assign, its partitions split off.
    fn list(&self, consumer: &BaseConsumer<Self>, assigned: &[Assignment]) -> Result<TopicPartitionList, RdError> {
        let mut list = TopicPartitionList::with_capacity(assigned.len());
        for assignment in assigned {
            // Before the fetcher starts: nothing of it may come beside its queue.
            raw::split(consumer.client(), &self.topic, assignment.partition);
            list.add_partition_offset(&self.topic, assignment.partition, Offset::Offset(assignment.offset))?;
        }
        Ok(list)
    }

    /// Position and ledger from one read. While a transaction that commits offsets is pending the broker answers
    /// UNSTABLE_OFFSET_COMMIT, and librdkafka asks again until the time-out.
    fn read_committed(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) -> Result<Vec<Assignment>, KafkaError> {
        let deadline = clock::now() + READ_COMMITTED;
        loop {
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for partition in partitions {
                list.add_partition(&self.topic, *partition);
            }
            let failure = match consumer.committed_offsets(list, READ_COMMITTED) {
                Ok(list) => {
                    let committed = raw::committed(&list);
                    match committed.iter().find(|entry| entry.error != 0) {
                        None => return self.assignments(committed),
                        Some(entry) => format!("partition {}: error {}", entry.partition, entry.error),
                    }
                }
                Err(error) => error.to_string(),
            };
            if clock::now() >= deadline {
                return Err(KafkaError::Unreachable {
                    servers: self.servers.clone(),
                    what: "did not give the committed offsets",
                    message: failure,
                });
            }
            tracing::warn!(group = self.group, failure, "committed offsets not readable yet");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn assignments(&self, committed: Vec<Committed>) -> Result<Vec<Assignment>, KafkaError> {
        committed
            .into_iter()
            .map(|entry| match entry.offset {
                Some(offset) => Ok(Assignment { partition: entry.partition, offset, metadata: entry.metadata }),
                None => Err(KafkaError::NoCommittedOffset {
                    group: self.group.clone(),
                    topic: self.topic.clone(),
                    partition: entry.partition,
                }),
            })
            .collect()
    }
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

fn commit_list(topic: &str, ledgers: &[LedgerEntry]) -> Result<TopicPartitionList, RdError> {
    let mut list = TopicPartitionList::with_capacity(ledgers.len());
    for ledger in ledgers {
        let mut element = list.add_partition(topic, ledger.partition);
        element.set_offset(Offset::Offset(ledger.offset))?;
        element.set_metadata(ledger.metadata.as_str());
    }
    Ok(list)
}

/// Whether the consumer cannot go on.
pub fn is_fatal(error: &RdError) -> bool {
    matches!(error, RdError::MessageConsumptionFatal(_))
}

/// Whether this poll error says that the committed offset lies outside the log.
pub fn is_out_of_range(error: &RdError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange))
}
