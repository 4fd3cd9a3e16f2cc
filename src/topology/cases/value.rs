//! Texts of a test file as values of a field's type.

use std::sync::Arc;

use crate::{
    event::{Type, Value},
    topology::{
        decode::Cx,
        fields,
        yaml::{Node, Shape},
    },
};

/// Reads a value of that type. `None` was reported: something else stands there. `cx.what` is the field.
pub(super) fn read(node: &Node, ty: Type, cx: &mut Cx) -> Option<Value> {
    if node.is_null() {
        return Some(Value::Null);
    }
    let value = match (&node.shape, ty) {
        (Shape::List(items), Type::TextList) => {
            items.iter().map(|item| item.text().map(Value::text)).collect::<Option<Arc<[Value]>>>().map(Value::List)
        }
        (Shape::Scalar(text, _), ty) => scalar(text.trim(), text, ty),
        _ => None,
    };
    if value.is_none() {
        cx.expected(node, fields::noun(ty));
    }
    value
}

fn scalar(trimmed: &str, text: &str, ty: Type) -> Option<Value> {
    match ty {
        Type::Bool => match trimmed {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Int => trimmed.replace('_', "").parse().ok().map(Value::Int),
        Type::Float => trimmed.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::Float),
        Type::Text => Some(Value::text(text)),
        Type::TextList => None,
        Type::Timestamp => moment(trimmed).map(Value::Int),
    }
}

/// Milliseconds since 1970 UTC from such milliseconds or RFC 3339.
pub(super) fn moment(text: &str) -> Option<i64> {
    match text.replace('_', "").parse() {
        Ok(ms) => Some(ms),
        Err(_) => chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis()),
    }
}
