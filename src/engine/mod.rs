//! What a stage runs on: ledger, order, DAG and commit are state machines without I/O or clocks; the worker feeds them.
//!
//! ```text
//!  Kafka ──▶ worker ──▶ task (one per partition) ──────────────▶ batch ──▶ commit thread ──▶ Kafka
//!            consumer    ledger: which offsets are done           outputs   begin → produce → send offsets → commit
//!                        order:  released per key as they came    ledgers
//! ```

mod batch;
mod commit;
mod dag;
mod ledger;
mod order;
mod suspects;
mod task;
mod turn;

use std::hash::{DefaultHasher, Hasher};

pub use batch::{Batch, LedgerEntry, Mark, Output, Outputs, PushError};
pub use commit::{AGAIN_LIMIT, After, Commit, Next, Verdict};
pub use dag::{Dag, Progress};
pub use ledger::{Ledger, LedgerError, MAX_OPEN, MAX_SPAN, Stamp};
pub use order::{Flight, Order};
pub use suspects::Suspects;
pub use task::{Room, Task, Trial};
pub use turn::Turn;

/// The hash of a record's key that keeps its events in order inside a process.
pub fn hash_key(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// 32 bits of (cluster id, topic id, partition): tells a partition from one of the same name elsewhere or recreated.
pub fn partition_tag(cluster: &str, topic_id: &[u8; 16], partition: i32) -> u32 {
    let tag = crc32c::crc32c(cluster.as_bytes());
    let tag = crc32c::crc32c_append(tag, topic_id);
    crc32c::crc32c_append(tag, &partition.to_be_bytes())
}
