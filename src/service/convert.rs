//! A service's JSON to the value of a field.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::event::{Type, Value};

/// The value of a field of that type. Missing and null are null. Where text is wanted, numbers become decimal and
/// lists and objects JSON, as in an event's properties; where a number is wanted, text becomes one, for CRMs send
/// every property as text. `Err` says what was there instead, without showing it.
pub(super) fn value(json: Option<&Json>, ty: Type) -> Result<Value, String> {
    let json = match json {
        None | Some(Json::Null) => return Ok(Value::Null),
        // CRMs clear a property by emptying it.
        Some(Json::String(text)) if text.is_empty() && ty != Type::Text => return Ok(Value::Null),
        Some(json) => json,
    };
    let value = match ty {
        Type::Text => scalar(json).or_else(|| Some(Value::text(json.to_string()))),
        Type::Bool => match json {
            Json::Bool(value) => Some(Value::Bool(*value)),
            Json::String(text) if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
            Json::String(text) if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Int => match json {
            Json::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)).map(Value::Int),
            Json::String(text) => text.trim().parse().ok().map(Value::Int),
            _ => None,
        },
        Type::Float => match json {
            Json::Number(number) => number.as_f64().map(Value::Float),
            Json::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
            _ => None,
        },
        Type::Timestamp => match json {
            Json::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)).map(Value::Int),
            Json::String(text) => timestamp(text.trim()).map(Value::Int),
            _ => None,
        },
        Type::TextList => match json {
            Json::Array(items) => {
                let items = items.iter().filter(|item| !item.is_null());
                items.map(scalar).collect::<Option<Arc<[Value]>>>().map(Value::List)
            }
            single => scalar(single).map(|single| Value::List(Arc::from([single]))),
        },
    };
    value.ok_or_else(|| format!("{} where {} was expected", kind(json), name(ty)))
}

fn scalar(json: &Json) -> Option<Value> {
    match json {
        Json::String(text) => Some(Value::text(text)),
        Json::Number(number) => Some(Value::text(number.to_string())),
        Json::Bool(value) => Some(Value::text(if *value { "true" } else { "false" })),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// `3.0` is 3; 3.5 is not an integer.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(number as i64)
}

/// Milliseconds since 1970 from decimal milliseconds, RFC 3339, or a date (midnight UTC).
fn timestamp(text: &str) -> Option<i64> {
    if let Ok(ms) = text.parse() {
        return Some(ms);
    }
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(at.timestamp_millis());
    }
    // Salesforce writes its offsets without a colon.
    if let Ok(at) = chrono::DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
        return Some(at.timestamp_millis());
    }
    let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn name(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "a boolean",
        Type::Int => "an integer",
        Type::Float => "a number",
        Type::Text => "text",
        Type::TextList => "a list of texts",
        Type::Timestamp => "a time (RFC 3339 or milliseconds)",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Json, ty: Type) -> Result<Value, String> {
        value(Some(&json), ty)
    }

    #[test]
    fn each_type_takes_what_services_send_for_it() {
        assert_eq!(read(json!("gold"), Type::Text), Ok(Value::text("gold")));
        assert_eq!(read(json!(42), Type::Text), Ok(Value::text("42")));
        assert_eq!(read(json!(0.5), Type::Text), Ok(Value::text("0.5")));
        assert_eq!(read(json!(["crm", 2]), Type::Text), Ok(Value::text("[\"crm\",2]")));
        assert_eq!(read(json!(""), Type::Text), Ok(Value::text("")));
        assert_eq!(read(json!("42"), Type::Int), Ok(Value::Int(42)));
        assert_eq!(read(json!(42.0), Type::Int), Ok(Value::Int(42)));
        assert_eq!(read(json!(""), Type::Int), Ok(Value::Null));
        assert_eq!(read(json!("1.5"), Type::Float), Ok(Value::Float(1.5)));
        assert_eq!(read(json!("TRUE"), Type::Bool), Ok(Value::Bool(true)));
        assert_eq!(read(json!("2024-05-06T07:08:09.010Z"), Type::Timestamp), Ok(Value::Int(1_714_979_289_010)));
        assert_eq!(read(json!("2024-05-06T07:08:09.010+0000"), Type::Timestamp), Ok(Value::Int(1_714_979_289_010)));
        assert_eq!(read(json!("2024-05-06"), Type::Timestamp), Ok(Value::Int(1_714_953_600_000)));
        assert_eq!(read(json!("1714979289010"), Type::Timestamp), Ok(Value::Int(1_714_979_289_010)));
        let list = |items: &[&str]| Value::List(items.iter().map(Value::text).collect());
        assert_eq!(read(json!(["a", 2, null]), Type::TextList), Ok(list(&["a", "2"])));
        assert_eq!(read(json!("a"), Type::TextList), Ok(list(&["a"])));
        for ty in [Type::Bool, Type::Int, Type::Float, Type::Text, Type::TextList, Type::Timestamp] {
            assert_eq!(value(None, ty), Ok(Value::Null));
            assert_eq!(read(Json::Null, ty), Ok(Value::Null));
            assert!(ty == Type::Text || read(json!({"a": 1}), ty).is_err(), "an object is no {}", name(ty));
        }
    }

    #[test]
    fn a_wrong_type_is_named_but_not_shown() {
        assert_eq!(read(json!("secret"), Type::Int), Err("text where an integer was expected".to_owned()));
        assert_eq!(read(json!(3.5), Type::Int), Err("a number where an integer was expected".to_owned()));
        assert!(read(json!("NaN"), Type::Float).is_err());
        assert!(read(json!([[1]]), Type::TextList).is_err());
    }
}
