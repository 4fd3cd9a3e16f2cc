//! The agents: one file per type. An agent is a function from a record to its own part of it.

use futures::future::BoxFuture;

use crate::event::{Part, Record};

/// What starting an agent gives.
pub enum Step {
    /// The part, at once: pure agents and cache hits.
    Done(Part),
    /// The part comes later; run it on the I/O runtime. Keeps the agent's deadline itself and never fails:
    /// whatever happens is a part's outcome.
    Pending(BoxFuture<'static, Part>),
}

/// An agent as the engine sees it. `start` runs on the worker thread: it must not block, and is quick.
pub trait Agent: Send + Sync {
    /// Begins the agent's work on one record, whose dependencies' parts are there.
    fn start(&self, record: &Record) -> Step;
}
