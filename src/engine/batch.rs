//! What one transaction holds: encoded output records and the ledgers that mark their inputs done.

use std::{collections::HashSet, ops::Range};

/// An encoded record on its way out. Key and value lie in the arena of its [`Outputs`].
#[derive(Debug, Clone)]
pub struct Output {
    /// Index into the stage's output topics.
    pub topic: usize,
    pub partition: i32,
    /// Place of the input record it was made from.
    pub source: (i32, i64),
    key: Range<usize>,
    value: Range<usize>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

/// Output records in one arena, so that a record costs no allocation of its own.
#[derive(Debug, Default)]
pub struct Outputs {
    arena: Vec<u8>,
    records: Vec<Output>,
}

impl Outputs {
    /// Adds a record; `encode` appends its value to the buffer. Where it fails or the value is longer than `limit`
    /// bytes nothing is added.
    pub fn push<E>(
        &mut self,
        topic: usize,
        partition: i32,
        source: (i32, i64),
        key: &[u8],
        limit: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<&mut Output, PushError<E>> {
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        let value = self.arena.len();
        let failed = match encode(&mut self.arena) {
            Ok(()) if self.arena.len() - value <= limit => None,
            Ok(()) => Some(PushError::TooLarge { bytes: self.arena.len() - value, limit }),
            Err(error) => Some(PushError::Encode(error)),
        };
        if let Some(error) = failed {
            self.arena.truncate(start);
            return Err(error);
        }
        let output =
            Output { topic, partition, source, key: start..value, value: value..self.arena.len(), headers: Vec::new() };
        Ok(self.records.push_mut(output))
    }

    /// How many of the records added since the mark go to that topic.
    pub fn added(&self, since: Mark, topic: usize) -> usize {
        self.records[since.records..].iter().filter(|output| output.topic == topic).count()
    }

    /// Where it ends now, for [`Outputs::reset`].
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.arena.len(), records: self.records.len() }
    }

    /// Of records with the same topic, partition and key leaves the last one, for topics from `first` on: their values
    /// say all of a key's state, so the earlier ones say nothing more.
    pub fn keep_last_of_each_key(&mut self, first: usize) {
        if self.records.iter().all(|output| output.topic < first) {
            return;
        }
        let mut seen = HashSet::new();
        let mut keep: Vec<bool> = self.records.iter().map(|output| output.topic < first).collect();
        for (output, keep) in self.records.iter().zip(&mut keep).rev() {
            *keep = *keep || seen.insert((output.topic, output.partition, &self.arena[output.key.clone()]));
        }
        let mut keep = keep.into_iter();
        self.records.retain(|_| keep.next().unwrap_or(true));
    }

    /// Drops what was added since the mark.
    pub fn reset(&mut self, mark: Mark) {
        self.arena.truncate(mark.bytes);
        self.records.truncate(mark.records);
    }

    /// Every record with its key and value.
    pub fn iter(&self) -> impl Iterator<Item = (&Output, &[u8], &[u8])> {
        self.records.iter().map(|output| (output, &self.arena[output.key.clone()], &self.arena[output.value.clone()]))
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.records.clear();
    }
}

/// A place in [`Outputs`] to go back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    bytes: usize,
    records: usize,
}

/// Why a record was not added.
#[derive(Debug, thiserror::Error)]
pub enum PushError<E> {
    #[error("{0}")]
    Encode(E),
    #[error("the record would be {bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

/// A partition's ledger as it is to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    pub partition: i32,
    /// The first offset that is not done.
    pub offset: i64,
    pub metadata: String,
}

/// One transaction's content. No record of a partition is in it without that partition's ledger.
#[derive(Debug, Default)]
pub struct Batch {
    pub outputs: Outputs,
    pub ledgers: Vec<LedgerEntry>,
}

impl Batch {
    /// Drops what belongs to partitions that are no longer ours.
    pub fn retain_partitions(&mut self, ours: impl Fn(i32) -> bool) {
        self.outputs.records.retain(|output| ours(output.source.0));
        if self.outputs.records.is_empty() {
            self.outputs.arena.clear();
        }
        self.ledgers.retain(|ledger| ours(ledger.partition));
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.ledgers.is_empty()
    }

    /// Empties it, keeping its memory for the next one.
    pub fn clear(&mut self) {
        self.outputs.clear();
        self.ledgers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_keys_states_in_one_batch_only_the_last_is_written() {
        let mut outputs = Outputs::default();
        for (topic, partition, key, value) in
            [(3, 0, "a", "1"), (0, 0, "a", "x"), (3, 0, "b", "2"), (3, 0, "a", "3"), (3, 1, "a", "4"), (0, 0, "a", "y")]
        {
            let copy = |out: &mut Vec<u8>| {
                out.extend_from_slice(value.as_bytes());
                Ok::<_, std::convert::Infallible>(())
            };
            outputs.push(topic, partition, (partition, 1), key.as_bytes(), 100, copy).unwrap();
        }
        outputs.keep_last_of_each_key(1);
        let left: Vec<_> = outputs.iter().map(|(_, _, value)| std::str::from_utf8(value).unwrap()).collect();
        assert_eq!(left, ["x", "2", "3", "4", "y"]);
    }
}
