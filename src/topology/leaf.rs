//! What single values are read as: texts, names, conditions, times, rates, numbers, JSON.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    codes,
    decode::{Cx, Decode},
    model::Rate,
    units,
    yaml::{Node, Shape, Span, Style},
};

/// A leaf of the JSON schema, always written in place.
macro_rules! leaf_schema {
    ($($ty:ty = $schema:tt)*) => {$(
        impl JsonSchema for $ty {
            fn inline_schema() -> bool { true }
            fn schema_name() -> Cow<'static, str> { stringify!($ty).into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema { json_schema!($schema) }
        }
    )*};
}
pub(super) use leaf_schema;

leaf_schema! {
    Text = { "type": ["string", "number", "boolean"] }
    Name = { "type": "string" }
    Condition = { "type": ["string", "boolean"], "description": "A condition in CEL. Put it into quotes when it starts with ! or holds a #." }
    For = { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d)|.*\\$\\{.*)$" }
    PerTime = { "type": "string", "pattern": "^([0-9]+/[0-9]*(ms|s|m|h|d)|.*\\$\\{.*)$" }
    Whole = { "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "\\$\\{" }] }
    Number = { "anyOf": [{ "type": "number" }, { "type": "string", "pattern": "\\$\\{" }] }
    Flag = { "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": "\\$\\{" }] }
    Json = {}
}

/// A string with its variables replaced. The value may be a secret: findings show what was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    pub value: String,
    /// As written: what messages may show.
    pub raw: String,
    pub span: Span,
    /// Some of it is not known here: not to be judged.
    pub placeholder: bool,
}

impl Decode for Text {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.text().is_none() || node.is_null() {
            cx.expected(node, "a text");
            return None;
        }
        cx.resolve(node)
    }
}

/// A name or path: a string in which variables are not replaced.
#[derive(Debug, Clone, Default)]
pub(super) struct Name {
    pub value: String,
    pub span: Span,
}

impl Decode for Name {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match node.text() {
            Some(text) if !node.is_null() => Some(Name { value: text.to_owned(), span: node.span }),
            _ => {
                cx.expected(node, "a name");
                None
            }
        }
    }
}

/// A condition as written. Variables are not replaced: its text stands in triggers.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub source: String,
    pub span: Span,
    style: Style,
}

impl Condition {
    /// The place of one byte of it, where it stands on one line as written.
    pub(super) fn at(&self, offset: usize) -> Span {
        let characters = self.source.get(..offset).map_or(offset, |before| before.chars().count());
        match self.style {
            Style::Plain => self.span.advanced(characters, offset),
            Style::Quoted => self.span.advanced(characters + 1, offset + 1),
            Style::Block => self.span,
        }
    }
}

impl Decode for Condition {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.shape {
            Shape::Scalar(text, style) if !node.is_null() => {
                let oneline = node.span.end - node.span.start <= text.len() + 2;
                let style = if oneline { *style } else { Style::Block };
                Some(Condition { source: text.clone(), span: node.span, style })
            }
            _ => {
                cx.expected(node, "a condition");
                None
            }
        }
    }
}

/// A scalar that is read by its text after replacement; a placeholder gives nothing.
macro_rules! parsed {
    ($($(#[$meta:meta])* $name:ident($ty:ty) $code:ident $problem:literal = $parse:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $name {
            pub value: $ty,
            #[allow(dead_code)] // not every kind has a finding of its own
            pub span: Span,
        }

        impl Decode for $name {
            fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
                let text = Text::decode(node, cx)?;
                if text.placeholder {
                    return None;
                }
                let parse: fn(&str) -> Option<$ty> = $parse;
                match parse(text.value.trim()) {
                    Some(value) => Some($name { value, span: node.span }),
                    None => {
                        let (message, fix) = $problem.split_once("; ").unwrap_or(($problem, ""));
                        cx.findings.error(codes::$code, node.span, format!("\"{}\" is not {message}", text.raw), fix);
                        None
                    }
                }
            }
        }
    )*};
}

parsed! {
    /// A duration.
    For(Duration) HW104 "a duration; write 2s, 500ms or 5m" = units::duration;
    /// So many in so long.
    PerTime(Rate) HW108 "a rate; write 100/10s or 30/s" = units::rate;
    /// A whole number.
    Whole(u64) HW107 "a whole number" = |text| text.replace('_', "").parse().ok();
    /// Any number.
    Number(f64) HW107 "a number" = |text| text.parse::<f64>().ok().filter(|number| number.is_finite());
    /// Yes or no.
    Flag(bool) HW107 "true or false" = |text| match text {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    };
}

/// Any JSON, for bodies; strings may hold variables.
#[derive(Debug, Clone)]
pub(super) struct Json {
    pub value: serde_json::Value,
}

impl Decode for Json {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(Json { value: json(node, cx)? })
    }
}

fn json(node: &Node, cx: &mut Cx) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match &node.shape {
        Shape::Scalar(text, Style::Plain) => match text.as_str() {
            "" | "~" | "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => match serde_json::from_str::<serde_json::Number>(text) {
                Ok(number) => Value::Number(number),
                Err(_) => Value::String(cx.resolve(node)?.value),
            },
        },
        Shape::Scalar(..) => Value::String(cx.resolve(node)?.value),
        Shape::List(nodes) => Value::Array(nodes.iter().map(|node| json(node, cx)).collect::<Option<_>>()?),
        Shape::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| Some((key.text()?.to_owned(), json(value, cx)?)))
                .collect::<Option<_>>()?,
        ),
    })
}
