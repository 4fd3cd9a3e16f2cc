//! A durable side in memory, for tests: a changelog that outlives crashes, and a store that is restored from it.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{Durable, StateError, keeper::End};

/// Table, key, value.
pub type Change = (usize, Vec<u8>, Vec<u8>);

/// What outlives a crash, of one partition.
#[derive(Default)]
pub struct Disk {
    pub changelog: Vec<Change>,
    pub store: BTreeMap<(usize, Vec<u8>), Vec<u8>>,
    /// How much of the changelog is in the store.
    pub stored: usize,
    /// Whether the next write to the store fails.
    pub is_full: bool,
}

impl Disk {
    /// What the changelog says.
    pub fn fold(&self) -> BTreeMap<(usize, Vec<u8>), Vec<u8>> {
        self.changelog.iter().map(|(table, key, value)| ((*table, key.clone()), value.clone())).collect()
    }
}

/// The durable side of partition 0.
#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<Disk>>);

impl Durable for Fake {
    fn open(&mut self, _: i32) {
        let mut disk = self.0.lock();
        let missing: Vec<Change> = disk.changelog[disk.stored..].to_vec();
        disk.store.extend(missing.into_iter().map(|(table, key, value)| ((table, key), value)));
        disk.stored = disk.changelog.len();
    }

    fn is_open(&mut self, _: i32) -> Result<bool, StateError> {
        Ok(true)
    }

    fn close(&mut self, _: i32) {}

    fn get(&self, _: i32, table: usize, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.lock().store.get(&(table, key.to_vec())).cloned())
    }

    fn apply(&mut self, _: i32, writes: &[(usize, &[u8], &[u8])], ends: &[End]) -> Result<(), StateError> {
        let mut disk = self.0.lock();
        if disk.is_full {
            return Err(StateError::Changelog("no space".to_owned()));
        }
        for (table, key, value) in writes {
            disk.store.insert((*table, key.to_vec()), value.to_vec());
        }
        if let Some((_, end)) = ends.first() {
            disk.stored = *end as usize;
        }
        Ok(())
    }
}
