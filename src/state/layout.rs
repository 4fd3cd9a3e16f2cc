//! How a partition's entries lie in the store, big-endian.
//!
//! ```text
//! 0x00, table                      → next offset i64, tag u32, time i64
//! length u8, table, 0x00, key      → time i64, value
//! length u8, table, 0x01, SHA-256  → time i64, value: of a key that is longer than LONGEST_KEY
//! ```
//!
//! A table is told by its name: tables come and go, and change their order, from one topology to the next. A table's
//! position lies in the same tree as its entries, and whatever a crash takes, it takes both or none.

use sha2::{Digest, Sha256};

use super::partition::Position;

/// Bytes of a key that are stored as they are.
const LONGEST_KEY: usize = 1_024;
/// Bytes of the time before each value.
const TIME: usize = 8;
const POSITION: usize = 20;

/// Where a table's position lies.
pub(super) fn position_key(table: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + table.len());
    key.push(0);
    key.extend_from_slice(table.as_bytes());
    key
}

/// The beginning of the keys of all positions.
pub(super) const POSITIONS: [u8; 1] = [0];

/// Instead of a position while a table's entries are being deleted.
pub(super) const BEING_WIPED: [u8; 0] = [];

/// The table of a position's key.
pub(super) fn table_of(position_key: &[u8]) -> Option<&str> {
    std::str::from_utf8(position_key.strip_prefix(&POSITIONS)?).ok()
}

/// The beginning of the keys of a table's entries. Names are ASCII and at most 255 bytes long.
pub(super) fn prefix(table: &str) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(1 + table.len());
    prefix.push(table.len().min(255) as u8);
    prefix.extend_from_slice(table.as_bytes());
    prefix
}

/// The first key behind a table's entries.
pub(super) fn end(prefix: &[u8]) -> Vec<u8> {
    // What follows a prefix is 0 or 1.
    let mut end = prefix.to_vec();
    end.push(2);
    end
}

/// Where a key's value lies.
pub(super) fn entry_key(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(prefix.len() + 1 + key.len().min(LONGEST_KEY));
    whole.extend_from_slice(prefix);
    if key.len() <= LONGEST_KEY {
        whole.push(0);
        whole.extend_from_slice(key);
    } else {
        whole.push(1);
        whole.extend_from_slice(&Sha256::digest(key));
    }
    whole
}

/// A value under its time, milliseconds since 1970.
pub(super) fn entry(at_ms: i64, value: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(TIME + value.len());
    entry.extend_from_slice(&at_ms.to_be_bytes());
    entry.extend_from_slice(value);
    entry
}

/// Time and value of an entry.
pub(super) fn read_entry(entry: &[u8]) -> Option<(i64, &[u8])> {
    let (time, value) = entry.split_first_chunk::<TIME>()?;
    Some((i64::from_be_bytes(*time), value))
}

pub(super) fn position(position: Position) -> [u8; POSITION] {
    let mut bytes = [0; POSITION];
    bytes[..8].copy_from_slice(&position.offset.to_be_bytes());
    bytes[8..12].copy_from_slice(&position.tag.to_be_bytes());
    bytes[12..].copy_from_slice(&position.at_ms.to_be_bytes());
    bytes
}

/// `None`: no position of ours, and the table is to be rebuilt.
pub(super) fn read_position(bytes: &[u8]) -> Option<Position> {
    let (offset, rest) = bytes.split_first_chunk::<8>()?;
    let (tag, at_ms) = rest.split_first_chunk::<4>()?;
    Some(Position {
        offset: i64::from_be_bytes(*offset),
        tag: u32::from_be_bytes(*tag),
        at_ms: i64::from_be_bytes(at_ms.try_into().ok()?),
    })
}
