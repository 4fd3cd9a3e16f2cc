//! One table's hot keys in memory: what was read or written lately, decoded, before and after it is committed.
//!
//! ```text
//! read ─▶ young ─(half the budget is full)─▶ old ─(again)─▶ dropped, if the store has it
//!           ▲──────────── read or written ────┘
//! ```
//!
//! A value that was written is *dirty* until the transaction that holds it has been committed and stored: so long it
//! stays, whatever the budget says, because the store still has the one before. Events under way and batches are
//! bounded elsewhere, hence so is what is dirty. With one commit under way at a time, a write that was released after
//! `n` commits is in the store after commit `n + 2` at the latest: it joins the batch that is being gathered, and at
//! most one other is being committed before it.

use std::{collections::HashMap, sync::Arc};

/// Commits after which what was released before them is in the store.
const SETTLED_AFTER: u64 = 2;
/// About what an entry takes beside its value, in bytes.
const OVERHEAD: usize = 96;

struct Entry<V> {
    value: V,
    /// The value as it was written last, where that is kept: what it goes back to.
    written: Option<Arc<[u8]>>,
    /// About the bytes of the value.
    weight: usize,
    /// Writes that have not joined a batch yet.
    unreleased: u32,
    /// In the store after so many commits.
    settled_at: u64,
}

/// The keys of one table of one partition that were in use lately.
pub struct Recent<V> {
    young: HashMap<Box<[u8]>, Entry<V>>,
    old: HashMap<Box<[u8]>, Entry<V>>,
    /// Bytes of the young.
    young_weight: usize,
    /// Bytes of the old.
    old_weight: usize,
    /// Bytes, old and young together, that clean values may take.
    budget: usize,
    commits: u64,
}

impl<V> Recent<V> {
    /// Nothing yet. `budget` in bytes.
    pub fn new(budget: usize) -> Self {
        Recent { young: HashMap::new(), old: HashMap::new(), young_weight: 0, old_weight: 0, budget, commits: 0 }
    }

    /// Changes the budget; what is above it goes with the next commits.
    pub fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// Sees to it that a key's value is in memory; `load` gives it and its weight in bytes where it is not.
    pub fn warm<E>(&mut self, key: &[u8], load: impl FnOnce() -> Result<(V, usize), E>) -> Result<(), E> {
        if self.young.contains_key(key) {
            return Ok(());
        }
        let entry = match self.old.remove(key) {
            Some(entry) => {
                self.old_weight -= entry.weight + key.len() + OVERHEAD;
                entry
            }
            None => {
                let (value, weight) = load()?;
                Entry { value, written: None, weight, unreleased: 0, settled_at: 0 }
            }
        };
        self.young_weight += entry.weight + key.len() + OVERHEAD;
        self.young.insert(key.into(), entry);
        Ok(())
    }

    /// The value of a key that [`Recent::warm`] has brought.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        self.young.get_mut(key).map(|entry| &mut entry.value)
    }

    /// The key's value was changed by an event that has not left yet. `weight`: bytes of the value now.
    pub fn wrote(&mut self, key: &[u8], weight: usize) {
        if let Some(entry) = self.young.get_mut(key) {
            self.young_weight = self.young_weight + weight - entry.weight;
            entry.weight = weight;
            entry.unreleased += 1;
        }
    }

    /// Keeps what was written of a key, as what its value is to go back to.
    pub fn keep(&mut self, key: &[u8], written: Arc<[u8]>) {
        if let Some(entry) = self.young.get_mut(key) {
            entry.written = Some(written);
        }
    }

    /// What was written of a key last, if it was kept.
    pub fn written(&self, key: &[u8]) -> Option<Arc<[u8]>> {
        self.young.get(key).or_else(|| self.old.get(key))?.written.clone()
    }

    /// A write of this key has joined the batch that is being gathered.
    pub fn released(&mut self, key: &[u8]) {
        let entry = match self.young.get_mut(key) {
            Some(entry) => Some(entry),
            None => self.old.get_mut(key),
        };
        if let Some(entry) = entry {
            entry.unreleased = entry.unreleased.saturating_sub(1);
            entry.settled_at = self.commits + SETTLED_AFTER;
        }
    }

    /// A batch was committed and stored.
    pub fn committed(&mut self) {
        self.commits += 1;
        if self.young_weight.max(self.old_weight) > self.budget / 2 {
            self.turn_over();
        }
    }

    fn turn_over(&mut self) {
        let commits = self.commits;
        self.old.retain(|_, entry| entry.unreleased > 0 || entry.settled_at > commits);
        // What must stay is young again.
        let kept = std::mem::take(&mut self.old);
        self.old = std::mem::take(&mut self.young);
        self.old_weight = std::mem::take(&mut self.young_weight);
        self.young_weight = kept.iter().map(|(key, entry)| entry.weight + key.len() + OVERHEAD).sum();
        self.young = kept;
    }

    /// Keys in memory.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About the bytes that they take.
    pub fn weight(&self) -> usize {
        self.young_weight + self.old_weight
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, convert::Infallible};

    use proptest::prelude::*;

    use super::*;

    fn get<'a>(recent: &'a mut Recent<i64>, key: &[u8], store: i64) -> &'a mut i64 {
        recent.warm(key, || Ok::<_, Infallible>((store, 8))).unwrap();
        recent.get_mut(key).unwrap()
    }

    fn read(recent: &mut Recent<i64>, key: &[u8], store: i64) -> i64 {
        *get(recent, key, store)
    }

    #[test]
    fn what_was_read_is_not_loaded_again_until_the_budget_is_full() {
        let mut recent = Recent::new(10 * 128);
        assert_eq!(read(&mut recent, b"a", 1), 1);
        assert_eq!(read(&mut recent, b"a", 2), 1, "from memory");
        for key in 0..100u32 {
            read(&mut recent, &key.to_be_bytes(), 0);
            recent.committed();
        }
        assert_eq!(read(&mut recent, b"a", 2), 2, "dropped long ago");
        assert!(recent.weight() <= 12 * 128 && recent.len() < 15, "{}", recent.weight());
    }

    #[test]
    fn a_key_in_use_stays() {
        let mut recent = Recent::new(10 * 128);
        read(&mut recent, b"hot", 1);
        for key in 0..1_000u32 {
            read(&mut recent, &key.to_be_bytes(), 0);
            assert_eq!(read(&mut recent, b"hot", 2), 1);
            recent.committed();
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Write(u8),
        Release,
        /// The batch being gathered goes to the commit thread, where nothing is being committed.
        Seal,
        Commit,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0u8..12).prop_map(Op::Write),
            4 => Just(Op::Release),
            2 => Just(Op::Seal),
            2 => Just(Op::Commit),
        ]
    }

    proptest! {
        /// Writes, releases in order, batches, commits: whatever is dropped when, a read gives the last write.
        #[test]
        fn a_read_gives_the_last_write_whatever_was_dropped(ops in prop::collection::vec(op(), 1..400)) {
            let mut recent = Recent::new(0);
            let (mut store, mut truth) = (BTreeMap::new(), BTreeMap::new());
            let mut under_way = std::collections::VecDeque::new();
            let (mut gathered, mut flying) = (Vec::new(), None::<Vec<(u8, i64)>>);
            for (count, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Write(key) => {
                        let value = get(&mut recent, &[key], *store.get(&key).unwrap_or(&0));
                        prop_assert_eq!(*value, *truth.get(&key).unwrap_or(&0));
                        *value = count as i64 + 1;
                        truth.insert(key, count as i64 + 1);
                        recent.wrote(&[key], 8);
                        under_way.push_back((key, count as i64 + 1));
                    }
                    Op::Release => if let Some((key, value)) = under_way.pop_front() {
                        gathered.push((key, value));
                        recent.released(&[key]);
                    },
                    Op::Seal => if flying.is_none() {
                        flying = Some(std::mem::take(&mut gathered));
                    },
                    Op::Commit => if let Some(batch) = flying.take() {
                        store.extend(batch);
                        recent.committed();
                    },
                }
            }
            for key in 0..12 {
                let value = get(&mut recent, &[key], *store.get(&key).unwrap_or(&0));
                prop_assert_eq!(*value, *truth.get(&key).unwrap_or(&0));
            }
        }
    }
}
