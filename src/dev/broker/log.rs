//! One partition's log, in memory and pure: batches as they came, the last stable offset, aborted transactions.

use std::collections::VecDeque;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::batch::{self, BatchHeader};
use super::producer_state::{Producers, Verdict};

/// What a stored batch costs beside its bytes (entry, allocation, reference count).
const BATCH_OVERHEAD_BYTES: usize = 128;

#[derive(Debug, Clone)]
struct Stored {
    base: i64,
    last: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

/// A transaction that was aborted: a read-committed reader drops its records between first and last offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Who wrote it.
    pub producer_id: i64,
    /// Its first record here.
    pub first_offset: i64,
    /// Its marker.
    pub last_offset: i64,
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// False when it was there already.
    pub is_new: bool,
}

/// What a fetch found.
#[derive(Debug, Default)]
pub struct Read {
    /// Whole batches; the first may begin before the offset asked for.
    pub batches: Vec<Bytes>,
    /// Their size.
    pub bytes: usize,
    /// For a read-committed reader.
    pub aborted: Vec<Aborted>,
}

/// The log of one partition.
#[derive(Debug, Default)]
pub struct PartitionLog {
    batches: VecDeque<Stored>,
    start: i64,
    next: i64,
    bytes: usize,
    producers: Producers,
    aborted: VecDeque<Aborted>,
}

impl PartitionLog {
    /// The first offset that is still here.
    pub fn start_offset(&self) -> i64 {
        self.start
    }

    /// The offset that the next record will get (with one replica also the high watermark).
    pub fn end_offset(&self) -> i64 {
        self.next
    }

    /// Below it every transaction is decided.
    pub fn last_stable_offset(&self) -> i64 {
        self.producers.first_open().map_or(self.next, |open| open.max(self.start))
    }

    /// The end that a reader of this isolation sees.
    pub fn visible_end(&self, committed_only: bool) -> i64 {
        if committed_only { self.last_stable_offset() } else { self.next }
    }

    /// Memory that the log holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a verified batch. `append_time_ms` replaces its timestamps.
    ///
    /// # Errors
    /// `InvalidProducerEpoch` from a fenced producer, `OutOfOrderSequenceNumber` after a gap.
    pub fn append(
        &mut self,
        bytes: &Bytes,
        header: &BatchHeader,
        append_time_ms: Option<i64>,
    ) -> Result<Appended, ResponseError> {
        if let Verdict::Duplicate(base_offset) = self.producers.check(header)? {
            return Ok(Appended { base_offset, is_new: false });
        }
        let base_offset = self.next;
        self.producers.record(header, base_offset);
        let stored = batch::place(bytes, header, base_offset, append_time_ms);
        let max_timestamp = append_time_ms.unwrap_or(header.max_timestamp);
        self.push(base_offset + i64::from(header.last_offset_delta), max_timestamp, stored);
        Ok(Appended { base_offset, is_new: true })
    }

    /// Appends the marker that ends a producer's transaction; it occupies an offset.
    pub fn append_marker(&mut self, producer_id: i64, epoch: i16, commit: bool, now_ms: i64) {
        let offset = self.next;
        let first = self.producers.end(producer_id, epoch, offset);
        if let (Some(first_offset), false) = (first, commit) {
            self.aborted.push_back(Aborted { producer_id, first_offset, last_offset: offset });
        }
        self.push(offset, now_ms, batch::marker(offset, producer_id, epoch, commit, now_ms));
    }

    fn push(&mut self, last: i64, max_timestamp: i64, bytes: Bytes) {
        self.bytes += bytes.len() + BATCH_OVERHEAD_BYTES;
        self.batches.push_back(Stored { base: self.next, last, max_timestamp, bytes });
        self.next = last + 1;
    }

    /// Whole batches from `from` on, up to `max_bytes`; with `at_least_one` the first is given even if it is larger.
    ///
    /// # Errors
    /// `OffsetOutOfRange` when `from` is not in the log.
    pub fn read(
        &self,
        from: i64,
        max_bytes: usize,
        at_least_one: bool,
        committed_only: bool,
    ) -> Result<Read, ResponseError> {
        if from < self.start || from > self.next {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let mut read = Read::default();
        let end = self.visible_end(committed_only);
        let mut read_to = from;
        let first = self.batches.partition_point(|stored| stored.last < from);
        for stored in self.batches.range(first..) {
            // The first offset of an open transaction starts a batch, so no batch straddles the last stable offset.
            if stored.base >= end {
                break;
            }
            let must = at_least_one && read.batches.is_empty();
            if read.bytes + stored.bytes.len() > max_bytes && !must {
                break;
            }
            read.bytes += stored.bytes.len();
            read.batches.push(stored.bytes.clone());
            read_to = stored.last + 1;
        }
        if committed_only && !self.aborted.is_empty() {
            let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
            read.aborted.extend(self.aborted.range(first..).filter(|a| a.first_offset < read_to));
        }
        Ok(read)
    }

    /// Offset and timestamp of the first record at or after `time_ms` that a reader of this isolation sees.
    pub fn find_time(&self, time_ms: i64, committed_only: bool) -> Option<(i64, i64)> {
        let end = self.visible_end(committed_only);
        self.batches
            .iter()
            .take_while(|stored| stored.base < end)
            .filter(|stored| stored.max_timestamp >= time_ms)
            .find_map(|stored| batch::find_time(&stored.bytes, time_ms))
            .filter(|(offset, _)| *offset < end)
    }

    /// Offset and timestamp of the record with the largest timestamp.
    pub fn find_max_time(&self) -> Option<(i64, i64)> {
        let newest = self.batches.iter().rev().max_by_key(|stored| stored.max_timestamp)?;
        batch::find_time(&newest.bytes, newest.max_timestamp)
    }

    /// Forgets everything below `offset`, whoever wrote it, as DeleteRecords asks.
    ///
    /// # Errors
    /// `OffsetOutOfRange` beyond the end.
    pub fn delete_before(&mut self, offset: i64) -> Result<(), ResponseError> {
        if offset < 0 || offset > self.next {
            return Err(ResponseError::OffsetOutOfRange);
        }
        while let Some(gone) = self.batches.pop_front_if(|stored| stored.last < offset) {
            self.bytes -= gone.bytes.len() + BATCH_OVERHEAD_BYTES;
        }
        self.start = self.start.max(offset);
        self.forget_aborted();
        Ok(())
    }

    /// Whether there is a batch that no open transaction holds.
    pub fn can_drop(&self) -> bool {
        self.batches.front().is_some_and(|oldest| oldest.base < self.last_stable_offset())
    }

    /// Forgets the oldest batch, unless a transaction that is still open wrote it. Gives the bytes freed.
    pub fn drop_oldest(&mut self) -> usize {
        let stable = self.last_stable_offset();
        let Some(oldest) = self.batches.pop_front_if(|stored| stored.base < stable) else { return 0 };
        let freed = oldest.bytes.len() + BATCH_OVERHEAD_BYTES;
        self.bytes -= freed;
        self.start = oldest.last + 1;
        self.forget_aborted();
        freed
    }

    fn forget_aborted(&mut self) {
        while self.aborted.front().is_some_and(|aborted| aborted.last_offset < self.start) {
            self.aborted.pop_front();
        }
    }
}
