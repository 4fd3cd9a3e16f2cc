//! Keyed state: hot values in memory, a changelog topic that is the truth, a local store that saves reading it.
//!
//! ```text
//!              warm / get            write                    committed
//! event ──▶ keeper (Recent) ──▶ outputs of the batch ──▶ changelog topic ──▶ store, with the changelog's offset
//!                ▲   └── not in memory ◀── store ◀────── restore, before anything is taken in ──────┘
//! ```
//!
//! A *table* is what one agent (or dedup, or decide) keeps: per key one value, in `<topology>.state.<table>`, whose
//! partition `n` belongs to partition `n` of the stage's input. A write is seen at once by the key's next event, enters
//! the transaction that releases its event, and reaches the store after that transaction was committed. The changelog is
//! the truth: the store may be behind it and may be lost with its disk, and it is never ahead of it; what it lacks is
//! read before intake opens.

mod error;
#[cfg(test)]
pub mod fake;
mod keeper;
mod layout;
mod partition;
mod progress;
mod recent;
mod restore;
mod store;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use keeper::{Durable, Keeper, StateError};
pub use partition::{Entry, Mark, PartitionStore, Position, Swept, Write};
pub use progress::{Progress, grouped};
pub use recent::Recent;
pub use restore::{LogBounds, Plan, Rebuild, plan};
pub use store::{Limits, Store, Usage};
