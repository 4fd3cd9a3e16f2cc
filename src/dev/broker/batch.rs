//! The record batch as it travels (format v2), read in place: only what the broker itself has to know or to patch.
//!
//! Source: "Record Batch" in Apache Kafka's documentation, section Message Format.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;
const LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// The checksum covers everything from here on, so base offset and leader epoch can be patched freely.
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const COMPRESSION: i16 = 0x07;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fields of a batch's header that the broker acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Compression, timestamp type, transactional and control bits.
    pub attributes: i16,
    /// Offset of the last record minus that of the first.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from, in ms.
    pub base_timestamp: i64,
    /// The largest timestamp, in ms.
    pub max_timestamp: i64,
    /// −1 without idempotence.
    pub producer_id: i64,
    /// −1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence number of the first record, −1 without idempotence.
    pub base_sequence: i32,
}

impl BatchHeader {
    /// Whether the batch belongs to a transaction.
    pub fn transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch is a transaction marker or another control batch.
    pub fn control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Sequence number of the last record; sequences wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        if last > i64::from(i32::MAX) { (last - i64::from(i32::MAX) - 1) as i32 } else { last as i32 }
    }
}

/// Why bytes are not one batch that a producer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A client older than Kafka 0.11 writes other formats.
    #[error("message format {0}; this broker takes format 2 only (any client since Kafka 0.11)")]
    Format(i8),
    /// Cut short, or more than one batch for a partition.
    #[error("{0} bytes are not exactly one record batch")]
    Length(usize),
    /// Damaged on the way.
    #[error("the checksum does not match")]
    Checksum,
    /// Header and content disagree.
    #[error("{0} records but a last offset delta of {1}")]
    Count(i32, i32),
}

/// Reads and verifies the one batch that `bytes` is.
pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    if bytes.len() > MAGIC_AT && bytes[MAGIC_AT] != 2 {
        return Err(BatchError::Format(bytes[MAGIC_AT] as i8));
    }
    if bytes.len() < HEADER_BYTES {
        return Err(BatchError::Length(bytes.len()));
    }
    let length = (&bytes[LENGTH_AT..]).get_i32();
    if length < 0 || length as usize + LEADER_EPOCH_AT != bytes.len() {
        return Err(BatchError::Length(bytes.len()));
    }
    let crc = (&bytes[CRC_AT..]).get_u32();
    if crc32c::crc32c(&bytes[ATTRIBUTES_AT..]) != crc {
        return Err(BatchError::Checksum);
    }
    let mut rest = &bytes[ATTRIBUTES_AT..];
    let header = BatchHeader {
        attributes: rest.get_i16(),
        last_offset_delta: rest.get_i32(),
        base_timestamp: rest.get_i64(),
        max_timestamp: rest.get_i64(),
        producer_id: rest.get_i64(),
        producer_epoch: rest.get_i16(),
        base_sequence: rest.get_i32(),
    };
    let records = rest.get_i32();
    if records < 1 || header.last_offset_delta != records - 1 {
        return Err(BatchError::Count(records, header.last_offset_delta));
    }
    Ok(header)
}

/// A copy of `bytes` placed at `base_offset`; with `append_time_ms` its records carry that time (and a new checksum).
pub fn place(bytes: &[u8], header: &BatchHeader, base_offset: i64, append_time_ms: Option<i64>) -> Bytes {
    let mut placed = BytesMut::from(bytes);
    (&mut placed[0..]).put_i64(base_offset);
    (&mut placed[LEADER_EPOCH_AT..]).put_i32(0);
    if let Some(time) = append_time_ms {
        (&mut placed[ATTRIBUTES_AT..]).put_i16(header.attributes | APPEND_TIME);
        (&mut placed[MAX_TIMESTAMP_AT..]).put_i64(time);
        let crc = crc32c::crc32c(&placed[ATTRIBUTES_AT..]);
        (&mut placed[CRC_AT..]).put_u32(crc);
    }
    placed.freeze()
}

/// A transaction marker: a control batch of one record that says how `producer_id`'s transaction ended.
pub fn marker(base_offset: i64, producer_id: i64, producer_epoch: i16, commit: bool, now_ms: i64) -> Bytes {
    let mut body = BytesMut::with_capacity(64);
    body.put_i16(TRANSACTIONAL | CONTROL);
    body.put_i32(0); // last offset delta
    body.put_i64(now_ms);
    body.put_i64(now_ms);
    body.put_i64(producer_id);
    body.put_i16(producer_epoch);
    body.put_i32(-1); // base sequence
    body.put_i32(1); // records
    // One record; the lengths are zigzag varints of one byte each.
    body.put_slice(&[32, 0, 0, 0, 8]); // length 16, attributes, timestamp delta, offset delta, key length 4
    body.put_i16(0);
    body.put_i16(i16::from(commit));
    body.put_u8(12); // value length 6: version, coordinator epoch
    body.put_i16(0);
    body.put_i32(0);
    body.put_u8(0); // headers
    let mut batch = BytesMut::with_capacity(ATTRIBUTES_AT + body.len());
    batch.put_i64(base_offset);
    batch.put_i32((ATTRIBUTES_AT - LEADER_EPOCH_AT + body.len()) as i32);
    batch.put_i32(0); // leader epoch
    batch.put_u8(2);
    batch.put_u32(crc32c::crc32c(&body));
    batch.put_slice(&body);
    batch.freeze()
}

/// Offset and timestamp of the first record at or after `time_ms` in a stored batch. A compressed batch is not opened:
/// it answers with its own first offset, which is never too late.
pub fn find_time(bytes: &[u8], time_ms: i64) -> Option<(i64, i64)> {
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    let base_offset = (&bytes[..]).get_i64();
    let mut rest = &bytes[ATTRIBUTES_AT..];
    let attributes = rest.get_i16();
    rest.advance(4);
    let (base_timestamp, max_timestamp) = (rest.get_i64(), rest.get_i64());
    if max_timestamp < time_ms {
        return None;
    }
    if attributes & APPEND_TIME != 0 {
        return Some((base_offset, max_timestamp));
    }
    if attributes & COMPRESSION != 0 {
        return Some((base_offset, base_timestamp));
    }
    let mut records = &bytes[HEADER_BYTES..];
    while !records.is_empty() {
        let length = usize::try_from(varint(&mut records)?).ok()?;
        let mut record = records.get(1..length)?; // after the attributes
        records = records.get(length..)?;
        let timestamp = base_timestamp + varint(&mut record)?;
        let offset = base_offset + varint(&mut record)?;
        if timestamp >= time_ms {
            return Some((offset, timestamp));
        }
    }
    None
}

/// A zigzag varint of at most 64 bits.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Batches as a producer would send them, for tests.
#[cfg(test)]
pub mod build {
    use super::*;

    /// An uncompressed batch: one record per value, timestamps counting up by 1 ms from `time_ms`.
    pub fn batch(producer: (i64, i16, i32), transactional: bool, time_ms: i64, values: &[&str]) -> Bytes {
        let mut body = BytesMut::new();
        body.put_i16(if transactional { TRANSACTIONAL } else { 0 });
        body.put_i32(values.len() as i32 - 1);
        body.put_i64(time_ms);
        body.put_i64(time_ms + values.len() as i64 - 1);
        body.put_i64(producer.0);
        body.put_i16(producer.1);
        body.put_i32(producer.2);
        body.put_i32(values.len() as i32);
        for (i, value) in values.iter().enumerate() {
            assert!(i < 60 && value.len() < 40, "the builder writes one-byte varints only");
            let size = 6 + value.len();
            body.put_slice(&[(size * 2) as u8, 0, (i * 2) as u8, (i * 2) as u8, 1, (value.len() * 2) as u8]);
            body.put_slice(value.as_bytes());
            body.put_u8(0);
        }
        let mut batch = BytesMut::new();
        batch.put_i64(0);
        batch.put_i32((9 + body.len()) as i32);
        batch.put_i32(-1);
        batch.put_u8(2);
        batch.put_u32(crc32c::crc32c(&body));
        batch.put_slice(&body);
        batch.freeze()
    }
}
