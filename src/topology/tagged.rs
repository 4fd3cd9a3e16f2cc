//! Things whose keys depend on their `type`: agents, services, destinations, sinks, feeds. One row of a table per type
//! gives reader, help and JSON schema.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{
    codes,
    decode::{Cx, Decode, MapReader, Name, Read},
    suggest::nearest,
    yaml::{Node, Shape, Span},
};

/// One type.
pub(super) struct Kind<B> {
    /// What stands behind `type:`.
    pub name: &'static str,
    /// What an editor shows.
    pub doc: &'static str,
    /// Reads the keys of this type, beside the common ones.
    pub read: fn(&mut MapReader, &mut Cx) -> Option<B>,
    /// The schemas of its groups of keys.
    pub keys: &'static [fn(&mut SchemaGenerator) -> Schema],
}

/// The schema of one group of keys, for [`Kind::keys`].
pub(super) fn keys<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// Something with a `type`, the keys `C` of every type, and those of its own.
#[derive(Debug, Clone)]
pub(super) struct Tagged<C, B> {
    pub kind: Name,
    pub common: C,
    pub body: B,
    pub span: Span,
}

/// Reads one, given the table of its types.
pub(super) fn read<C: Read, B: 'static>(
    node: &Node,
    cx: &mut Cx,
    noun: &str,
    kinds: &[Kind<B>],
) -> Option<Tagged<C, B>> {
    let mut map = MapReader::open(node, cx)?;
    let kind = map.key::<Name>("type", cx)?;
    let names = || kinds.iter().map(|kind| kind.name);
    let Some(row) = kinds.iter().find(|row| row.name == kind.value) else {
        let message = format!("there is no {noun} type \"{}\"", kind.value);
        let mut fix =
            nearest(&kind.value, names()).map_or_else(String::new, |near| format!("did you mean \"{near}\"? "));
        fix.push_str(&format!("There are {}", names().collect::<Vec<_>>().join(", ")));
        cx.findings.error(codes::HW112, kind.span, message, fix);
        return None;
    };
    let common = C::read(&mut map, cx);
    let body = (row.read)(&mut map, cx);
    map.finish(cx);
    Some(Tagged { kind, common: common?, body: body?, span: node.span })
}

/// Named things, in the order of the file; of those with faults only the names.
#[derive(Debug, Clone)]
pub(super) struct Named<T> {
    pub entries: Vec<(Name, T)>,
    pub broken: Vec<String>,
}

impl<T> Named<T> {
    /// Reads a map of name → thing; `noun "name"` is what messages speak of.
    pub(super) fn read(node: &Node, cx: &mut Cx, noun: &str, one: fn(&Node, &mut Cx) -> Option<T>) -> Option<Self> {
        let entries: &[(Node, Node)] = match &node.shape {
            Shape::Map(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                let message = format!("{} stands where a map of {noun}s belongs", node.noun());
                cx.findings.error(
                    codes::HW107,
                    node.span,
                    message,
                    format!("Write <name>: {{ type: … }} for each {noun}"),
                );
                return None;
            }
        };
        let outer = cx.what.clone();
        let mut named = Named { entries: Vec::new(), broken: Vec::new() };
        for (key, value) in entries {
            let Some(name) = Name::decode(key, cx) else { continue };
            cx.what = format!("{noun} \"{}\"", name.value);
            match one(value, cx) {
                Some(thing) => named.entries.push((name, thing)),
                None => named.broken.push(name.value),
            }
        }
        cx.what = outer;
        Some(named)
    }
}

/// The schema of one such thing: for each type the common keys and its own.
pub(super) fn schema<C: JsonSchema, B>(generator: &mut SchemaGenerator, kinds: &[Kind<B>]) -> Schema {
    let types: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let rules: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            let mut properties = Map::new();
            properties.insert("type".to_owned(), json!({ "const": kind.name, "description": kind.doc }));
            let mut required = vec![json!("type")];
            let groups: Vec<Schema> = std::iter::once(C::json_schema(generator))
                .chain(kind.keys.iter().map(|keys| keys(generator)))
                .collect();
            for group in groups {
                if let Some(Value::Object(keys)) = group.get("properties") {
                    properties.extend(keys.clone());
                }
                if let Some(Value::Array(keys)) = group.get("required") {
                    required.extend(keys.iter().cloned());
                }
            }
            json!({
                "if": { "properties": { "type": { "const": kind.name } }, "required": ["type"] },
                "then": { "properties": properties, "required": required, "additionalProperties": false }
            })
        })
        .collect();
    let schema = json!({
        "type": "object",
        "properties": { "type": { "enum": types, "description": "What it is; its further keys depend on it." } },
        "required": ["type"],
        "allOf": rules
    });
    Schema::try_from(schema).unwrap_or_default()
}

/// `JsonSchema` for a table of named things.
macro_rules! named {
    ($($name:ident, $noun:literal: $common:ty, $body:ty, $kinds:expr;)*) => {$(
        /// Named ones, in the order of the file.
        #[derive(Debug, Clone)]
        pub(super) struct $name(pub $crate::topology::tagged::Named<$crate::topology::tagged::Tagged<$common, $body>>);

        impl $crate::topology::decode::Decode for $name {
            fn decode(node: &$crate::topology::yaml::Node, cx: &mut $crate::topology::decode::Cx) -> Option<Self> {
                let one = |node: &$crate::topology::yaml::Node, cx: &mut $crate::topology::decode::Cx| {
                    $crate::topology::tagged::read(node, cx, $noun, $kinds)
                };
                Some($name($crate::topology::tagged::Named::read(node, cx, $noun, one)?))
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let one = $crate::topology::tagged::schema::<$common, $body>(generator, $kinds);
                schemars::json_schema!({ "type": "object", "additionalProperties": one })
            }
        }
    )*};
}
pub(super) use named;
