//! A database file, read again when it changes.
//!
//! The file is read into memory, not mapped: a mapped file that is truncated under us ends the process with
//! SIGBUS, and mapping needs `unsafe`. It costs the file's size (GeoLite2 City: about 65 MB) once per process.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use maxminddb::{MaxMindDbError, Reader};
use parking_lot::Mutex;

use super::place::Place;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one version of the file from the next.
type Stamp = (Option<SystemTime>, u64);

/// An open database.
#[derive(Debug)]
pub(in crate::agent) struct Database {
    path: PathBuf,
    reader: ArcSwap<Reader<Vec<u8>>>,
    watch: Mutex<Watch>,
}

/// What the watcher has seen of the file.
#[derive(Debug, Default)]
struct Watch {
    /// Of the version in use.
    used: Option<Stamp>,
    /// Of the version last seen: taken up when it is seen twice, for then nobody is writing it any more.
    seen: Option<Stamp>,
}

impl Database {
    /// Reads the file and watches it from now on, until the last user has gone.
    pub fn open(path: &Path) -> Result<Arc<Self>, String> {
        let stamp = stamp(path);
        let reader = read(path)?;
        let database = Arc::new(Database {
            path: path.to_owned(),
            reader: ArcSwap::from_pointee(reader),
            watch: Mutex::new(Watch { used: stamp, seen: stamp }),
        });
        let weak = Arc::downgrade(&database);
        let watcher = std::thread::Builder::new().name("geoip-watch".into()).spawn(move || watch(&weak));
        watcher.map_err(|error| format!("cannot be watched: {error}"))?;
        Ok(database)
    }

    /// Reads what the database says of an address; `None` if it does not know it.
    pub(super) fn lookup<T>(&self, ip: IpAddr, read: impl FnOnce(Place<'_>) -> T) -> Result<Option<T>, MaxMindDbError> {
        let reader = self.reader.load();
        match reader.lookup(ip) {
            Ok(found) => Ok(found.decode::<Place<'_>>()?.map(read)),
            // An IPv6 address, and a database of IPv4 only.
            Err(MaxMindDbError::InvalidInput { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// When the database was built, in seconds since 1970 UTC.
    pub fn built_at_s(&self) -> u64 {
        self.reader.load().metadata().build_epoch
    }

    /// Takes up a new version of the file once it is complete. A broken one is logged, once, and the old one stays.
    pub(super) fn refresh(&self) {
        let now = stamp(&self.path);
        {
            let mut watch = self.watch.lock();
            let settled = watch.seen == now;
            watch.seen = now;
            if now.is_none() || watch.used == now || !settled {
                return;
            }
            watch.used = now;
        }
        match read(&self.path) {
            Ok(reader) => {
                let built_at_s = reader.metadata().build_epoch;
                self.reader.store(Arc::new(reader));
                tracing::info!(database = %self.path.display(), built_at_s, "place database reloaded");
            }
            Err(reason) => {
                let database = self.path.display();
                tracing::warn!(%database, reason, "the new place database is broken; the old one stays in use");
            }
        }
    }
}

/// Looks at the file until the database has no users.
fn watch(database: &Weak<Database>) {
    loop {
        std::thread::park_timeout(LOOK_EVERY);
        match database.upgrade() {
            Some(database) => database.refresh(),
            None => return,
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, String> {
    let reader = Reader::open_readfile(path).map_err(|error| error.to_string())?;
    // The metadata stands at the end, so a file cut short is found out above; two look-ups find a damaged tree.
    for ip in [IpAddr::from([1, 1, 1, 1]), IpAddr::from([81, 2, 69, 142])] {
        let found = reader.lookup(ip).and_then(|found| found.decode::<Place<'_>>().map(drop));
        found.map_err(|error| format!("not a place database that we can read: {error}"))?;
    }
    Ok(reader)
}
