//! What a webhook says: one JSON object per trigger, the same bytes over all its attempts.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value as Json};

use crate::{
    event::{EventField, EventMap, Path, ProvenanceField, RecordField, Trigger, Type, Value},
    topology::{AgentSpec, Topology},
};

/// The body of a trigger's webhook: `type` is `trigger`, times are RFC 3339, the payload's numbers and booleans are
/// JSON's own.
pub fn body(trigger: &Trigger) -> Vec<u8> {
    let text = |text: &Option<Arc<str>>| text.as_deref().map_or(Json::Null, Json::from);
    let payload: Map<String, Json> =
        trigger.payload.iter().map(|(name, value)| (name.to_string(), to_json(value))).collect();
    let mut object = Map::new();
    let mut put = |name: &str, value: Json| object.insert(name.to_owned(), value);
    put("type", Json::from("trigger"));
    put("id", Json::from(&*trigger.id));
    put("campaign", Json::from(&*trigger.campaign));
    put("user_id", text(&trigger.user_id));
    put("anonymous_id", text(&trigger.anonymous_id));
    put("event_id", Json::from(&*trigger.event_id));
    put("occurred_at", Json::from(rfc3339(trigger.occurred_at_ms)));
    put("fired_at", Json::from(rfc3339(trigger.fired_at_ms)));
    put("because", Json::from(trigger.because.as_str()));
    put("incomplete", trigger.incomplete.iter().map(|name| Json::from(&**name)).collect());
    put("payload", Json::Object(payload));
    Json::Object(object).to_string().into_bytes()
}

/// A value as JSON. What JSON has no number for (NaN, infinities) is null.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Text(value) => Json::from(&**value),
        Value::List(values) => values.iter().map(to_json).collect(),
        Value::Map(values) => {
            Json::Object(values.iter().map(|(name, value)| (name.to_string(), to_json(value))).collect())
        }
    }
}

/// Milliseconds since 1970 UTC as `2026-11-24T10:33:42.120Z`. Times beyond chrono's calendar (years ±262 000) read as
/// its first or last.
pub fn rfc3339(unix_ms: i64) -> String {
    let edge = if unix_ms < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp_millis(unix_ms).unwrap_or(edge).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The types of the triggers' payloads. On the topic a payload is a map of text; with these it becomes numbers,
/// booleans, lists again.
#[derive(Debug, Clone, Default)]
pub struct PayloadTypes {
    campaigns: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Shape>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Bool,
    Int,
    Float,
    /// A list or a map, as JSON.
    Nested,
}

impl PayloadTypes {
    /// As the topology declares them.
    pub fn of(topology: &Topology) -> Self {
        let campaigns = topology.triggers.iter().map(|trigger| {
            let shapes = trigger
                .payload
                .iter()
                .filter_map(|(name, path)| Some((name.clone(), shape(path, &topology.agents)?)))
                .collect();
            (trigger.campaign.clone(), shapes)
        });
        PayloadTypes { campaigns: campaigns.collect() }
    }

    /// Gives the payload's texts their types back. A text that does not fit its type stays a text: an older or newer
    /// topology may have written it.
    pub fn restore(&self, trigger: &mut Trigger) {
        let Some(shapes) = self.campaigns.get(&trigger.campaign) else { return };
        for (name, value) in &mut trigger.payload {
            if let (Some(shape), Value::Text(text)) = (shapes.get(name), &*value)
                && let Some(typed) = parse(*shape, text)
            {
                *value = typed;
            }
        }
    }
}

fn shape(path: &Path, agents: &[AgentSpec]) -> Option<Shape> {
    match path {
        Path::Event(EventField::OccurredAt) | Path::Record(RecordField::ReceivedAt) => Some(Shape::Int),
        Path::Event(EventField::Revenue) => Some(Shape::Float),
        Path::Event(_) | Path::Record(RecordField::Status) => None,
        Path::Map(_) => Some(Shape::Nested),
        Path::Entry(EventMap::Consent, _) => Some(Shape::Bool),
        Path::Entry(..) => None,
        Path::Part { agent, field } => match agents.get(*agent)?.output.get(*field)?.ty {
            Type::Bool => Some(Shape::Bool),
            Type::Int | Type::Timestamp => Some(Shape::Int),
            Type::Float => Some(Shape::Float),
            Type::TextList => Some(Shape::Nested),
            Type::Text => None,
        },
        Path::Provenance { field: ProvenanceField::Attempts | ProvenanceField::AgeMs, .. } => Some(Shape::Int),
        Path::Provenance { .. } => None,
    }
}

fn parse(shape: Shape, text: &str) -> Option<Value> {
    match shape {
        Shape::Bool => text.parse().ok().map(Value::Bool),
        Shape::Int => text.parse().ok().map(Value::Int),
        Shape::Float => text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float),
        Shape::Nested => serde_json::from_str(text)
            .ok()
            .filter(|json: &Json| json.is_array() || json.is_object())
            .map(|json| from_json(&json)),
    }
}

fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            number.as_i64().map(Value::Int).or(number.as_f64().map(Value::Float)).unwrap_or(Value::Null)
        }
        Json::String(text) => Value::text(text),
        Json::Array(values) => Value::List(values.iter().map(from_json).collect()),
        Json::Object(values) => Value::Map(Arc::new(
            values.iter().map(|(name, value)| (Arc::from(name.as_str()), from_json(value))).collect(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::topology::{AgentKind, OutputField};

    #[test]
    fn a_trigger_reads_as_json_with_real_numbers_and_times() {
        let trigger = Trigger {
            id: "win-back:ops:e1".into(),
            campaign: "win-back".into(),
            destination: "ops".into(),
            user_id: Some("u1".into()),
            event_id: "e1".into(),
            occurred_at_ms: 1_772_236_799_999,
            fired_at_ms: 1_772_236_800_000,
            because: "score.value (72) >= 60".into(),
            incomplete: vec!["intent".into()],
            payload: BTreeMap::from([
                ("score".into(), Value::Float(72.5)),
                ("seats".into(), Value::Int(12)),
                ("bot".into(), Value::Bool(false)),
                ("city".into(), Value::text("Linköping \"Ö\"")),
                ("none".into(), Value::Null),
                ("nan".into(), Value::Float(f64::NAN)),
                ("topics".into(), Value::List(Arc::from([Value::text("crm")]))),
            ]),
            ..Trigger::default()
        };
        assert_eq!(
            String::from_utf8(body(&trigger)).unwrap(),
            r#"{"type":"trigger","id":"win-back:ops:e1","campaign":"win-back","user_id":"u1","anonymous_id":null,"event_id":"e1","occurred_at":"2026-02-27T23:59:59.999Z","fired_at":"2026-02-28T00:00:00.000Z","because":"score.value (72) >= 60","incomplete":["intent"],"payload":{"bot":false,"city":"Linköping \"Ö\"","nan":null,"none":null,"score":72.5,"seats":12,"topics":["crm"]}}"#
        );
    }

    #[test]
    fn times_read_as_rfc3339_across_leap_days_and_before_1970() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_709_164_800_123), "2024-02-29T00:00:00.123Z");
        assert_eq!(rfc3339(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert!(rfc3339(i64::MAX).starts_with("+262142-12-31") && rfc3339(i64::MIN).starts_with("-262143-01-01"));
    }

    proptest::proptest! {
        #[test]
        fn a_time_that_was_written_reads_the_same(unix_ms in -62_135_596_800_000i64..253_402_300_800_000) {
            let text = rfc3339(unix_ms);
            proptest::prop_assert_eq!(text.len(), 24);
            proptest::prop_assert_eq!(DateTime::parse_from_rfc3339(&text).unwrap().timestamp_millis(), unix_ms);
        }
    }

    #[test]
    fn a_payload_s_types_come_from_what_it_reads() {
        let of = |ty| OutputField { name: "f".into(), ty, from: "f".into() };
        let agent = AgentSpec {
            name: "a".into(),
            kind: AgentKind::UserAgent { bots: None },
            deps: Vec::new(),
            input: Vec::new(),
            output: [Type::Text, Type::Bool, Type::Int, Type::Float, Type::TextList, Type::Timestamp].map(of).into(),
            when: None,
            consent: None,
            deadline: Duration::ZERO,
            timeout: Duration::ZERO,
            retry: 0,
            fallback: Vec::new(),
            skip_older_than: None,
        };
        let part = |field| Path::Part { agent: 0, field };
        let cases = [
            (part(0), None),
            (part(1), Some(Shape::Bool)),
            (part(2), Some(Shape::Int)),
            (part(3), Some(Shape::Float)),
            (part(4), Some(Shape::Nested)),
            (part(5), Some(Shape::Int)),
            (part(6), None),
            (Path::Event(EventField::Revenue), Some(Shape::Float)),
            (Path::Event(EventField::UserId), None),
            (Path::Entry(EventMap::Consent, "marketing".into()), Some(Shape::Bool)),
            (Path::Entry(EventMap::Properties, "plan".into()), None),
            (Path::Provenance { agent: 0, field: ProvenanceField::AgeMs }, Some(Shape::Int)),
            (Path::Provenance { agent: 0, field: ProvenanceField::Outcome }, None),
        ];
        for (path, expected) in cases {
            assert_eq!(shape(&path, std::slice::from_ref(&agent)), expected, "{path:?}");
        }
    }

    #[test]
    fn texts_from_the_topic_get_their_types_back_and_misfits_stay_text() {
        let shapes = [("score", Shape::Float), ("seats", Shape::Int), ("bot", Shape::Bool), ("topics", Shape::Nested)];
        let types = PayloadTypes {
            campaigns: BTreeMap::from([("c".into(), shapes.map(|(name, shape)| (name.into(), shape)).into())]),
        };
        let payload = |pairs: [(&str, &str); 5]| pairs.map(|(name, text)| (name.into(), Value::text(text))).into();
        let mut trigger = Trigger {
            campaign: "c".into(),
            payload: payload([
                ("score", "72.5"),
                ("seats", "12"),
                ("bot", "true"),
                ("topics", "[\"a\",\"b\"]"),
                ("city", "12"),
            ]),
            ..Trigger::default()
        };
        types.restore(&mut trigger);
        let json: Json = serde_json::from_slice(&body(&trigger)).unwrap();
        assert_eq!(
            json["payload"],
            serde_json::json!({"score": 72.5, "seats": 12, "bot": true, "topics": ["a", "b"], "city": "12"})
        );
        trigger.payload =
            payload([("score", "inf"), ("seats", "many"), ("bot", "yes"), ("topics", "[a"), ("city", "x")]);
        let before = trigger.clone();
        types.restore(&mut trigger);
        assert_eq!(trigger, before);
        trigger.campaign = "unknown".into();
        types.restore(&mut trigger);
    }
}
