//! A seeded simulation of the engine with a model broker: thousands of schedules, each with faults of its own.
//!
//! ```text
//! plan   what a seed decides: input, cluster, how likely each fault is
//! world  the loop: random steps with faults, then calm until every lag is zero
//! worker, commits, recovery, committer   the shell, as src/worker has it, around the real Task, Commit, Batch and Suspects
//! broker, group   what Kafka does: transactions, fencing, stable offsets; generations, cooperative rebalances
//! judge  the invariants
//! ```
//!
//! `HEADWATER_SIM_SCHEDULES=1000000 cargo test --test all simulation` runs more of them, `HEADWATER_SIM_SEED=7` one.

mod broker;
mod commits;
mod committer;
mod env;
mod group;
mod judge;
mod log;
mod plan;
mod recovery;
mod tests;
mod worker;
mod world;

/// An invariant that does not hold, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

type Checked<T = ()> = Result<T, Violation>;

/// Ways to break the shell. The simulation must find each of them, or it would find nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// The ledger is committed after the transaction, not in it.
    LedgerApart,
    /// After doubt the old producer is used on.
    NoFencing,
    /// A success after a retried EndTxn counts as clean.
    TaintIgnored,
    /// After doubt the batch is committed again from memory.
    AgainAfterDoubt,
    /// Events leave when they are ready.
    OutOfOrder,
    /// What an earlier assignment started is taken for this one's.
    NoAssignmentCheck,
    /// An aborted batch is kept though its partition went and came back meanwhile.
    StaleBatchKept,
    /// The broker is not told which member commits.
    UncheckedMember,
    /// What was gathered of a partition is kept when the partition goes.
    GatheredKept,
    /// At leaving an older ledger is committed although a commit has begun since.
    StaleFarewell,
    /// Suspects and records on trial are not redone alone.
    NoSolitude,
}
