//! What is durable of a stage's state: a local store, restored from the changelogs before a partition opens, and swept of
//! what is older than its window.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    clock,
    config::Settings,
    kafka::{Changelog, DELETE_RETENTION_MS, RestoreError, Restorer},
    state::{Durable, Limits, Mark, PartitionStore, Position, StateError, Store, StoreError, Write},
    worker::Stats,
};

/// What the store takes of the disk is looked at this often.
const LOOK: Duration = Duration::from_secs(10);
/// Per write of a windowed table so many of its entries are looked at while it is swept, and these beside.
const SWEEP_PER_WRITE: usize = 4;
const SWEEP_MORE: usize = 64;

/// One table and its changelog topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTable {
    /// The agent's name, `decide` or `dedup`.
    pub name: Arc<str>,
    /// `<topology>.state.<name>`.
    pub topic: Arc<str>,
    /// How long an entry counts; `None` is for ever.
    pub window: Option<Duration>,
}

/// A partition that is ours.
struct Held {
    /// Of its restore.
    epoch: u64,
    /// Once it is restored.
    store: Option<PartitionStore>,
    /// Of each table, when the next sweep may begin.
    sweep_at: Vec<Instant>,
}

/// The local store of a worker's stage, with the thread that restores it.
pub struct LocalState {
    // First, so that it stops before the store closes.
    restorer: Restorer,
    store: Arc<Store>,
    windows: Vec<Option<Duration>>,
    held: BTreeMap<i32, Held>,
    epochs: u64,
    stats: Arc<Stats>,
    looked: Instant,
}

impl LocalState {
    /// Opens the store in that folder, which may be new, and starts the thread that restores it. `partitions`: about as
    /// many as it may hold, among which it shares its memory.
    pub fn open(
        settings: &Settings,
        folder: &Path,
        tables: &[StateTable],
        partitions: u32,
        stats: Arc<Stats>,
    ) -> Result<Self, StateError> {
        let store = Arc::new(Store::open_with(
            folder,
            tables.iter().map(|table| table.name.clone()).collect(),
            Limits { partitions, ..Limits::default() },
        )?);
        let changelog =
            |table: &StateTable| Changelog { topic: table.topic.to_string(), delete_retention_ms: DELETE_RETENTION_MS };
        // The worker asks by itself every few milliseconds while a partition waits.
        let restorer = Restorer::start(settings, store.clone(), tables.iter().map(changelog).collect(), || {})
            .map_err(state_error)?;
        let now = clock::now();
        Ok(LocalState {
            restorer,
            store,
            windows: tables.iter().map(|table| table.window).collect(),
            held: BTreeMap::new(),
            epochs: 0,
            stats,
            looked: now,
        })
    }

    /// Until now the changelogs held no more than the store: says so, lest a quiet partition's copy be thought too old to
    /// have seen every deletion.
    fn vouch(&self, partition: i32, store: &PartitionStore) {
        let at_ms = clock::unix_ms();
        for table in 0..self.windows.len() {
            if let Some(position) = store.position(table)
                && let Err(error) = store.adopt(table, Position { at_ms, ..position })
            {
                tracing::warn!(partition, table, %error, "the local copy may be rebuilt at the next start");
            }
        }
    }

    /// Damage that was found late: the copy goes at once, so that the next start does not meet it again.
    fn drop_damaged(&self, partition: i32, error: &StoreError) {
        if error.is_corrupt() {
            tracing::error!(partition, %error, "the partition's local copy is dropped and will be restored");
            if let Err(error) = self.store.drop_partition(partition) {
                tracing::error!(partition, %error, "it cannot be dropped");
            }
        }
    }
}

impl Drop for LocalState {
    fn drop(&mut self) {
        for (partition, held) in std::mem::take(&mut self.held) {
            if let Some(store) = held.store {
                self.vouch(partition, &store);
            }
        }
    }
}

fn state_error(error: RestoreError) -> StateError {
    match error {
        RestoreError::Store(error) => StateError::Store(error),
        error => StateError::Changelog(error.to_string()),
    }
}

impl Durable for LocalState {
    fn open(&mut self, partition: i32) {
        self.epochs += 1;
        let sweep_at = vec![clock::now(); self.windows.len()];
        self.held.insert(partition, Held { store: None, epoch: self.epochs, sweep_at });
        self.restorer.begin(partition, self.epochs);
    }

    fn is_open(&mut self, partition: i32) -> Result<bool, StateError> {
        let Some(held) = self.held.get_mut(&partition) else { return Ok(false) };
        match self.restorer.is_done(partition, held.epoch) {
            Ok(true) if held.store.is_none() => {
                held.store = Some(self.store.partition(partition)?);
                Ok(true)
            }
            Err(RestoreError::Store(error)) if error.is_corrupt() => {
                self.drop_damaged(partition, &error);
                self.open(partition);
                Ok(false)
            }
            answer => answer.map_err(state_error),
        }
    }

    fn close(&mut self, partition: i32) {
        self.restorer.cancel(partition);
        if let Some(store) = self.held.remove(&partition).and_then(|held| held.store) {
            self.vouch(partition, &store);
        }
    }

    fn get(&self, partition: i32, table: usize, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        // Nothing known is not the same as nothing there.
        let Some(store) = self.held.get(&partition).and_then(|held| held.store.as_ref()) else {
            let table = self.store.tables().get(table).map_or_else(String::new, |name| name.to_string());
            return Err(StoreError::NotRestored { table, partition }.into());
        };
        match store.get(table, key) {
            Ok(entry) => Ok(entry.map(|entry| entry.value().to_vec())),
            Err(error) => {
                self.drop_damaged(partition, &error);
                Err(error.into())
            }
        }
    }

    fn apply(
        &mut self,
        partition: i32,
        writes: &[(usize, &[u8], &[u8])],
        ends: &[(usize, i64)],
    ) -> Result<(), StateError> {
        let Some(Held { store: Some(store), sweep_at, .. }) = self.held.get_mut(&partition) else { return Ok(()) };
        let (now, at_ms) = (clock::now(), clock::unix_ms());
        let entries = writes.iter().map(|(table, key, value)| Write { table: *table, key, value: Some(value), at_ms });
        let marks: Vec<Mark> =
            ends.iter().map(|(table, offset)| Mark { table: *table, next_offset: *offset, at_ms }).collect();
        store.apply(entries, &marks)?;
        for (table, window) in self.windows.iter().enumerate() {
            let Some(window) = window.filter(|_| sweep_at[table] <= now) else { continue };
            let written = writes.iter().filter(|(of, _, _)| *of == table).count();
            let older_than_ms = at_ms - window.as_millis() as i64;
            if store.sweep(table, older_than_ms, SWEEP_PER_WRITE * written + SWEEP_MORE)?.is_round {
                sweep_at[table] = now + window / 4;
            }
        }
        if now.duration_since(self.looked) >= LOOK {
            self.looked = now;
            self.stats.state_disk_bytes.store(self.store.usage().bytes, Relaxed);
        }
        Ok(())
    }
}
