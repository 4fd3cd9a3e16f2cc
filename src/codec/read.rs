//! How single values are read, whatever the writer called their type: the leaves of every decoder.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::event::{Type, Value};

/// Resolves a field's name by a function, without allocating.
pub(super) struct Key<F>(pub F);

impl<'de, K, F: FnOnce(&str) -> K> DeserializeSeed<'de> for Key<F> {
    type Value = K;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, K, F: FnOnce(&str) -> K> Visitor<'de> for Key<F> {
    type Value = K;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<K, E> {
        Ok((self.0)(name))
    }
}

/// Reads the next value by `seed`; an error names the field.
pub(super) fn field<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
    map: &mut A,
    name: &str,
    seed: S,
) -> Result<S::Value, A::Error> {
    map.next_value_seed(seed).map_err(|error| A::Error::custom(format_args!("{name}: {error}")))
}

/// Passes over the next value.
pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// An integer of any narrower type; absent is 0, out of range an error.
pub(super) fn integer<'de, A: MapAccess<'de>, N: TryFrom<i64> + Default>(
    map: &mut A,
    name: &str,
) -> Result<N, A::Error> {
    match field(map, name, Long)? {
        None => Ok(N::default()),
        Some(value) => {
            N::try_from(value).map_err(|_| A::Error::custom(format_args!("{name}: {value} is out of range")))
        }
    }
}

macro_rules! leaf {
    ($seed:ident -> $value:ty, $expects:literal, { $($visits:tt)* }) => {
        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = Option<$value>;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }
        impl<'de> Visitor<'de> for $seed {
            type Value = Option<$value>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expects)
            }
            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
            $($visits)*
        }
    };
}

/// Text, from string, bytes or an enum's symbol.
pub(super) struct Text;
leaf!(Text -> Arc<str>, "text", {
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.into()))
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        std::str::from_utf8(bytes).map(|text| Some(text.into())).map_err(E::custom)
    }
});

/// An integer that fits 64 bits.
pub(super) struct Long;
leaf!(Long -> i64, "an integer", {
    fn visit_i32<E: Error>(self, value: i32) -> Result<Self::Value, E> {
        Ok(Some(value.into()))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value))
    }
});

/// Any number, as a double.
pub(super) struct Double;
leaf!(Double -> f64, "a number", {
    fn visit_i32<E: Error>(self, value: i32) -> Result<Self::Value, E> {
        Ok(Some(value.into()))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value as f64))
    }
    fn visit_f32<E: Error>(self, value: f32) -> Result<Self::Value, E> {
        Ok(Some(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(value))
    }
});

/// A boolean.
pub(super) struct Bool;
leaf!(Bool -> bool, "a boolean", {
    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(value))
    }
});

/// Bytes, from bytes, fixed or string.
pub(super) struct Bytes;
leaf!(Bytes -> Vec<u8>, "bytes", {
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Some(bytes.to_vec()))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.as_bytes().to_vec()))
    }
});

/// A list of texts; nulls in it are left out.
pub(super) struct TextList;
leaf!(TextList -> Vec<Arc<str>>, "a list of texts", {
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(text) = seq.next_element_seed(Text)? {
            list.extend(text);
        }
        Ok(Some(list))
    }
});

/// A text that is not kept: only what a function makes of it.
pub(super) struct Symbol<F>(pub F);

impl<'de, K, F: FnOnce(&str) -> Option<K>> DeserializeSeed<'de> for Symbol<F> {
    type Value = Option<K>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<K>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K, F: FnOnce(&str) -> Option<K>> Visitor<'de> for Symbol<F> {
    type Value = Option<K>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a symbol")
    }
    fn visit_unit<E: Error>(self) -> Result<Option<K>, E> {
        Ok(None)
    }
    fn visit_str<E: Error>(self, symbol: &str) -> Result<Option<K>, E> {
        Ok((self.0)(symbol))
    }
}

/// A map from text; entries that are null are left out.
pub(super) struct MapOf<S>(pub fn() -> S);

impl<'de, T, S: DeserializeSeed<'de, Value = Option<T>>> DeserializeSeed<'de> for MapOf<S> {
    type Value = BTreeMap<Arc<str>, T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, S: DeserializeSeed<'de, Value = Option<T>>> Visitor<'de> for MapOf<S> {
    type Value = BTreeMap<Arc<str>, T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some(key) = map.next_key_seed(Key(|key: &str| Arc::<str>::from(key)))? {
            let value =
                map.next_value_seed((self.0)()).map_err(|error| A::Error::custom(format_args!("{key:?}: {error}")))?;
            if let Some(value) = value {
                values.insert(key, value);
            }
        }
        Ok(values)
    }
}

/// Any scalar as text, numbers decimal: the values of `properties`.
pub(super) struct Scalar;
leaf!(Scalar -> Arc<str>, "text, a number or a boolean", {
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.into()))
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(if value { "true".into() } else { "false".into() }))
    }
    fn visit_i32<E: Error>(self, value: i32) -> Result<Self::Value, E> {
        Ok(Some(value.to_string().into()))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string().into()))
    }
    fn visit_f32<E: Error>(self, value: f32) -> Result<Self::Value, E> {
        Ok(Some(value.to_string().into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string().into()))
    }
});

/// A part's field of that type.
pub(super) struct Leaf(pub Type);

impl<'de> DeserializeSeed<'de> for Leaf {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0 {
            Type::Bool => Ok(Bool.deserialize(deserializer)?.into()),
            Type::Int | Type::Timestamp => Ok(Long.deserialize(deserializer)?.into()),
            Type::Float => Ok(Double.deserialize(deserializer)?.into()),
            Type::Text => Ok(Text.deserialize(deserializer)?.map_or(Value::Null, Value::Text)),
            Type::TextList => Ok(TextList
                .deserialize(deserializer)?
                .map_or(Value::Null, |list| Value::List(list.into_iter().map(Value::Text).collect()))),
        }
    }
}
