//! The consumer's callbacks. They run on the thread that polls, the worker's.
//!
//! On assignment offset and ledger of each partition are read in one go and assigned with that offset; on revocation a
//! running commit is waited for, so that the next owner begins where we ended. What happened is left as [`Change`]s.

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
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError as RdError,
    types::RDKafkaRespErr,
};

use super::{
    KafkaError,
    raw::{self, Committed},
};
use crate::{clock, engine::LedgerEntry};

/// How long a rebalance may wait for the committed offsets; then it goes on without.
const READ_COMMITTED: Duration = Duration::from_secs(5);

/// A partition that is ours now, with what is committed for it.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub partition: i32,
    pub offset: i64,
    pub metadata: Vec<u8>,
}

/// What a rebalance did.
#[derive(Debug)]
pub enum Change {
    Assigned(Vec<Assignment>),
    /// Ours, but what is committed for them cannot be read yet: [`super::StageConsumer::resume`] them later.
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

/// What the callbacks know, and what they leave for the worker.
pub(super) struct Context {
    pub group: String,
    pub topic: String,
    pub servers: String,
    pub changes: Mutex<Vec<Change>>,
    pub gate: Arc<CommitGate>,
    /// What to commit for partitions that are left cleanly.
    pub farewells: Mutex<BTreeMap<i32, LedgerEntry>>,
    /// A callback was served during a poll that gave nothing: there may be more.
    pub served: AtomicBool,
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
            if consumer.assignment_lost() {
                self.farewells.lock().clear(); // Whatever we knew, somebody else may have gone on since.
            } else {
                if self.gate.wait_idle(Duration::from_secs(5)) {
                    self.bid_farewell(consumer, &partitions);
                } else {
                    tracing::warn!(group = self.group, "partitions go while a commit is still under way");
                }
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
    pub fn list(&self, consumer: &BaseConsumer<Self>, assigned: &[Assignment]) -> Result<TopicPartitionList, RdError> {
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
    pub fn read_committed(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &[i32],
    ) -> Result<Vec<Assignment>, KafkaError> {
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

/// Offsets with their ledgers, as a list to commit.
pub(super) fn commit_list(topic: &str, ledgers: &[LedgerEntry]) -> Result<TopicPartitionList, RdError> {
    let mut list = TopicPartitionList::with_capacity(ledgers.len());
    for ledger in ledgers {
        let mut element = list.add_partition(topic, ledger.partition);
        element.set_offset(Offset::Offset(ledger.offset))?;
        element.set_metadata(ledger.metadata.as_str());
    }
    Ok(list)
}
