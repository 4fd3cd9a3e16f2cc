//! The transaction coordinator, pure: who owns a transactional id, what its transaction touches, how it ends.
//!
//! The rules are those of Apache Kafka's `TransactionCoordinator` without KIP-890's second version: initialising fences
//! the previous owner, EndTxn only decides, and until the markers are written the next transaction has to wait.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

/// Kafka's `transaction.max.timeout.ms`.
const MAX_TIMEOUT: Duration = Duration::from_secs(900);
/// Transactional ids remembered; beyond, the one that has been idle longest is forgotten.
const MAX_IDS: usize = 10_000;

/// A producer as the coordinator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerRef {
    /// Producer id.
    pub id: i64,
    /// Only the highest epoch may write.
    pub epoch: i16,
}

/// A topic and one of its partitions.
pub type TopicPartition = (String, i32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TxnState {
    Empty,
    Ongoing,
    /// Decided; the markers are on their way.
    Prepared {
        commit: bool,
    },
    /// The markers are written.
    Complete {
        commit: bool,
    },
}

#[derive(Debug)]
struct Txn {
    producer: ProducerRef,
    /// The epoch before the last initialisation, so that a repeated request is recognised (KIP-360).
    last_epoch: i16,
    timeout: Duration,
    state: TxnState,
    partitions: BTreeSet<TopicPartition>,
    groups: BTreeSet<String>,
    /// Start of the transaction, or the last change when none is open.
    since: Instant,
}

/// How an initialisation went.
#[derive(Debug, PartialEq, Eq)]
pub enum Init {
    /// The producer may begin.
    Ready(ProducerRef),
    /// The previous owner's transaction is being aborted: markers are due, the client tries again.
    Aborting,
}

/// How an EndTxn went.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Decided now: markers are due.
    Decided,
    /// A repetition of what is done already.
    Repeated,
}

/// What has to be written to complete a transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct Markers {
    /// Whose transaction.
    pub producer: ProducerRef,
    /// Or abort.
    pub commit: bool,
    /// Where a control batch goes.
    pub partitions: BTreeSet<TopicPartition>,
    /// Whose pending offsets become visible, or vanish.
    pub groups: BTreeSet<String>,
}

/// All transactional ids of the broker.
#[derive(Debug)]
pub struct Coordinator {
    by_id: HashMap<String, Txn>,
    next_producer_id: i64,
}

impl Default for Coordinator {
    fn default() -> Self {
        Self { by_id: HashMap::new(), next_producer_id: 1000 }
    }
}

impl Coordinator {
    /// A producer id without transactions.
    pub fn idempotent_producer(&mut self) -> ProducerRef {
        self.next_producer_id += 1;
        ProducerRef { id: self.next_producer_id, epoch: 0 }
    }

    /// InitProducerId: fences whoever used the id before and aborts what it left open. `expected` is the producer that
    /// a client asks a new epoch for (KIP-360).
    ///
    /// # Errors
    /// `InvalidTransactionTimeout`; `ProducerFenced` when `expected` is not the owner any more;
    /// `ConcurrentTransactions` while the previous transaction's markers are being written.
    pub fn init(
        &mut self,
        id: &str,
        timeout_ms: i32,
        expected: Option<ProducerRef>,
        now: Instant,
    ) -> Result<Init, ResponseError> {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        if !self.by_id.contains_key(id) {
            self.forget_the_idle();
            let producer = self.idempotent_producer();
            let state = TxnState::Empty;
            let (partitions, groups) = Default::default();
            let txn = Txn { producer, last_epoch: -1, timeout, state, partitions, groups, since: now };
            self.by_id.insert(id.to_owned(), txn);
            return Ok(Init::Ready(producer));
        }
        let fresh_id = self.next_producer_id + 1;
        let Some(txn) = self.by_id.get_mut(id) else { return Err(ResponseError::UnknownServerError) };
        if expected.is_some_and(|expected| expected.id != txn.producer.id) {
            return Err(ResponseError::ProducerFenced);
        }
        match txn.state {
            TxnState::Prepared { .. } => return Err(ResponseError::ConcurrentTransactions),
            TxnState::Ongoing => {
                txn.fence();
                return Ok(Init::Aborting);
            }
            TxnState::Empty | TxnState::Complete { .. } => {}
        }
        match expected {
            Some(expected) if expected.epoch == txn.producer.epoch => {}
            Some(expected) if expected.epoch == txn.last_epoch => return Ok(Init::Ready(txn.producer)), // a repetition
            Some(_) => return Err(ResponseError::ProducerFenced),
            None => {}
        }
        txn.last_epoch = txn.producer.epoch;
        if txn.producer.epoch >= i16::MAX - 1 {
            self.next_producer_id = fresh_id;
            txn.producer = ProducerRef { id: fresh_id, epoch: 0 };
        } else {
            txn.producer.epoch += 1;
        }
        txn.timeout = timeout;
        txn.state = TxnState::Empty;
        txn.since = now;
        Ok(Init::Ready(txn.producer))
    }

    /// AddPartitionsToTxn: begins a transaction if none is open.
    ///
    /// # Errors
    /// `InvalidProducerIdMapping`, `ProducerFenced`; `ConcurrentTransactions` until the previous one's markers are written.
    pub fn add_partitions(
        &mut self,
        id: &str,
        producer: ProducerRef,
        partitions: Vec<TopicPartition>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.owned(id, producer)?.join(now)?.partitions.extend(partitions);
        Ok(())
    }

    /// AddOffsetsToTxn: as [`Coordinator::add_partitions`], for a group's offsets.
    ///
    /// # Errors
    /// As there.
    pub fn add_group(
        &mut self,
        id: &str,
        producer: ProducerRef,
        group: &str,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.owned(id, producer)?.join(now)?.groups.insert(group.to_owned());
        Ok(())
    }

    /// EndTxn: decides. The markers follow with [`Coordinator::complete`].
    ///
    /// # Errors
    /// `InvalidProducerIdMapping`, `ProducerFenced`, `ConcurrentTransactions`; `InvalidTxnState` when nothing is open or
    /// it was decided otherwise.
    pub fn end(&mut self, id: &str, producer: ProducerRef, commit: bool) -> Result<End, ResponseError> {
        let txn = self.owned(id, producer)?;
        match txn.state {
            TxnState::Ongoing => {
                txn.state = TxnState::Prepared { commit };
                Ok(End::Decided)
            }
            TxnState::Prepared { commit: decided } if decided == commit => Err(ResponseError::ConcurrentTransactions),
            TxnState::Complete { commit: decided } if decided == commit => Ok(End::Repeated),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// The markers of a decided transaction, once; from then on the next one may begin.
    pub fn complete(&mut self, id: &str, now: Instant) -> Option<Markers> {
        let txn = self.by_id.get_mut(id)?;
        let TxnState::Prepared { commit } = txn.state else { return None };
        txn.state = TxnState::Complete { commit };
        txn.since = now;
        let (partitions, groups) = (std::mem::take(&mut txn.partitions), std::mem::take(&mut txn.groups));
        Some(Markers { producer: txn.producer, commit, partitions, groups })
    }

    /// Decides to abort what has been open longer than its timeout, and fences its producer. Gives the ids.
    pub fn expire(&mut self, now: Instant) -> Vec<String> {
        let overdue = |txn: &Txn| txn.state == TxnState::Ongoing && now.duration_since(txn.since) > txn.timeout;
        let expired = self.by_id.iter_mut().filter(|(_, txn)| overdue(txn));
        expired
            .map(|(id, txn)| {
                txn.fence();
                id.clone()
            })
            .collect()
    }

    /// Whether a transactional batch may be written to a partition now (KIP-890, part 1: no hanging transactions).
    ///
    /// # Errors
    /// `InvalidProducerIdMapping`, `InvalidProducerEpoch`, `InvalidTxnState`.
    pub fn may_write(&self, id: &str, producer: ProducerRef, topic: &str, partition: i32) -> Result<(), ResponseError> {
        let txn = self.ongoing(id, producer)?;
        let added = txn.partitions.iter().any(|(t, p)| *p == partition && t == topic);
        if added { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
    }

    /// Whether a transaction may commit offsets of a group now.
    ///
    /// # Errors
    /// As [`Coordinator::may_write`].
    pub fn may_commit(&self, id: &str, producer: ProducerRef, group: &str) -> Result<(), ResponseError> {
        let txn = self.ongoing(id, producer)?;
        if txn.groups.contains(group) { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
    }

    fn ongoing(&self, id: &str, producer: ProducerRef) -> Result<&Txn, ResponseError> {
        let txn = self.by_id.get(id).filter(|txn| txn.producer.id == producer.id);
        let txn = txn.ok_or(ResponseError::InvalidProducerIdMapping)?;
        if txn.producer.epoch != producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if txn.state == TxnState::Ongoing { Ok(txn) } else { Err(ResponseError::InvalidTxnState) }
    }

    fn owned(&mut self, id: &str, producer: ProducerRef) -> Result<&mut Txn, ResponseError> {
        let txn = self.by_id.get_mut(id).filter(|txn| txn.producer.id == producer.id);
        let txn = txn.ok_or(ResponseError::InvalidProducerIdMapping)?;
        if txn.producer.epoch == producer.epoch { Ok(txn) } else { Err(ResponseError::ProducerFenced) }
    }

    fn forget_the_idle(&mut self) {
        if self.by_id.len() < MAX_IDS {
            return;
        }
        let idle = |txn: &Txn| matches!(txn.state, TxnState::Empty | TxnState::Complete { .. });
        let oldest = self.by_id.iter().filter(|(_, txn)| idle(txn)).min_by_key(|(_, txn)| txn.since);
        if let Some(id) = oldest.map(|(id, _)| id.clone()) {
            self.by_id.remove(&id);
        }
    }
}

impl Txn {
    /// Aborts in the name of the next epoch, so that the old owner can write nothing more.
    fn fence(&mut self) {
        self.producer.epoch = self.producer.epoch.saturating_add(1);
        self.last_epoch = -1;
        self.state = TxnState::Prepared { commit: false };
    }

    /// Takes part in the open transaction, or begins one.
    fn join(&mut self, now: Instant) -> Result<&mut Self, ResponseError> {
        match self.state {
            TxnState::Prepared { .. } => return Err(ResponseError::ConcurrentTransactions),
            TxnState::Ongoing => {}
            TxnState::Empty | TxnState::Complete { .. } => {
                self.state = TxnState::Ongoing;
                self.since = now;
            }
        }
        Ok(self)
    }
}
