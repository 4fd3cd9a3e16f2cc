//! The store of one worker: a database in a folder of its own, opened by one at a time.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use fjall::{Database, KeyspaceCreateOptions};
use parking_lot::Mutex;

use super::{PartitionStore, StoreError, error::guarded};

/// The database's folder; the number is that of the layout, and another's is made anew.
const DATABASE: &str = "v1";
/// Held as long as the store is open.
const LOCK: &str = "lock";
/// There while the database is being opened.
const OPENING: &str = "opening";
/// Smallest memory for the newest writes of one partition.
const LEAST_BUFFER: u64 = 256 * 1024;
/// The least that the database allows for its journals.
const JOURNALS: u64 = 64 << 20;
/// Threads for flushing and compacting, one for each.
const THREADS: usize = 2;
/// Open files at most.
const OPEN_FILES: usize = 200;

/// What a store may take of the process.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory for blocks that were read.
    pub cache_bytes: u64,
    /// Memory for the newest writes of all partitions together. While the disk falls behind it may be several times
    /// that, before writes wait.
    pub write_buffer_bytes: u64,
    /// Partitions that it may hold.
    pub partitions: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { cache_bytes: 32 << 20, write_buffer_bytes: 32 << 20, partitions: 12 }
    }
}

/// What a store takes of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub bytes: u64,
    /// Approximately, and too many rather than too few: overwritten and deleted entries count until they are compacted.
    pub keys: u64,
}

/// An open store. Handles of its partitions keep it open.
pub struct Store {
    shared: Arc<Shared>,
    limits: Limits,
    was_rebuilt: bool,
    /// Handles that were given out: a partition's are all clones of one.
    partitions: Mutex<BTreeMap<i32, PartitionStore>>,
}

/// What the store and its partitions have in common. The database closes before its lock is given back.
pub(super) struct Shared {
    pub database: Database,
    pub path: PathBuf,
    pub tables: Vec<Arc<str>>,
    /// Why it takes no more writes.
    pub failed: Mutex<Option<StoreError>>,
    _lock: File,
}

impl Store {
    /// Opens the store in that folder, which may be new, for these tables. Files that cannot be read are deleted and the
    /// store begins anew: see [`Store::was_rebuilt`].
    pub fn open(folder: &Path, tables: Vec<Arc<str>>) -> Result<Self, StoreError> {
        Store::open_with(folder, tables, Limits::default())
    }

    /// The same, within other limits.
    pub fn open_with(folder: &Path, tables: Vec<Arc<str>>, limits: Limits) -> Result<Self, StoreError> {
        let io = |error: io::Error| StoreError::io(folder, &error);
        fs::create_dir_all(folder).map_err(io)?;
        let lock = lock(folder)?;
        let path = folder.join(DATABASE);
        let opening = folder.join(OPENING);
        let mut was_rebuilt = false;
        // Damaged files may even end the process: what was being opened then is not opened again.
        if opening.exists() {
            discard(&path, "the last opening did not come to its end")?;
            was_rebuilt = true;
        }
        File::create(&opening).map_err(io)?;
        let opened = match open(&path, limits) {
            Err(error @ StoreError::Corrupt { .. }) => {
                discard(&path, &error.to_string())?;
                was_rebuilt = true;
                open(&path, limits)
            }
            opened => opened,
        };
        fs::remove_file(&opening).map_err(io)?;
        let shared = Shared { database: opened?, path, tables, failed: Mutex::new(None), _lock: lock };
        Ok(Store { shared: Arc::new(shared), limits, was_rebuilt, partitions: Mutex::default() })
    }

    /// Whether what was in the folder could not be read and was deleted.
    pub fn was_rebuilt(&self) -> bool {
        self.was_rebuilt
    }

    /// The tables, as given at opening: a table's index is its place here.
    pub fn tables(&self) -> &[Arc<str>] {
        &self.shared.tables
    }

    /// A partition's part of it, which may be new.
    pub fn partition(&self, partition: i32) -> Result<PartitionStore, StoreError> {
        let mut partitions = self.partitions.lock();
        if let Some(known) = partitions.get(&partition) {
            return Ok(known.clone());
        }
        let buffer = self.limits.write_buffer_bytes / u64::from(self.limits.partitions.max(1));
        let options = || KeyspaceCreateOptions::default().max_memtable_size(buffer.max(LEAST_BUFFER));
        let keyspace = self.shared.call(|| self.shared.database.keyspace(&partition.to_string(), options))?;
        let opened = PartitionStore::open(self.shared.clone(), keyspace, partition)?;
        partitions.insert(partition, opened.clone());
        Ok(opened)
    }

    /// Forgets everything of a partition, readable or not. Handles that are still about write into the void.
    pub fn drop_partition(&self, partition: i32) -> Result<(), StoreError> {
        let name = partition.to_string();
        self.partitions.lock().remove(&partition);
        self.shared.call(|| {
            if self.shared.database.keyspace_exists(&name) {
                let keyspace = self.shared.database.keyspace(&name, KeyspaceCreateOptions::default)?;
                self.shared.database.delete_keyspace(keyspace)?;
            }
            Ok(())
        })
    }

    /// What it takes of the disk; reads the folder.
    pub fn usage(&self) -> Usage {
        let database = &self.shared.database;
        let keys = database
            .list_keyspace_names()
            .iter()
            .filter_map(|name| database.keyspace(name, KeyspaceCreateOptions::default).ok())
            .map(|keyspace| keyspace.approximate_len() as u64)
            .sum();
        Usage { bytes: bytes_below(&self.shared.path), keys }
    }
}

impl Shared {
    /// Calls the database; the first error that ends its writes is what later ones are told.
    pub fn call<T>(&self, call: impl FnOnce() -> fjall::Result<T>) -> Result<T, StoreError> {
        let poisoned = |error: &fjall::Error| matches!(error, fjall::Error::Poisoned);
        let mut was_poisoned = false;
        let done = guarded(&self.path, || call().inspect_err(|error| was_poisoned = poisoned(error)));
        let Err(error) = done else { return done };
        let mut failed = self.failed.lock();
        match (&*failed, &error) {
            (Some(first), _) if was_poisoned => return Err(first.clone()),
            (None, StoreError::Full { .. } | StoreError::Io { .. }) if !was_poisoned => *failed = Some(error.clone()),
            _ => {}
        }
        Err(error)
    }
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let io = |error: io::Error| StoreError::io(folder, &error);
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

fn open(path: &Path, limits: Limits) -> Result<Database, StoreError> {
    no_strangers(&path.join("keyspaces"))?;
    guarded(path, || {
        Database::builder(path)
            .cache_size(limits.cache_bytes)
            .max_journaling_size(JOURNALS)
            .worker_threads(THREADS)
            .max_cached_files(Some(OPEN_FILES))
            .open()
    })
}

/// Anything but numbered folders among its own ends the database, and the process with it.
fn no_strangers(keyspaces: &Path) -> Result<(), StoreError> {
    let Ok(entries) = fs::read_dir(keyspaces) else { return Ok(()) };
    let strange = |entry: &fs::DirEntry| entry.file_name().to_str().is_none_or(|name| name.parse::<u64>().is_err());
    match entries.flatten().find(strange) {
        None => Ok(()),
        Some(entry) => {
            let message = format!("{} does not belong there", entry.path().display());
            Err(StoreError::Corrupt { path: keyspaces.to_owned(), message })
        }
    }
}

/// Deletes what cannot be read: the changelog holds it all.
fn discard(path: &Path, why: &str) -> Result<(), StoreError> {
    tracing::warn!("local store in {}: {why}; it is deleted and restored from the changelogs", path.display());
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, &error)),
        _ => Ok(()),
    }
}

/// Bytes on the disk of all files below a folder; journals are mostly holes.
fn bytes_below(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0, // Deleted meanwhile.
    };
    entries.flatten().map(size).sum()
}
