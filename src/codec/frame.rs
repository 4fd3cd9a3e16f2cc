//! Confluent's wire format: a zero byte, the schema's id as four bytes, big-endian, then the Avro datum.
//! <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>

use super::DecodeError;

/// Bytes before the datum.
pub const LEN: usize = 5;

/// Appends the frame's head.
pub fn write(schema_id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

/// The schema's id and the datum. Allocates only to say what is wrong.
pub fn split(framed: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match framed {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [] => Err(DecodeError::NotFramed("the value is empty".into())),
        [0, ..] => Err(DecodeError::NotFramed(format!("{} bytes, at least {LEN} are needed", framed.len()).into())),
        [b'{', ..] => Err(DecodeError::NotFramed("it begins with {, so it is probably JSON".into())),
        [first, ..] => Err(DecodeError::NotFramed(format!("it begins with 0x{first:02x}, not 0x00").into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_as_it_was_written() {
        let mut framed = Vec::new();
        write(0x0102_0304, &mut framed);
        framed.extend_from_slice(b"body");
        assert_eq!(framed, b"\x00\x01\x02\x03\x04body");
        assert_eq!(split(&framed), Ok((0x0102_0304, &b"body"[..])));
        assert_eq!(split(&framed[..LEN]), Ok((0x0102_0304, &b""[..])));
    }

    #[test]
    fn what_is_no_frame_is_named() {
        let text = |bytes: &[u8]| split(bytes).map_err(|error| error.to_string()).map(|_| ());
        assert_eq!(text(b""), Err("not a Confluent Avro frame: the value is empty".into()));
        assert_eq!(text(b"\0\0\0"), Err("not a Confluent Avro frame: 3 bytes, at least 5 are needed".into()));
        assert_eq!(text(b"{}"), Err("not a Confluent Avro frame: it begins with {, so it is probably JSON".into()));
        assert_eq!(text(b"\x07xxxx"), Err("not a Confluent Avro frame: it begins with 0x07, not 0x00".into()));
    }
}
