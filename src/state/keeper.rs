//! The state of one stage: for each partition and table the hot keys, in front of what is durable.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Recent, StoreError};

/// What goes wrong with what is durable. Nothing is lost: what is committed lies in the changelogs.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateError {
    /// See the store's error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The message says why a changelog cannot be read.
    #[error("HW508 {0}")]
    Changelog(String),
}

/// A changelog's end as far as a store has it: table and the next offset.
pub type End = (usize, i64);

/// The durable side of a stage's state: stores, restored from their changelogs.
pub trait Durable: Send {
    /// Begins to make a partition's tables equal to their changelogs. Forgets an earlier such request for it.
    fn open(&mut self, partition: i32);

    /// Whether that is done.
    fn is_open(&mut self, partition: i32) -> Result<bool, StateError>;

    /// The partition is no longer ours.
    fn close(&mut self, partition: i32);

    /// What is stored of a key.
    fn get(&self, partition: i32, table: usize, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// Stores committed values (table, key, value) and how far the changelogs are in the store with them: all or nothing.
    fn apply(&mut self, partition: i32, writes: &[(usize, &[u8], &[u8])], ends: &[End]) -> Result<(), StateError>;
}

/// Values of committed records and changelog ends of one partition, as they are stored together.
#[derive(Default)]
struct Share<'a> {
    writes: Vec<(usize, &'a [u8], &'a [u8])>,
    ends: Vec<End>,
}

/// The state of one stage, by partition, table and key.
pub struct Keeper<V> {
    durable: Box<dyn Durable>,
    tables: usize,
    /// Bytes that clean values of all partitions may take in memory.
    budget: usize,
    partitions: BTreeMap<i32, Vec<Recent<V>>>,
    fault: Option<StateError>,
    /// About the bytes that all keepers of the stage have in memory, and how much of it is ours.
    gauge: Arc<AtomicU64>,
    gauged: u64,
}

impl<V> Keeper<V> {
    /// State in so many tables. `budget`: bytes of memory for keys in use lately.
    pub fn new(durable: Box<dyn Durable>, tables: usize, budget: usize) -> Self {
        let (partitions, gauge) = (BTreeMap::new(), Arc::default());
        Keeper { durable, tables, budget, partitions, fault: None, gauge, gauged: 0 }
    }

    /// Tells this gauge, which other keepers may share, about how many bytes are in memory.
    pub fn with_gauge(mut self, gauge: Arc<AtomicU64>) -> Self {
        self.gauge = gauge;
        self
    }

    /// The partition is ours now, or begins again from what is committed: nothing in memory counts any more.
    pub fn opening(&mut self, partition: i32) {
        self.partitions.insert(partition, (0..self.tables).map(|_| Recent::new(0)).collect());
        self.share_budget();
        self.durable.open(partition);
    }

    /// Whether the partition's state is restored.
    pub fn is_open(&mut self, partition: i32) -> bool {
        match self.durable.is_open(partition) {
            Ok(open) => open,
            Err(error) => {
                self.fault.get_or_insert(error);
                false
            }
        }
    }

    /// These are ours still; the others are not.
    pub fn retain(&mut self, partitions: &[i32]) {
        let gone: Vec<i32> =
            self.partitions.keys().copied().filter(|partition| !partitions.contains(partition)).collect();
        for partition in gone {
            self.partitions.remove(&partition);
            self.durable.close(partition);
        }
        self.share_budget();
    }

    fn share_budget(&mut self) {
        let each = self.budget / (self.partitions.len() * self.tables).max(1);
        self.partitions.values_mut().flatten().for_each(|recent| recent.set_budget(each));
    }

    /// The value of a key, read from the store where it is not in memory. `None`: it cannot be had, and
    /// [`Keeper::fault`] says why; nothing may be committed then.
    pub fn get(
        &mut self,
        partition: i32,
        table: usize,
        key: &[u8],
        decode: impl FnOnce(Option<&[u8]>) -> V,
    ) -> Option<&mut V> {
        let Some(recent) = self.partitions.get_mut(&partition).and_then(|tables| tables.get_mut(table)) else {
            // A defect of ours: going on without it would lose what the event counts.
            let (table, partition) = (format!("number {table}"), partition);
            self.fault.get_or_insert(StoreError::NotRestored { table, partition }.into());
            return None;
        };
        let durable = &self.durable;
        let warmed = recent.warm(key, || {
            let stored = durable.get(partition, table, key)?;
            let weight = stored.as_ref().map_or(0, Vec::len);
            Ok((decode(stored.as_deref()), weight))
        });
        match warmed {
            Ok(()) => recent.get_mut(key),
            Err(error) => {
                self.fault.get_or_insert(error);
                None
            }
        }
    }

    /// The value was changed by an event under way; `bytes` is how long it is as written.
    pub fn wrote(&mut self, partition: i32, table: usize, key: &[u8], bytes: usize) {
        if let Some(recent) = self.recent(partition, table) {
            recent.wrote(key, bytes);
        }
    }

    /// The same, and keeps what was written for [`Keeper::revert`].
    pub fn wrote_and_kept(&mut self, partition: i32, table: usize, key: &[u8], written: Arc<[u8]>) {
        if let Some(recent) = self.recent(partition, table) {
            // It is in memory twice: as it is, and as it was written.
            recent.wrote(key, 2 * written.len());
            recent.keep(key, written);
        }
    }

    /// The value was changed halfway: it is again what was written last, or what is stored.
    pub fn revert(&mut self, partition: i32, table: usize, key: &[u8], decode: impl FnOnce(Option<&[u8]>) -> V) {
        let Some(recent) = self.partitions.get_mut(&partition).and_then(|tables| tables.get_mut(table)) else { return };
        let last = match recent.written(key) {
            Some(written) => decode(Some(&written)),
            None => match self.durable.get(partition, table, key) {
                Ok(stored) => decode(stored.as_deref()),
                Err(error) => {
                    self.fault.get_or_insert(error);
                    return;
                }
            },
        };
        if let Some(value) = recent.get_mut(key) {
            *value = last;
        }
    }

    /// That write has joined the batch that is being gathered.
    pub fn released(&mut self, partition: i32, table: usize, key: &[u8]) {
        if let Some(recent) = self.recent(partition, table) {
            recent.released(key);
        }
    }

    fn recent(&mut self, partition: i32, table: usize) -> Option<&mut Recent<V>> {
        self.partitions.get_mut(&partition)?.get_mut(table)
    }

    /// A transaction was committed: stores what it holds of partitions that are ours. `records`: partition, table, key,
    /// value; `ends`: partition, table and next offset of their changelogs.
    pub fn committed<'a>(
        &mut self,
        records: impl Iterator<Item = (i32, usize, &'a [u8], &'a [u8])>,
        ends: impl Iterator<Item = (i32, usize, i64)>,
    ) {
        let mut shares: BTreeMap<i32, Share<'_>> = BTreeMap::new();
        for (partition, table, key, value) in records {
            shares.entry(partition).or_default().writes.push((table, key, value));
        }
        for (partition, table, next) in ends {
            if let Some(share) = shares.get_mut(&partition) {
                share.ends.push((table, next));
            }
        }
        for (partition, share) in shares {
            if let Err(error) = self.durable.apply(partition, &share.writes, &share.ends) {
                self.fault.get_or_insert(error);
            }
        }
        self.partitions.values_mut().flatten().for_each(Recent::committed);
        let bytes = self.memory().1 as u64;
        self.gauge.fetch_add(bytes.wrapping_sub(self.gauged), Relaxed);
        self.gauged = bytes;
    }

    /// What makes going on impossible, once.
    pub fn fault(&mut self) -> Option<StateError> {
        self.fault.take()
    }

    /// Keys in memory and about the bytes that they take.
    pub fn memory(&self) -> (usize, usize) {
        let recents = || self.partitions.values().flatten();
        (recents().map(Recent::len).sum(), recents().map(Recent::weight).sum())
    }
}
