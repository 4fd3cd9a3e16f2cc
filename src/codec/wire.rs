//! One value to and from a framed Avro datum, through serde_avro_fast.

use serde::{Serialize, de::DeserializeSeed};
use serde_avro_fast::{
    Schema,
    de::{DeserializerConfig, DeserializerState, read::SliceRead},
    ser::{SerializerConfig, SerializerState},
};

use super::{
    CodecError, DecodeError,
    cache::{Lookup, SchemaCache},
    frame,
};

/// Writes values of one schema, framed.
pub(super) struct Writer {
    schema: Schema,
    id: u32,
}

impl Writer {
    pub(super) fn new(schema_json: &str, id: u32) -> Result<Self, CodecError> {
        let schema = schema_json
            .parse()
            .map_err(|error: serde_avro_fast::schema::SchemaError| CodecError::Schema(error.to_string().into()))?;
        Ok(Writer { schema, id })
    }

    /// Appends frame and datum; on error `out` is as it was.
    pub(super) fn write(&self, value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        frame::write(self.id, out);
        // Its buffers are used only where fields come in another order than the schema's; ours never do, so that a
        // new one costs no allocation.
        let mut config = SerializerConfig::new(&self.schema);
        let mut state = SerializerState::from_writer(&mut *out, &mut config);
        let written = value.serialize(state.serializer());
        written.map_err(|error| {
            out.truncate(start);
            CodecError::Value(error.to_string().into())
        })
    }
}

/// Reads a framed value by its writer's schema.
pub(super) fn read<'de, S: DeserializeSeed<'de>>(
    schemas: &SchemaCache,
    framed: &'de [u8],
    seed: S,
) -> Result<S::Value, DecodeError> {
    let (id, datum) = frame::split(framed)?;
    let writer = match schemas.get(id) {
        Lookup::Ready(writer) => writer,
        Lookup::Missing => return Err(DecodeError::NoSuchSchema(id)),
        Lookup::NotLoaded => return Err(DecodeError::SchemaNotLoaded(id)),
    };
    let schema = writer.schema().map_err(|why| DecodeError::Malformed(format!("schema {id}: {why}").into()))?;
    let mut config = DeserializerConfig::new(schema);
    // Elements take a byte each, or nothing at all: then a hostile count must not keep us busy.
    config.max_seq_size = datum.len();
    config.allowed_depth = 32;
    let mut state = DeserializerState::with_config(SliceRead::new(datum), config);
    let value = seed
        .deserialize(state.deserializer())
        .map_err(|error| DecodeError::Malformed(format!("schema {id}: {error}").into()))?;
    match remaining(state.into_reader()) {
        0 => Ok(value),
        left => Err(DecodeError::Malformed(
            format!("schema {id}: {left} of {} bytes are left over: written by another schema?", datum.len()).into(),
        )),
    }
}

fn remaining(mut reader: SliceRead<'_>) -> usize {
    std::io::BufRead::fill_buf(&mut reader).map_or(0, <[u8]>::len)
}
