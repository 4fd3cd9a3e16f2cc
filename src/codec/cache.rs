//! Writers' schemas by id: looked up once, never per record.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::registry::{RegistryClient, RegistryError};
use crate::clock;

/// At most so many schemas are kept; the oldest gives way.
const MAX_SCHEMAS: usize = 1_000;
/// An id that the registry does not know is asked for again after so long: a producer may be ahead of a replica.
const MISSING_FOR: Duration = Duration::from_secs(30);

/// A writer's schema, parsed; or why it cannot be.
#[derive(Debug)]
pub struct WriterSchema {
    json: Arc<str>,
    parsed: Result<serde_avro_fast::Schema, Arc<str>>,
}

impl WriterSchema {
    fn new(json: &str) -> Self {
        let parsed = json.parse().map_err(|error: serde_avro_fast::schema::SchemaError| {
            Arc::from(format!("not a usable Avro schema: {error}"))
        });
        WriterSchema { json: json.into(), parsed }
    }

    /// As the registry gave it.
    pub fn json(&self) -> &Arc<str> {
        &self.json
    }

    /// Ready for reading, or why not. What cannot be read is kept too, so that it is asked for once.
    pub(super) fn schema(&self) -> Result<&serde_avro_fast::Schema, &Arc<str>> {
        self.parsed.as_ref()
    }
}

/// What the cache knows of an id.
#[derive(Debug, Clone)]
pub enum Lookup {
    Ready(Arc<WriterSchema>),
    /// The registry does not know it, as of a moment ago.
    Missing,
    /// Fetch it.
    NotLoaded,
}

enum Entry {
    Ready(Arc<WriterSchema>),
    Missing(Instant),
}

struct Held {
    entry: Entry,
    /// Ascending in the order of insertion.
    age: u64,
}

/// Writers' schemas by id. Looking one up takes no lock; a map is copied for each new schema, which is rare.
pub struct SchemaCache {
    registry: RegistryClient,
    schemas: ArcSwap<HashMap<u32, Arc<Held>>>,
    /// One fetch at a time: the callers that waited find what the first has fetched.
    fetching: tokio::sync::Mutex<()>,
}

impl SchemaCache {
    /// An empty cache over that registry.
    pub fn new(registry: RegistryClient) -> Self {
        SchemaCache { registry, schemas: ArcSwap::default(), fetching: tokio::sync::Mutex::new(()) }
    }

    /// What is known of that schema.
    pub fn get(&self, id: u32) -> Lookup {
        match self.schemas.load().get(&id).map(|held| &held.entry) {
            Some(Entry::Ready(schema)) => Lookup::Ready(schema.clone()),
            Some(Entry::Missing(until)) if clock::now() < *until => Lookup::Missing,
            _ => Lookup::NotLoaded,
        }
    }

    /// Fetches a schema unless it is known. An id that the registry does not have is remembered as missing for 30 s
    /// and is no error; on any other error the caller backs off and tries again.
    pub async fn fetch(&self, id: u32) -> Result<(), RegistryError> {
        let _one_at_a_time = self.fetching.lock().await;
        if !matches!(self.get(id), Lookup::NotLoaded) {
            return Ok(());
        }
        match self.registry.schema(id).await {
            Ok(json) => self.put(id, Entry::Ready(Arc::new(WriterSchema::new(&json)))),
            Err(RegistryError::NotFound { .. }) => self.put(id, Entry::Missing(clock::now() + MISSING_FOR)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Puts a schema in by hand: what this process has registered itself, and tests.
    pub fn insert(&self, id: u32, schema_json: &str) {
        self.put(id, Entry::Ready(Arc::new(WriterSchema::new(schema_json))));
    }

    fn put(&self, id: u32, entry: Entry) {
        let entry = Arc::new(entry);
        self.schemas.rcu(|schemas| {
            let mut schemas = HashMap::clone(schemas);
            let age = schemas.values().map(|held| held.age + 1).max().unwrap_or(0);
            let entry = match &*entry {
                Entry::Ready(schema) => Entry::Ready(schema.clone()),
                Entry::Missing(until) => Entry::Missing(*until),
            };
            schemas.insert(id, Arc::new(Held { entry, age }));
            if schemas.len() > MAX_SCHEMAS
                && let Some(oldest) = schemas.iter().min_by_key(|(_, held)| held.age).map(|(id, _)| *id)
            {
                schemas.remove(&oldest);
            }
            schemas
        });
    }
}
