//! From YAML nodes to typed keys, reporting every fault instead of stopping at the first. [`raw!`] declares a group of
//! keys once: from it come the reader, the list of known keys and, through `schemars`, the JSON schema with its hovers.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub(super) use super::leaf::{Condition, Flag, For, Json, Name, Number, PerTime, Text, Whole};
use super::{
    codes,
    diagnostic::Findings,
    suggest::{did_you_mean, nearest},
    vars::{VariableError, Variables},
    yaml::{Node, Shape, Span},
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
    pub(super) fn resolve(&mut self, node: &Node) -> Option<Text> {
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
    pub(super) fn expected(&mut self, node: &Node, wanted: &str) {
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
