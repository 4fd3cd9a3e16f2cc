//! One assigned partition in the worker: its task, its queue, and the record that waits.

use super::{Hold, Stage};
use crate::{
    engine::Task,
    kafka::{OwnedInput, Queue},
};

/// An event under way. The original is kept only where the event does not leave at once.
pub(super) struct InFlight<W> {
    pub work: W,
    pub original: Option<OwnedInput>,
    /// When it was taken in.
    pub since: std::time::Instant,
    /// The ordered steps that this event and all of its key before it have behind them: what the next one may take.
    pub clear: u64,
}

/// A partition of ours.
pub(super) struct Slot<S: Stage> {
    pub task: Task<InFlight<S::Work>>,
    /// `None` until librdkafka split it off.
    pub queue: Option<Queue>,
    /// The next record, where it cannot be taken in yet.
    pub held: Option<OwnedInput>,
    /// What the partition waits for.
    pub hold: Option<Hold>,
    /// Tells this assignment from an earlier one: what an earlier one started is not ours.
    pub epoch: u64,
    /// What was started for it. Goes with the slot: a call that outlived its assignment would be somebody else's.
    pub calls: tokio::task::JoinSet<()>,
    /// Bytes of originals kept for events under way.
    pub kept: usize,
}
