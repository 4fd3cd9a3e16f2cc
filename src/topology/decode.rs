//! From YAML nodes to typed keys, reporting every fault instead of stopping at the first. [`raw!`] declares a group of
//! keys once: from it come the reader, the list of known keys and, through `schemars`, the JSON schema with its hovers.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    codes,
    diagnostic::Findings,
    model::Rate,
    suggest::{did_you_mean, nearest},
    units,
    vars::{VariableError, Variables},
    yaml::{Node, Shape, Span, Style},
};

/// What decoding needs at hand.
pub(super) struct Cx<'c> {
    pub findings: &'c mut Findings,
    pub variables: &'c Variables,
    /// What is being read, for messages: `agent "crm_lookup"`.
    pub what: String,
}

impl Cx<'_> {
    /// Replaces the variables of a scalar. `None` was reported.
    fn resolve(&mut self, node: &Node) -> Option<Text> {
        let Shape::Scalar(raw, _) = &node.shape else { return None };
        let (code, message, fix) = match self.variables.resolve(raw) {
            Ok(resolved) => {
                return Some(Text {
                    value: resolved.value,
                    raw: raw.clone(),
                    span: node.span,
                    placeholder: resolved.placeholder,
                });
            }
            Err(VariableError::NotSet(name)) => (
                codes::HW506,
                format!("the variable {name} is not set"),
                format!("Set it in the environment, or give it a default: ${{{name}:-…}}"),
            ),
            Err(VariableError::NotClosed) => {
                (codes::HW111, "\"${\" is not closed".to_owned(), "Write ${NAME}; a literal ${ is $${".to_owned())
            }
            Err(VariableError::Name(name)) => (
                codes::HW111,
                format!("\"{name}\" is not the name of a variable"),
                "Write ${NAME}, ${NAME:-default} or ${file:/path}; a literal ${ is $${".to_owned(),
            ),
            Err(VariableError::File(path, error)) => {
                (codes::HW506, format!("the file {path} cannot be read: {error}"), String::new())
            }
        };
        self.findings.error(code, node.span, message, fix);
        None
    }

    /// Reports that something else was expected.
    fn expected(&mut self, node: &Node, wanted: &str) {
        let found = match node.text() {
            Some(text) if !node.is_null() && text.len() <= 60 => format!("\"{text}\""),
            _ => node.noun().to_owned(),
        };
        let message = format!("{found} stands where {} wants {wanted}", self.what);
        self.findings.error(codes::HW107, node.span, message, "");
    }
}

/// A key that is required, but whose faults are to leave the rest readable.
#[derive(Debug, Clone)]
pub(super) struct Lenient<T>(pub Option<T>);

impl<T: Decode> Decode for Lenient<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(Lenient(T::decode(node, cx)))
    }
}

impl<T: JsonSchema> JsonSchema for Lenient<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Something that a node can be read as. `None` was reported, or is a placeholder's.
pub(super) trait Decode: Sized {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self>;

    /// Its value when the key is not there; `None` makes the key required.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_null() { Some(None) } else { Some(T::decode(node, cx)) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// A group of keys, readable from a map that may hold other groups too.
pub(super) trait Read: Sized {
    fn read(map: &mut MapReader, cx: &mut Cx) -> Option<Self>;
}

/// The keys of a map; remembers which were asked for.
pub(super) struct MapReader<'n> {
    entries: &'n [(Node, Node)],
    span: Span,
    known: Vec<&'static str>,
}

impl<'n> MapReader<'n> {
    pub(super) fn open(node: &'n Node, cx: &mut Cx) -> Option<Self> {
        match &node.shape {
            Shape::Map(entries) => Some(MapReader { entries, span: node.span, known: Vec::new() }),
            _ if node.is_null() => Some(MapReader { entries: &[], span: node.span, known: Vec::new() }),
            _ => {
                cx.expected(node, "a map of keys");
                None
            }
        }
    }

    /// Looks at a key without counting it as known.
    pub(super) fn peek(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// What the map calls itself: a trigger by its campaign, a stage by its name.
    pub(super) fn label(&self) -> Option<&'n str> {
        self.peek("campaign").or_else(|| self.peek("name")).and_then(Node::text)
    }

    pub(super) fn key<T: Decode>(&mut self, key: &'static str, cx: &mut Cx) -> Option<T> {
        let key = key.strip_prefix("r#").unwrap_or(key);
        self.known.push(key);
        match self.peek(key) {
            Some(node) => T::decode(node, cx),
            None => T::absent().or_else(|| {
                let message = format!("{} has no key \"{key}\", which it needs", cx.what);
                cx.findings.error(codes::HW105, Span { end: self.span.start, ..self.span }, message, "");
                None
            }),
        }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self, cx: &mut Cx) {
        for (key, _) in self.entries {
            let name = key.text().unwrap_or_default();
            if !self.known.contains(&name) {
                let message = format!("unknown key \"{name}\" in {}", cx.what);
                let fix = match nearest(name, self.known.iter().copied()) {
                    Some(_) => did_you_mean(name, self.known.iter().copied()),
                    None => format!("It knows {}", self.known.join(", ")),
                };
                cx.findings.error(codes::HW101, key.span, message, fix);
            }
        }
    }
}

/// Declares a group of keys: `raw! { "cache" struct RawCache { /// hover  ttl: Option<For>, … } }`.
macro_rules! raw {
    ($($(#[$meta:meta])* $noun:literal struct $name:ident { $($(#[$field_meta:meta])* $field:ident : $ty:ty),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        #[allow(dead_code)] // keys of later types are checked, and not used yet
        pub(super) struct $name { $($(#[$field_meta])* pub $field: $ty,)* }

        impl $crate::topology::decode::Read for $name {
            #[allow(unused_variables)]
            fn read(
                map: &mut $crate::topology::decode::MapReader,
                cx: &mut $crate::topology::decode::Cx,
            ) -> Option<Self> {
                $(let $field = map.key::<$ty>(stringify!($field), cx);)*
                Some($name { $($field: $field?,)* })
            }
        }

        impl $crate::topology::decode::Decode for $name {
            fn decode(
                node: &$crate::topology::yaml::Node,
                cx: &mut $crate::topology::decode::Cx,
            ) -> Option<Self> {
                let outer = cx.what.clone();
                if !$noun.is_empty() {
                    cx.what = if outer.is_empty() { $noun.to_owned() } else { format!("{} of {outer}", $noun) };
                }
                let read = $crate::topology::decode::MapReader::open(node, cx).and_then(|mut map| {
                    if let Some(label) = map.label() {
                        cx.what = format!("{} \"{label}\"", $noun);
                    }
                    let read = <Self as $crate::topology::decode::Read>::read(&mut map, cx);
                    map.finish(cx);
                    read
                });
                cx.what = outer;
                read
            }
        }
    )*};
}
pub(super) use raw;

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
        match self.style {
            Style::Plain => self.span.advanced(offset),
            Style::Quoted => self.span.advanced(offset + 1),
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

/// One or several: `a` or `[a, b]`.
#[derive(Debug, Clone)]
pub(super) struct OneOrMany<T>(pub Vec<T>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(OneOrMany(match &node.shape {
            Shape::List(nodes) => nodes.iter().filter_map(|node| T::decode(node, cx)).collect(),
            _ => vec![T::decode(node, cx)?],
        }))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// A list; what cannot be read was reported and is left out.
impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.shape {
            Shape::List(nodes) => Some(nodes.iter().filter_map(|node| T::decode(node, cx)).collect()),
            _ if node.is_null() => Some(Vec::new()),
            _ => {
                cx.expected(node, "a list");
                None
            }
        }
    }
}

/// A map with free keys, in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct Table<T>(pub Vec<(Name, T)>);

impl<T: Decode> Decode for Table<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let map = MapReader::open(node, cx)?;
        let mut entries = Vec::new();
        for (key, value) in map.entries {
            let Some(key) = Name::decode(key, cx) else { continue };
            if let Some(value) = T::decode(value, cx) {
                entries.push((key, value));
            }
        }
        Some(Table(entries))
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Table{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}
