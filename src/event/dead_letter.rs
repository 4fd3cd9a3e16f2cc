//! What could not be processed, with everything needed to understand and repair it.

use std::sync::Arc;

/// The kind of failure, closed and few; `code` is the precise one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    Decode,
    Schema,
    Key,
    Agent,
    Delivery,
    Expired,
    TooLarge,
}

impl Class {
    pub const ALL: &'static [Class] =
        &[Class::Decode, Class::Schema, Class::Key, Class::Agent, Class::Delivery, Class::Expired, Class::TooLarge];

    /// The name in schema, header and metric.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Decode => "decode",
            Class::Schema => "schema",
            Class::Key => "key",
            Class::Agent => "agent",
            Class::Delivery => "delivery",
            Class::Expired => "expired",
            Class::TooLarge => "too_large",
        }
    }
}

/// One dead letter. Field by field: `schemas/DeadLetter.avsc`; the reason repeats in Kafka headers.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Deterministic in place and stage: a repeat bears the same.
    pub id: String,
    /// Milliseconds since 1970 UTC.
    pub failed_at_ms: i64,
    pub stage: Arc<str>,
    /// `HW6xx`.
    pub code: &'static str,
    pub class: Class,
    pub message: String,
    pub agents: Vec<Arc<str>>,
    pub destination: Option<Arc<str>>,
    pub producer: String,
    pub attempts: u32,
    pub replays: u32,
    pub event_id: Option<Arc<str>>,
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// The record's own timestamp, milliseconds since 1970 UTC.
    pub timestamp_ms: Option<i64>,
    /// From the Confluent frame, where there is one.
    pub schema_id: Option<i32>,
    pub traceparent: Option<String>,
    /// JSON of the value where it decodes, at most 2 KiB.
    pub preview: Option<String>,
    /// Original bytes, unless too large; then `value_sha256` holds the hash.
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub value_sha256: Option<String>,
    pub headers: Vec<(String, Vec<u8>)>,
}
