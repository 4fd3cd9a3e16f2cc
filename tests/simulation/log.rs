//! What happened, compactly: one seed gives one log, and a failure prints its end.

use std::fmt;

/// What happened; the two numbers of an [`Entry`] mean what stands behind each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Life.
    Starts,
    Crashes,
    /// Partition, offset of the record that killed.
    Killed,
    StopAsked,
    Leaves,
    /// Member expelled, generation.
    Expelled,
    /// Generation.
    Rebalanced,
    /// Partition, committed offset.
    Opens,
    /// Partition.
    GivesUp,
    /// Partition, offset: leaves, and says that nothing killed it.
    BidsFarewell,
    /// Partition, offset.
    Taken,
    Known,
    Condemned,
    WaitsForSolitude,
    SuspectBuried,
    Released,
    /// Outputs, ledgers.
    Begins,
    /// Outputs, ledgers.
    BeginsAgain,
    /// Epoch.
    Fenced,
    InitialiseFailed,
    Clean,
    Aborted,
    Doubtful,
    Refused,
    /// Partitions dropped from an aborted batch.
    AgainShrunk,
    Forgets,
    /// Producer, epoch.
    StragglerDecides,
    StragglerRefused,
    TransactionTimedOut,
    GenerationRefused,
    /// Outputs committed, ledgers committed.
    Committed,
    /// The worker waits in a rebalance callback: for its commit, for a stable offset.
    WaitsForCommit,
    WaitsForStable,
    FaultsOver,
}

impl What {
    /// Everything that a run of many schedules must have met.
    pub const ALL: &[What] = &[
        What::Starts,
        What::Crashes,
        What::Killed,
        What::StopAsked,
        What::Leaves,
        What::Expelled,
        What::Rebalanced,
        What::Opens,
        What::GivesUp,
        What::BidsFarewell,
        What::Taken,
        What::Known,
        What::Condemned,
        What::WaitsForSolitude,
        What::SuspectBuried,
        What::Released,
        What::Begins,
        What::BeginsAgain,
        What::Fenced,
        What::InitialiseFailed,
        What::Clean,
        What::Aborted,
        What::Doubtful,
        What::Refused,
        What::AgainShrunk,
        What::Forgets,
        What::StragglerDecides,
        What::StragglerRefused,
        What::TransactionTimedOut,
        What::GenerationRefused,
        What::Committed,
        What::WaitsForCommit,
        What::WaitsForStable,
        What::FaultsOver,
    ];
}

/// One line of the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub at_ms: u64,
    pub worker: usize,
    pub what: What,
    pub a: i64,
    pub b: i64,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} ms  worker {}  {:?} {} {}", self.at_ms, self.worker, self.what, self.a, self.b)
    }
}

/// The last lines, for a person.
pub fn tail(log: &[Entry], lines: usize) -> String {
    log[log.len().saturating_sub(lines)..].iter().map(|entry| format!("{entry}\n")).collect()
}
