//! Avro to and from records: Confluent framing, derived schemas, the registry. See `record` for the record that
//! grows, `cache` for how a writer's schema is found, `schema` for how schemas are derived.
//!
//! Reading goes by the *writer's* schema and our names, which gives Avro's resolution: fields and parts that we do
//! not know are dropped, missing ones take their default, `int` widens to `long`, `float` and `double`, unknown
//! symbols read as the default. Where producers err harmlessly we are kinder than Avro: `null` where we have a
//! default reads as that default.

use std::sync::Arc;

mod cache;
pub mod compatibility;
mod dead_letter;
mod event;
pub mod frame;
pub mod intake;
mod layout;
pub mod murmur2;
mod part;
mod preview;
mod read;
mod record;
mod registry;
mod schema;
#[cfg(test)]
mod tests;
mod trigger;
mod wire;

pub use cache::{Lookup, SchemaCache, WriterSchema};
pub use dead_letter::{DeadLetterDecoder, DeadLetterEncoder};
pub use event::{EventDecoder, EventEncoder};
pub use layout::{AgentLayout, Layout};
pub use preview::{MAX_PREVIEW_BYTES, preview};
pub use record::{RecordDecoder, RecordEncoder};
pub use registry::{Registered, RegistryClient, RegistryError};
pub use schema::{DEAD_LETTER_SCHEMA, EVENT_SCHEMA, TRIGGER_SCHEMA, enriched_schema};
pub use trigger::{TriggerDecoder, TriggerEncoder};

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

/// Why a value did not become bytes. A defect of ours or of the topology, never of a producer: report it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The derived schema is not valid Avro.
    #[error("the schema cannot be used: {0}")]
    Schema(Arc<str>),
    /// The value does not fit its schema.
    #[error("the value does not fit its schema: {0}")]
    Value(Arc<str>),
}
