//! An event as a test writes it: Event's own names, and a sane default for whatever does not matter.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::value;
use crate::{
    event::Event,
    topology::{
        codes,
        decode::{Cx, Decode, Flag, Json, Name, Number, Table, raw},
        leaf::leaf_schema,
        yaml::{Node, Span},
    },
};

/// When a test begins, unless it says otherwise: 2026-01-15T12:00:00Z, a Thursday, far from midnight in most of the
/// world. In milliseconds since 1970 UTC.
const BEGIN_MS: i64 = 1_768_478_400_000;
/// Between two events, unless the test says otherwise.
const BETWEEN: Duration = Duration::from_secs(1);

raw! {
    /// An event. Names as in `schemas/Event.avsc`.
    "event" struct RawEvent {
        /// Default: e1, e2, …
        id: Option<Name>,
        /// `track` (the default), `page`, `identify`, …
        r#type: Option<Name>,
        /// Such as "Order Completed".
        name: Option<Name>,
        /// Default, where no anonymous_id is written: u1.
        user_id: Option<Name>,
        anonymous_id: Option<Name>,
        /// RFC 3339 (`2026-01-15T12:00:00Z`) or milliseconds since 1970 UTC.
        occurred_at: Option<Moment>,
        url: Option<Name>,
        referrer: Option<Name>,
        ip: Option<Name>,
        user_agent: Option<Name>,
        /// Free text; feeds sentiment.
        description: Option<Name>,
        /// By lower-case header name: `sec-ch-ua`, …
        client_hints: Option<Table<Name>>,
        campaign: Option<Table<Name>>,
        /// Everything else; numbers, lists and maps become text, as at intake.
        properties: Option<Table<Loose>>,
        /// By purpose; one that is not named is a no.
        consent: Option<Table<Flag>>,
        revenue: Option<Number>,
        currency: Option<Name>,
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy)]
pub(in crate::topology) struct Moment {
    /// Milliseconds since 1970 UTC.
    pub ms: i64,
    pub span: Span,
}

impl Decode for Moment {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match node.text().and_then(value::moment) {
            Some(ms) => Some(Moment { ms, span: node.span }),
            None => {
                cx.expected(node, "a time, such as 2026-01-15T12:00:00Z");
                None
            }
        }
    }
}

/// A property: text, or any JSON as text. Null is as if it were not written.
#[derive(Debug, Clone)]
pub(in crate::topology) struct Loose(Option<String>);

impl Decode for Loose {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(Loose(match node.text() {
            _ if node.is_null() => None,
            Some(text) => Some(text.to_owned()),
            None => Some(Json::decode(node, cx)?.value.to_string()),
        }))
    }
}

leaf_schema! {
    Moment = { "type": ["string", "integer"] }
    Loose = {}
}

/// The time in a test, from event to event.
#[derive(Default)]
pub(super) struct Clock {
    /// Of the event before; `None` before the first.
    last_ms: Option<i64>,
}

impl Clock {
    fn next(&self, after: Option<Duration>) -> i64 {
        let wait = i64::try_from(after.unwrap_or(BETWEEN).as_millis()).unwrap_or(i64::MAX);
        match self.last_ms {
            Some(last) => last.saturating_add(wait),
            None => BEGIN_MS,
        }
    }
}

impl RawEvent {
    /// The event; `index` counts from 0. `None` was reported.
    pub(super) fn build(&self, index: usize, after: Option<Duration>, clock: &mut Clock, cx: &mut Cx) -> Option<Event> {
        if let (Some(at), Some(_)) = (&self.occurred_at, after) {
            let message = "occurred_at and after both say when the event happened";
            cx.findings.error(codes::HW107, at.span, message, "Keep one of them");
            return None;
        }
        let text = |name: &Option<Name>| name.as_ref().map(|name| Arc::<str>::from(name.value.as_str()));
        let texts = |table: &Option<Table<Name>>| -> BTreeMap<Arc<str>, Arc<str>> {
            let entries = table.iter().flat_map(|Table(entries)| entries);
            entries.map(|(key, value)| (key.value.as_str().into(), value.value.as_str().into())).collect()
        };
        let properties = self.properties.iter().flat_map(|Table(entries)| entries);
        let properties = properties.filter_map(|(key, value)| {
            let Loose(value) = value;
            value.as_ref().map(|value| (key.value.as_str().into(), value.as_str().into()))
        });
        let consent = self.consent.iter().flat_map(|Table(entries)| entries);
        let occurred_at_ms = self.occurred_at.map_or_else(|| clock.next(after), |at| at.ms);
        clock.last_ms = Some(occurred_at_ms);
        let somebody = self.user_id.is_some() || self.anonymous_id.is_some();
        Some(Event {
            id: text(&self.id).unwrap_or_else(|| format!("e{}", index + 1).into()),
            kind: text(&self.r#type).unwrap_or_else(|| "track".into()),
            name: text(&self.name).unwrap_or_default(),
            user_id: if somebody { text(&self.user_id) } else { Some("u1".into()) },
            anonymous_id: text(&self.anonymous_id),
            occurred_at_ms,
            url: text(&self.url),
            referrer: text(&self.referrer),
            ip: text(&self.ip),
            user_agent: text(&self.user_agent),
            description: text(&self.description),
            client_hints: texts(&self.client_hints),
            campaign: texts(&self.campaign),
            properties: properties.collect(),
            consent: consent.map(|(key, flag)| (key.value.as_str().into(), flag.value)).collect(),
            revenue: self.revenue.map(|revenue| revenue.value),
            currency: text(&self.currency),
        })
    }
}
