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
mod task;

pub use batch::{Batch, LedgerEntry, Output, Outputs, PushError};
pub use commit::{After, Commit, Next, Verdict};
pub use dag::{Dag, Progress};
pub use ledger::{Ledger, LedgerError, MAX_OPEN, MAX_SPAN, Stamp};
pub use order::{Flight, Order};
pub use task::{Room, Task, Trial};
