//! Writers' schemas that are not loaded yet: fetched on the runtime while the partition waits, never per record.

use std::{collections::HashSet, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::codec::{Lookup, SchemaCache};

/// Fetches schemas beside the worker.
#[derive(Clone)]
pub struct Lookups {
    schemas: Arc<SchemaCache>,
    runtime: tokio::runtime::Handle,
    under_way: Arc<Mutex<HashSet<u32>>>,
}

impl Lookups {
    /// Over a cache that all stages of the process share.
    pub fn new(schemas: Arc<SchemaCache>, runtime: tokio::runtime::Handle) -> Self {
        Lookups { schemas, runtime, under_way: Arc::default() }
    }

    /// The cache.
    pub fn schemas(&self) -> &Arc<SchemaCache> {
        &self.schemas
    }

    /// Whether the schema is known by now, or known to be missing. Begins to fetch it otherwise, and keeps trying
    /// while the registry is away.
    pub fn is_known(&self, id: u32) -> bool {
        if !matches!(self.schemas.get(id), Lookup::NotLoaded) {
            return true;
        }
        if self.under_way.lock().insert(id) {
            let this = self.clone();
            self.runtime.spawn(async move {
                let mut wait = Duration::from_millis(100);
                while let Err(error) = this.schemas.fetch(id).await {
                    tracing::warn!(id, %error, "schema cannot be fetched, partitions that need it wait");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                this.under_way.lock().remove(&id);
            });
        }
        false
    }
}
