//! One input partition's state: its tables, and how much of each changelog is in them. Written by one thread at a time.

use std::{ops::Bound, sync::Arc};

use fjall::{Keyspace, OwnedWriteBatch, Slice};
use parking_lot::Mutex;

use super::{StoreError, Usage, layout, store::Shared};

/// Entries that go in one batch where a whole table is deleted.
const CHUNK: usize = 1_000;

/// How much of a table's changelog is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The next offset to read.
    pub offset: i64,
    /// Tells the changelog partition from one of the same name elsewhere or recreated.
    pub tag: u32,
    /// When everything before `offset` was all there is, or earlier; milliseconds since 1970.
    pub at_ms: i64,
}

/// One entry to write.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Index in the store's tables.
    pub table: usize,
    pub key: &'a [u8],
    /// `None` deletes it.
    pub value: Option<&'a [u8]>,
    /// When it was written to the changelog, milliseconds since 1970; [`PartitionStore::sweep`] goes by it.
    pub at_ms: i64,
}

/// How far a batch brings a table.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    pub table: usize,
    pub next_offset: i64,
    /// See [`Position::at_ms`].
    pub at_ms: i64,
}

/// A key's value, and when it was written.
#[derive(Debug, Clone)]
pub struct Entry(Slice);

impl Entry {
    /// The value, as it was given.
    pub fn value(&self) -> &[u8] {
        layout::read_entry(&self.0).map_or(&[], |(_, value)| value)
    }

    /// Milliseconds since 1970.
    pub fn at_ms(&self) -> i64 {
        layout::read_entry(&self.0).map_or(0, |(at_ms, _)| at_ms)
    }
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub seen: usize,
    pub removed: usize,
    /// The end of the table was reached; the next sweep begins at its start.
    pub is_round: bool,
}

/// A handle of a partition's state. Clones are the same partition.
#[derive(Clone)]
pub struct PartitionStore {
    shared: Arc<Shared>,
    keyspace: Keyspace,
    partition: i32,
    tables: Arc<Mutex<Vec<Table>>>,
    /// The beginning of each table's keys.
    prefixes: Arc<[Vec<u8>]>,
}

/// What is known of a table in memory.
#[derive(Default)]
struct Table {
    position: Option<Position>,
    /// Where the next sweep begins.
    cursor: Option<Slice>,
}

impl PartitionStore {
    pub(super) fn open(shared: Arc<Shared>, keyspace: Keyspace, partition: i32) -> Result<Self, StoreError> {
        let tables = shared
            .tables
            .iter()
            .map(|table| {
                let stored = shared.call(|| keyspace.get(layout::position_key(table)))?;
                let position = stored.as_deref().and_then(layout::read_position);
                Ok(Table { position, cursor: None })
            })
            .collect::<Result<_, StoreError>>()?;
        let prefixes = shared.tables.iter().map(|table| layout::prefix(table)).collect();
        Ok(PartitionStore { shared, keyspace, partition, tables: Arc::new(Mutex::new(tables)), prefixes })
    }

    /// Which partition it is.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The store's tables.
    pub fn tables(&self) -> &[Arc<str>] {
        &self.shared.tables
    }

    /// A key's entry. Reads the disk where it is in no cache.
    pub fn get(&self, table: usize, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let key = layout::entry_key(self.prefix(table), key);
        let found = self.shared.call(|| self.keyspace.get(key))?;
        match found {
            Some(entry) if layout::read_entry(&entry).is_none() => Err(StoreError::Corrupt {
                path: self.shared.path.clone(),
                message: format!("an entry of table {} is too short", self.name(table)),
            }),
            found => Ok(found.map(Entry)),
        }
    }

    /// Writes entries and positions: all of it or, after a crash, nothing. Not synced to the disk: the changelog is the
    /// truth. Waits where the disk falls far behind.
    pub fn apply<'a>(&self, writes: impl IntoIterator<Item = Write<'a>>, marks: &[Mark]) -> Result<(), StoreError> {
        let mut tables = self.tables.lock();
        let mut batch = self.shared.database.batch();
        for write in writes {
            let key = layout::entry_key(self.prefix(write.table), write.key);
            match write.value {
                Some(value) => batch.insert(&self.keyspace, key, layout::entry(write.at_ms, value)),
                None => batch.remove(&self.keyspace, key),
            }
        }
        for mark in marks {
            let Some(Position { tag, .. }) = tables.get(mark.table).and_then(|table| table.position) else {
                let (table, partition) = (self.name(mark.table).to_owned(), self.partition);
                return Err(StoreError::NotRestored { table, partition });
            };
            self.place(&mut batch, mark.table, Position { offset: mark.next_offset, tag, at_ms: mark.at_ms });
        }
        self.shared.call(|| batch.commit())?;
        for mark in marks {
            if let Some(position) = tables.get_mut(mark.table).and_then(|table| table.position.as_mut()) {
                (position.offset, position.at_ms) = (mark.next_offset, mark.at_ms);
            }
        }
        Ok(())
    }

    /// How much of a table's changelog is here; `None`: nothing of it that is of use.
    pub fn position(&self, table: usize) -> Option<Position> {
        self.tables.lock().get(table)?.position
    }

    /// Sets a table's position, entries being as they are: where a restore begins, and where it has seen all there was.
    pub fn adopt(&self, table: usize, position: Position) -> Result<(), StoreError> {
        let mut tables = self.tables.lock();
        let mut batch = self.shared.database.batch();
        self.place(&mut batch, table, position);
        self.shared.call(|| batch.commit())?;
        if let Some(table) = tables.get_mut(table) {
            table.position = Some(position);
        }
        Ok(())
    }

    /// Forgets a table; a crash on the way leaves it without a position. Takes its time for a large one: not for a
    /// worker's thread.
    pub fn wipe(&self, table: usize) -> Result<(), StoreError> {
        let mut tables = self.tables.lock();
        self.wipe_named(self.name(table))?;
        if let Some(table) = tables.get_mut(table) {
            *table = Table::default();
        }
        Ok(())
    }

    /// Forgets the tables that the store was not opened with, and gives their names. Takes its time, as
    /// [`PartitionStore::wipe`] does.
    pub fn wipe_strangers(&self) -> Result<Vec<String>, StoreError> {
        let _tables = self.tables.lock();
        let names: Vec<String> = self.shared.call(|| {
            self.keyspace
                .prefix(layout::POSITIONS)
                .map(|entry| Ok(layout::table_of(&entry.key()?).unwrap_or_default().to_owned()))
                .collect()
        })?;
        let strange = |name: &String| !self.shared.tables.iter().any(|table| **table == **name);
        let strangers: Vec<String> = names.into_iter().filter(strange).collect();
        for name in &strangers {
            self.wipe_named(name)?;
        }
        Ok(strangers)
    }

    /// Removes a table's entries that were written before a time. Looks at most at so many entries, and the next call
    /// goes on behind them.
    pub fn sweep(&self, table: usize, older_than_ms: i64, budget: usize) -> Result<Swept, StoreError> {
        let mut tables = self.tables.lock();
        let Some(place) = tables.get_mut(table) else { return Ok(Swept::default()) };
        let prefix = self.prefix(table);
        let start = match place.cursor.take() {
            Some(cursor) => Bound::Excluded(cursor),
            None => Bound::Included(Slice::from(prefix)),
        };
        let range = (start, Bound::Excluded(Slice::from(layout::end(prefix))));
        let (mut swept, mut last) = (Swept::default(), None);
        let mut batch = self.shared.database.batch();
        self.shared.call(|| {
            for entry in self.keyspace.range(range).take(budget) {
                let (key, value) = entry.into_inner()?;
                swept.seen += 1;
                // An entry without a time is no entry.
                if layout::read_entry(&value).is_none_or(|(at_ms, _)| at_ms < older_than_ms) {
                    batch.remove(&self.keyspace, key.clone());
                    swept.removed += 1;
                }
                last = Some(key);
            }
            batch.commit()
        })?;
        swept.is_round = swept.seen < budget;
        place.cursor = last.filter(|_| !swept.is_round);
        Ok(swept)
    }

    /// What it takes of the disk, without journals.
    pub fn usage(&self) -> Usage {
        Usage { bytes: self.keyspace.disk_space(), keys: self.keyspace.approximate_len() as u64 }
    }

    fn wipe_named(&self, table: &str) -> Result<(), StoreError> {
        self.shared.call(|| {
            // What a crash leaves is then not taken for a table, and is still found here.
            self.keyspace.insert(layout::position_key(table), layout::BEING_WIPED)?;
            let prefix = layout::prefix(table);
            let end = layout::end(&prefix);
            let mut entries = self.keyspace.range(prefix..end);
            loop {
                let mut batch = self.shared.database.batch();
                for entry in entries.by_ref().take(CHUNK) {
                    batch.remove(&self.keyspace, entry.key()?);
                }
                if batch.is_empty() {
                    return self.keyspace.remove(layout::position_key(table));
                }
                batch.commit()?;
            }
        })
    }

    fn place(&self, batch: &mut OwnedWriteBatch, table: usize, position: Position) {
        batch.insert(&self.keyspace, layout::position_key(self.name(table)), layout::position(position));
    }

    fn prefix(&self, table: usize) -> &[u8] {
        self.prefixes.get(table).map_or(&[], Vec::as_slice)
    }

    fn name(&self, table: usize) -> &str {
        self.shared.tables.get(table).map_or("", |name| name)
    }
}
