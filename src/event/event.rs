//! The event as a producer sent it and intake accepted it.

use std::{collections::BTreeMap, sync::Arc};

/// A marketing event in Segment's vocabulary (snake case). Field by field: `schemas/Event.avsc`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// Unique id, Segment's `messageId`.
    pub id: Arc<str>,
    /// `track`, `page`, `identify`, …
    pub kind: Arc<str>,
    /// `"Order Completed"`; empty when there is none.
    pub name: Arc<str>,
    /// Who: one of `user_id` and `anonymous_id` is set.
    pub user_id: Option<Arc<str>>,
    pub anonymous_id: Option<Arc<str>>,
    /// When it happened, as the producer says. Milliseconds since 1970 UTC.
    pub occurred_at_ms: i64,
    pub url: Option<Arc<str>>,
    pub referrer: Option<Arc<str>>,
    pub ip: Option<Arc<str>>,
    pub user_agent: Option<Arc<str>>,
    /// Free text; feeds sentiment.
    pub description: Option<Arc<str>>,
    /// User-agent client hints, by lower-case header name (`sec-ch-ua`, …).
    pub client_hints: BTreeMap<Arc<str>, Arc<str>>,
    pub campaign: BTreeMap<Arc<str>, Arc<str>>,
    /// Everything else, as text: numbers decimal, objects JSON.
    pub properties: BTreeMap<Arc<str>, Arc<str>>,
    /// By purpose; a purpose that is not named is a no.
    pub consent: BTreeMap<Arc<str>, bool>,
    pub revenue: Option<f64>,
    /// ISO 4217, as sent.
    pub currency: Option<Arc<str>>,
}

impl Event {
    /// Whether the person agreed to this purpose. Not named is a no.
    pub fn consents_to(&self, purpose: &str) -> bool {
        self.consent.get(purpose).copied().unwrap_or(false)
    }
}
