//! What a partition remembers of its idempotent producers: epochs, the last sequences, and open transactions.
//!
//! The rules are those of `ProducerAppendInfo` and `ProducerStateEntry` in Apache Kafka 4.

use std::collections::{BTreeSet, HashMap, VecDeque};

use kafka_protocol::ResponseError;

use super::batch::BatchHeader;

/// Kafka remembers the last five batches of a producer, which is how many it may have in flight.
const REMEMBERED_BATCHES: usize = 5;
/// Producers a partition remembers; beyond, the one that has been silent longest is forgotten.
const MAX_PRODUCERS: usize = 5_000;

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    New,
    /// It is stored already, at this base offset: answer that and store nothing.
    Duplicate(i64),
}

#[derive(Debug, Clone, Copy)]
struct Sequenced {
    first: i32,
    last: i32,
    base_offset: i64,
}

#[derive(Debug, Clone)]
struct Producer {
    epoch: i16,
    recent: VecDeque<Sequenced>,
    /// First offset of the open transaction.
    open_at: Option<i64>,
    last_offset: i64,
}

/// All producers of one partition.
#[derive(Debug, Default, Clone)]
pub struct Producers {
    by_id: HashMap<i64, Producer>,
    open: BTreeSet<(i64, i64)>,
}

impl Producers {
    /// Whether the batch is next in its producer's sequence, one seen before, or neither (the error).
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, ResponseError> {
        let Some(known) = (header.producer_id >= 0).then(|| self.by_id.get(&header.producer_id)).flatten() else {
            return Ok(Verdict::New); // unknown producers may start anywhere, as in Kafka: their state may have expired
        };
        if header.producer_epoch < known.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.producer_epoch > known.epoch {
            return if header.base_sequence == 0 {
                Ok(Verdict::New)
            } else {
                Err(ResponseError::OutOfOrderSequenceNumber)
            };
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        if let Some(seen) = known.recent.iter().find(|seen| seen.first == first && seen.last == last) {
            return Ok(Verdict::Duplicate(seen.base_offset));
        }
        let next = match known.recent.back() {
            Some(seen) if seen.last == i32::MAX => 0,
            Some(seen) => seen.last + 1,
            None => 0,
        };
        if first == next { Ok(Verdict::New) } else { Err(ResponseError::OutOfOrderSequenceNumber) }
    }

    /// Notes a batch that was appended at `base_offset`.
    pub fn record(&mut self, header: &BatchHeader, base_offset: i64) {
        if header.producer_id < 0 {
            return;
        }
        let producer = self.entry(header.producer_id, header.producer_epoch);
        producer.last_offset = base_offset;
        if producer.recent.len() == REMEMBERED_BATCHES {
            producer.recent.pop_front();
        }
        producer.recent.push_back(Sequenced { first: header.base_sequence, last: header.last_sequence(), base_offset });
        if header.transactional() && producer.open_at.is_none() {
            producer.open_at = Some(base_offset);
            self.open.insert((base_offset, header.producer_id));
        }
        self.forget_the_silent();
    }

    /// Notes a marker at `offset`: the transaction is over. Gives its first offset, if it wrote anything here.
    pub fn end(&mut self, producer_id: i64, epoch: i16, offset: i64) -> Option<i64> {
        let producer = self.entry(producer_id, epoch);
        producer.last_offset = offset;
        let first = producer.open_at.take();
        if let Some(first) = first {
            self.open.remove(&(first, producer_id));
        }
        first
    }

    /// First offset of the oldest open transaction.
    pub fn first_open(&self) -> Option<i64> {
        self.open.first().map(|(offset, _)| *offset)
    }

    fn entry(&mut self, producer_id: i64, epoch: i16) -> &mut Producer {
        let producer = self.by_id.entry(producer_id).or_insert_with(|| Producer {
            epoch,
            recent: VecDeque::with_capacity(REMEMBERED_BATCHES),
            open_at: None,
            last_offset: 0,
        });
        if epoch > producer.epoch {
            producer.epoch = epoch;
            producer.recent.clear();
        }
        producer
    }

    fn forget_the_silent(&mut self) {
        if self.by_id.len() <= MAX_PRODUCERS {
            return;
        }
        let silent = self.by_id.iter().filter(|(_, p)| p.open_at.is_none()).min_by_key(|(_, p)| p.last_offset);
        if let Some(id) = silent.map(|(id, _)| *id) {
            self.by_id.remove(&id);
        }
    }
}
