//! What can go wrong with the local store, by what the operator should do. The changelog holds everything: whatever
//! happens here costs time, not data.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// An error of the local store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk, a quota or a limit on file sizes. Make room or give the volume more space, then restart: a store that
    /// could not write once takes no more until it is opened again, and goes on from where it was.
    #[error("HW508 no space for the local store in {path}: {message}. Make room and restart; nothing is lost")]
    Full { path: PathBuf, message: String },
    /// The disk or the folder's permissions. Mend them and restart; on a broken disk, with an empty folder.
    #[error("HW508 the local store in {path} cannot be used: {message}")]
    Io { path: PathBuf, message: String },
    /// Its files do not hold what was written. At opening such a store is made anew without asking; where it is found
    /// later, the partition is to be dropped and restored. Should it happen again, look at the disk.
    #[error("HW508 the local store in {path} is damaged: {message}")]
    Corrupt { path: PathBuf, message: String },
    /// Two processes, or two workers, were given one folder. Give each pod a volume of its own.
    #[error("HW508 the local store in {path} is in use by another process: each pod needs a volume of its own")]
    Locked { path: PathBuf },
    /// A write before the partition's restore: a fault of ours, please report it.
    #[error("HW508 table {table} of partition {partition} has not been restored yet")]
    NotRestored { table: String, partition: i32 },
}

impl StoreError {
    /// Whether dropping the partition and restoring it helps.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, StoreError::Corrupt { .. })
    }

    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        let (path, message) = (path.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreError::Full { path, message }
            }
            // A file that is missing, cut short, or there though it should not be.
            io::ErrorKind::NotFound
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::AlreadyExists => StoreError::Corrupt { path, message },
            _ => StoreError::Io { path, message },
        }
    }

    pub(super) fn of(path: &Path, error: &fjall::Error) -> Self {
        match error {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => StoreError::io(path, error),
            fjall::Error::Locked => StoreError::Locked { path: path.to_owned() },
            fjall::Error::Poisoned => StoreError::Io {
                path: path.to_owned(),
                message: "an earlier write failed, see the log; it takes no more until it is opened again".to_owned(),
            },
            fjall::Error::KeyspaceDeleted => {
                StoreError::Io { path: path.to_owned(), message: "the partition was dropped".to_owned() }
            }
            other => StoreError::Corrupt { path: path.to_owned(), message: other.to_string() },
        }
    }
}

/// Runs a call into the database. Damaged files can make it panic: that is damage as well, and not the end of a worker.
pub(super) fn guarded<T>(path: &Path, call: impl FnOnce() -> fjall::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(done) => done.map_err(|error| StoreError::of(path, &error)),
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "it cannot be read".to_owned());
            Err(StoreError::Corrupt { path: path.to_owned(), message })
        }
    }
}
