//! A campaign trigger: a rule held, somebody is to be told.

use std::{collections::BTreeMap, sync::Arc};

use super::Value;

/// One trigger for one destination. Field by field: `schemas/Trigger.avsc`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trigger {
    /// Deterministic in campaign, destination and event: the same over retries and replays.
    pub id: Arc<str>,
    pub campaign: Arc<str>,
    pub destination: Arc<str>,
    pub user_id: Option<Arc<str>>,
    pub anonymous_id: Option<Arc<str>>,
    pub event_id: Arc<str>,
    /// Of the event. Milliseconds since 1970 UTC, as all times here.
    pub occurred_at_ms: i64,
    pub fired_at_ms: i64,
    /// Not sent after this.
    pub expires_at_ms: Option<i64>,
    /// The condition with the values it met.
    pub because: String,
    /// Agents whose part had failed when the rule held.
    pub incomplete: Vec<Arc<str>>,
    /// In Avro a map of text; delivery writes numbers and booleans as JSON again.
    pub payload: BTreeMap<Arc<str>, Value>,
}
