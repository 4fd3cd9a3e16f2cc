//! Committed offsets of the groups, pure: those that are visible, and those that wait for their transaction's end.

use std::collections::{BTreeMap, HashMap};

use super::txn::TopicPartition;

/// Kafka's `offset.metadata.max.bytes`.
pub const MAX_METADATA_BYTES: usize = 4096;

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next record to read.
    pub offset: i64,
    /// −1 when the client did not say.
    pub leader_epoch: i32,
    /// Whatever the client wrote beside it.
    pub metadata: String,
}

#[derive(Debug)]
struct Numbered {
    /// Position among all commits: a plain commit made after a transactional one survives that one's end.
    number: u64,
    committed: Committed,
}

/// The offsets of one group.
#[derive(Debug, Default)]
pub struct GroupOffsets {
    visible: BTreeMap<TopicPartition, Numbered>,
    /// By producer id.
    pending: HashMap<i64, BTreeMap<TopicPartition, Numbered>>,
    next_number: u64,
}

impl GroupOffsets {
    /// A plain commit: visible at once.
    pub fn commit(&mut self, at: TopicPartition, committed: Committed) {
        let number = self.number();
        self.visible.insert(at, Numbered { number, committed });
    }

    /// A commit inside a transaction: visible when that commits.
    pub fn commit_pending(&mut self, producer_id: i64, at: TopicPartition, committed: Committed) {
        let number = self.number();
        self.pending.entry(producer_id).or_default().insert(at, Numbered { number, committed });
    }

    /// The producer's transaction ended.
    pub fn finish(&mut self, producer_id: i64, commit: bool) {
        let Some(pending) = self.pending.remove(&producer_id) else { return };
        if !commit {
            return;
        }
        for (at, numbered) in pending {
            let newer = self.visible.get(&at).is_some_and(|visible| visible.number > numbered.number);
            if !newer {
                self.visible.insert(at, numbered);
            }
        }
    }

    /// What is committed for a partition.
    pub fn get(&self, at: &TopicPartition) -> Option<&Committed> {
        self.visible.get(at).map(|numbered| &numbered.committed)
    }

    /// Whether an open transaction holds an offset of this partition.
    pub fn is_unstable(&self, at: &TopicPartition) -> bool {
        self.pending.values().any(|pending| pending.contains_key(at))
    }

    /// Everything that has an offset, committed or pending.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let mut all: Vec<_> =
            self.visible.keys().chain(self.pending.values().flat_map(|p| p.keys())).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Forgets a partition's offset. False if there was none.
    pub fn delete(&mut self, at: &TopicPartition) -> bool {
        self.visible.remove(at).is_some()
    }

    /// Forgets a topic that was deleted.
    pub fn delete_topic(&mut self, topic: &str) {
        self.visible.retain(|(t, _), _| t != topic);
        self.pending.values_mut().for_each(|pending| pending.retain(|(t, _), _| t != topic));
    }

    /// Nothing committed, nothing pending.
    pub fn is_empty(&self) -> bool {
        self.visible.is_empty() && self.pending.is_empty()
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
