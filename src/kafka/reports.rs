//! What delivery reports tell of one transaction: how many there were, what failed, where state topics end.

use std::{collections::BTreeMap, sync::atomic::AtomicBool};

use parking_lot::{Condvar, Mutex};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::engine::Batch;

/// Where a state topic's partition ends for whoever has seen all of a transaction's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Index among the output topics.
    pub topic: usize,
    pub partition: i32,
    /// One past the last record's offset.
    pub next: i64,
}

/// What delivery reports have told since the transaction began.
#[derive(Default)]
pub(super) struct Reports {
    /// Reports of earlier attempts come late and do not count.
    pub attempt: u32,
    pub delivered: usize,
    pub failed: Vec<(usize, Code)>,
    /// Offsets of records of state topics; negative where the broker did not tell (a retry of what it had already).
    pub offsets: Vec<(usize, i64)>,
}

/// In a record's opaque: its offset is wanted.
pub(super) const TRACKED: usize = 1 << 31;

#[derive(Default)]
pub(super) struct Shared {
    pub reports: Mutex<Reports>,
    pub changed: Condvar,
    /// A connection has failed or a request timed out since this producer was made: librdkafka retries EndTxn by itself,
    /// so a success may be a straggler's. Sticky, because it reports identical errors once in 30 s only.
    pub tainted: AtomicBool,
}

impl Shared {
    /// Begins to count reports anew; gives what the records' opaques are to be made of.
    pub fn begin(&self) -> usize {
        let mut reports = self.reports.lock();
        let attempt = reports.attempt.wrapping_add(1);
        *reports = Reports { attempt, ..Reports::default() };
        (attempt as usize) << 32
    }
}

/// The end of each state topic's partition in a batch, as far as the broker told.
pub(super) fn written(batch: &Batch, offsets: &[(usize, i64)]) -> Vec<Written> {
    if offsets.is_empty() {
        return Vec::new();
    }
    let places: Vec<_> = batch.outputs.iter().map(|(output, _, _)| (output.topic, output.partition)).collect();
    let mut ends: BTreeMap<(usize, i32), Option<i64>> = BTreeMap::new();
    for (index, offset) in offsets {
        let end = ends.entry(places[*index]).or_insert(Some(0));
        *end = end.filter(|_| *offset >= 0).map(|end| end.max(offset + 1));
    }
    let known =
        ends.into_iter().filter_map(|((topic, partition), next)| Some(Written { topic, partition, next: next? }));
    known.collect()
}
