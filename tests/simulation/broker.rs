//! The model of a broker: transactions, fencing by epoch, offsets with metadata that are stable or not.

use headwater::engine::{Batch, LedgerEntry};

use super::{
    Checked,
    group::{Group, Membership},
    judge::Judge,
    plan::Plan,
};

/// The topics that outputs go to.
pub const ENRICHED: usize = 0;
pub const DEAD_LETTERS: usize = 1;
pub const TRIGGERS: usize = 2;

/// A record in an output topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub topic: usize,
    pub source: (i32, i64),
    pub key: u8,
    /// What the stage made of it: the offset that its calls were made for.
    pub value: i64,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Committed,
    Aborted,
}

/// A transaction under way.
#[derive(Debug)]
pub struct Transaction {
    /// The life of the worker that began it.
    pub life: u32,
    pub began_ms: u64,
    /// Places in the output log: partition and index.
    pub written: Vec<(usize, usize)>,
    pub ledgers: Vec<LedgerEntry>,
}

#[derive(Default)]
struct Producer {
    epoch: u32,
    transaction: Option<Transaction>,
}

/// Why the broker does not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A newer producer of the same id has been initialised.
    Fenced,
    /// The member or its generation is not the group's.
    Generation,
}

pub struct Broker {
    /// Up to where each input partition can be read.
    pub visible: Vec<i64>,
    pub committed: Vec<(i64, String)>,
    producers: Vec<Producer>,
    pub output: Vec<Vec<Written>>,
    /// EndTxn requests that are still on their way: producer and epoch.
    pub stragglers: Vec<(usize, u32)>,
}

impl Broker {
    pub fn new(partitions: usize, workers: usize) -> Self {
        Broker {
            visible: vec![0; partitions],
            committed: vec![(0, String::new()); partitions],
            producers: (0..workers).map(|_| Producer::default()).collect(),
            output: vec![Vec::new(); partitions],
            stragglers: Vec::new(),
        }
    }

    /// Makes the producer of this transactional id anew: its pending transaction is aborted, older epochs are fenced.
    pub fn initialise(&mut self, producer: usize) -> u32 {
        self.abort_pending(producer);
        self.producers[producer].epoch += 1;
        self.producers[producer].epoch
    }

    fn abort_pending(&mut self, producer: usize) {
        if let Some(transaction) = self.producers[producer].transaction.take() {
            for (partition, index) in transaction.written {
                self.output[partition][index].state = State::Aborted;
            }
        }
    }

    fn transaction(
        &mut self,
        producer: usize,
        epoch: u32,
        life: u32,
        now_ms: u64,
    ) -> Result<&mut Transaction, Refusal> {
        let producer = &mut self.producers[producer];
        if producer.epoch != epoch {
            return Err(Refusal::Fenced);
        }
        Ok(producer.transaction.get_or_insert_with(|| Transaction {
            life,
            began_ms: now_ms,
            written: Vec::new(),
            ledgers: Vec::new(),
        }))
    }

    /// Appends the batch's records but those that `refused` names.
    pub fn produce(
        &mut self,
        (producer, epoch, life): (usize, u32, u32),
        batch: &Batch,
        now_ms: u64,
        refused: impl Fn(usize, (i32, i64)) -> bool,
    ) -> Result<(), Refusal> {
        self.transaction(producer, epoch, life, now_ms)?;
        for (output, key, value) in batch.outputs.iter() {
            if refused(output.topic, output.source) {
                continue;
            }
            let value = <[u8; 8]>::try_from(value).map_or(-1, i64::from_be_bytes);
            let log = &mut self.output[output.partition as usize];
            log.push(Written { topic: output.topic, source: output.source, key: key[0], value, state: State::Pending });
            let place = (output.partition as usize, log.len() - 1);
            self.transaction(producer, epoch, life, now_ms)?.written.push(place);
        }
        Ok(())
    }

    /// Adds offsets to the transaction. The broker takes an unnamed member's word, as Kafka does.
    pub fn send_offsets(
        &mut self,
        (producer, epoch, life): (usize, u32, u32),
        batch: &Batch,
        member: Option<Membership>,
        group: &Group,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let transaction = self.transaction(producer, epoch, life, now_ms)?;
        if member.is_some_and(|member| !group.accepts(member)) {
            return Err(Refusal::Generation);
        }
        transaction.ledgers.extend(batch.ledgers.iter().cloned());
        Ok(())
    }

    /// EndTxn: decides the pending transaction of this epoch. Gives what was committed.
    pub fn end(
        &mut self,
        producer: usize,
        epoch: u32,
        commit: bool,
        (judge, plan): (&mut Judge, &Plan),
    ) -> Checked<Result<Option<(usize, usize)>, Refusal>> {
        if self.producers[producer].epoch != epoch {
            return Ok(Err(Refusal::Fenced));
        }
        if !commit {
            self.abort_pending(producer);
            return Ok(Ok(None));
        }
        let Some(transaction) = self.producers[producer].transaction.take() else { return Ok(Ok(None)) };
        judge.commits(plan, &transaction, &self.output, &self.committed)?;
        let counts = (transaction.written.len(), transaction.ledgers.len());
        for (partition, index) in transaction.written {
            self.output[partition][index].state = State::Committed;
        }
        for ledger in transaction.ledgers {
            self.committed[ledger.partition as usize] = (ledger.offset, ledger.metadata);
        }
        Ok(Ok(Some(counts)))
    }

    /// Aborts a transaction that is older than `limit_ms`, and fences its producer.
    pub fn time_out(&mut self, now_ms: u64, limit_ms: u64) -> Option<usize> {
        let old =
            |producer: &Producer| producer.transaction.as_ref().is_some_and(|it| now_ms - it.began_ms >= limit_ms);
        let producer = self.producers.iter().position(old)?;
        self.initialise(producer);
        Some(producer)
    }

    /// Whether no transaction that commits this partition's offset is pending.
    pub fn is_stable(&self, partition: i32) -> bool {
        !self.producers.iter().any(|producer| {
            let pending = producer.transaction.as_ref();
            pending.is_some_and(|transaction| transaction.ledgers.iter().any(|ledger| ledger.partition == partition))
        })
    }
}
