//! Avro to and from records: Confluent framing, derived schemas, the registry.

use std::sync::Arc;

/// Why bytes did not become a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Neither a Confluent frame nor anything else we read.
    #[error("not a Confluent Avro frame: {0}")]
    NotFramed(Arc<str>),
    /// The writer's schema has not been looked up yet: fetch it with [`SchemaCache::fetch`] and decode again. Not a fault of the record.
    #[error("schema {0} is not loaded yet")]
    SchemaNotLoaded(u32),
    /// The registry does not know the id.
    #[error("the schema registry has no schema {0}")]
    NoSuchSchema(u32),
    /// The bytes do not fit the writer's schema, or the schema cannot be read as ours.
    #[error("{0}")]
    Malformed(Arc<str>),
}
