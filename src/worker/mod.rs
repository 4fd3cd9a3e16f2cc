//! The shell around the engine: one consumer and its producer, driving the tasks assigned to them.
//!
//! One plain thread polls, starts, releases and gathers; one commit thread commits; agents' I/O runs on the shared tokio
//! runtime. The worker never blocks on a commit or a call, and back-pressure is not polling a partition's queue.
//!
//! `worker` is the loop; each turn `take_in` fills the tasks, `flights` starts, finishes and releases events, `commits`
//! gives the commit thread (`committer`) its batch; `recovery` is what happens when partitions come, go or must resume.

mod commits;
mod committer;
mod flights;
mod recovery;
mod slot;
mod stats;
mod take_in;
#[allow(clippy::module_inception)]
mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use futures::future::BoxFuture;

pub use committer::{Committer, OffsetCommitter, TransactionCommitter};
pub use stats::{Histogram, Stats};
pub use worker::{Worker, WorkerSettings};

use crate::{
    clock,
    engine::{Batch, Outputs},
    kafka::{Input, KafkaError, Written},
};

/// What a stage does with records: the part that differs between intake, enrich and deliver.
pub trait Stage: 'static {
    /// An event under way.
    type Work: 'static;
    /// What a started future brings back.
    type Finished: Send + 'static;
    /// Whether an event starts only after the previous one of its key has left (calls that have effects), or at once
    /// (functions of the record).
    const SERIAL: bool;
    /// Index of the dead-letter topic among the output topics.
    const DEAD_LETTERS: usize;
    /// Output topics from this index on hold keyed state: in a batch only the last record of each key is written.
    const STATE_FROM: usize = usize::MAX;

    /// Reads a record.
    fn accept(&mut self, input: &Input<'_>) -> Accept<Self::Work>;

    /// Makes a dead letter of a record that cannot go through.
    fn bury(&mut self, input: &Input<'_>, why: Burial) -> Self::Work;

    /// A grave takes over what the buried work leaves behind: state that later events of its key have seen.
    fn inherit(&mut self, _grave: &mut Self::Work, _buried: &mut Self::Work) {}

    /// Starts what can start, and again after each [`Stage::finish`] and whenever the key's previous event got ahead.
    /// `ahead`: what [`Stage::behind`] says of all the key's earlier events under way; all ones where there is none.
    /// Says whether the work is ready to leave.
    fn start(
        &mut self,
        work: &mut Self::Work,
        ahead: u64,
        futures: &mut Vec<BoxFuture<'static, Self::Finished>>,
    ) -> bool;

    /// The ordered steps that this event has behind it or does not take, one bit each: the key's next event may take
    /// those that all before it have behind them.
    fn behind(&self, _work: &Self::Work) -> u64 {
        u64::MAX
    }

    /// Takes what a future brought back.
    fn finish(&mut self, work: &mut Self::Work, finished: Self::Finished);

    /// In the key's order: turns finished work into output records. `Err` makes a dead letter of it instead.
    fn release(&mut self, input: &Input<'_>, work: &mut Self::Work, outputs: &mut Outputs) -> Result<(), Burial>;

    /// Whether what held a partition back is over.
    fn is_lifted(&mut self, hold: &Hold) -> bool;

    /// The partitions that the worker has now, after each rebalance and each resumption.
    fn assigned(&mut self, partitions: &[i32]);

    /// Called before a newly assigned partition takes anything in, with its tag (see [`crate::engine::partition_tag`]);
    /// [`Stage::assigned`] follows once all of them are open.
    fn opening(&mut self, partition: i32, tag: u32) -> Option<Hold>;

    /// A batch was committed, as far as it concerns the partitions that are `ours` still: stores the state in it.
    /// `written` says where its state topics end.
    fn committed(&mut self, _batch: &Batch, _written: &[Written], _ours: &dyn Fn(i32) -> bool) {}

    /// What makes going on impossible; nothing more is committed then.
    fn fault(&mut self) -> Option<KafkaError> {
        None
    }

    /// The control epoch to stamp into ledgers, where the stage obeys the control topic.
    fn epoch(&self) -> i64 {
        0
    }

    /// Whether to poll at all: a destination that is down is lag, not memory.
    fn is_accepting(&self) -> bool {
        true
    }
}

/// What became of a record that was read.
pub enum Accept<W> {
    /// An event of the key with this hash.
    Work { key: u64, work: W },
    /// Not now: the partition waits, the record is kept.
    Hold(Hold),
}

/// Why a partition waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The writer's schema is being looked up.
    Schema(u32),
    /// The record belongs to a newer chain: this process is about to be replaced.
    NewerChain(u32),
    /// The control topic is being read, or says stop.
    Control,
    /// The partition's state is being restored from its changelogs.
    Restore(i32),
}

/// Why a record cannot go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Burial {
    /// It killed its worker again and again.
    Killed,
    /// The broker refuses what is made of it, also alone.
    Refused(String),
    /// An agent or the stage panicked on it.
    Panicked(String),
    /// What is made of it is too large.
    TooLarge(String),
    /// It cannot be encoded.
    Unencodable(String),
}

/// Handles that outlive a worker's thread: stop it, wake it, see whether it is alive.
#[derive(Clone, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    /// When the worker last polled, milliseconds since 1970 UTC.
    last_poll_ms: Arc<AtomicI64>,
}

impl Control {
    /// Asks the worker to finish what it took, commit, and leave the group.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn beat(&self) {
        self.last_poll_ms.store(clock::unix_ms(), Ordering::Release);
    }

    /// Milliseconds since the worker last polled. Beyond the session timeout another member may own its partitions.
    pub fn silent_ms(&self) -> i64 {
        clock::unix_ms() - self.last_poll_ms.load(Ordering::Acquire)
    }
}
