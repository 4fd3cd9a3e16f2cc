//! What a webhook says: one JSON object per trigger, the same bytes over all its attempts.

use std::{collections::BTreeMap, sync::Arc};

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

/// Milliseconds since 1970 UTC as `2026-11-24T10:33:42.120Z`. Days to dates: Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`.
pub fn rfc3339(unix_ms: i64) -> String {
    let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1_000)
}

/// The milliseconds since 1970 UTC behind a time as [`rfc3339`] writes it; other forms are none. Dates to days:
/// `days_from_civil` of the same source.
pub fn from_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if bytes.len() != 24 || marks.iter().any(|(at, mark)| bytes[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i64>().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let shifted = year - i64::from(month <= 2);
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    Some((days * 86_400 + seconds) * 1_000 + number(20, 23)?)
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
    }

    proptest::proptest! {
        #[test]
        fn a_time_that_was_written_reads_the_same(unix_ms in -62_135_596_800_000i64..253_402_300_800_000) {
            proptest::prop_assert_eq!(from_rfc3339(&rfc3339(unix_ms)), Some(unix_ms));
        }

        #[test]
        fn any_other_text_is_no_time(text in ".{0,30}") {
            if let Some(unix_ms) = from_rfc3339(&text) {
                proptest::prop_assert_eq!(text.len(), rfc3339(unix_ms).len());
            }
        }
    }

    #[test]
    fn a_payload_s_types_come_from_what_it_reads() {
        let of = |ty| OutputField { name: "f".into(), ty, from: "f".into() };
        let agent = AgentSpec {
            name: "a".into(),
            kind: AgentKind::UserAgent,
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
