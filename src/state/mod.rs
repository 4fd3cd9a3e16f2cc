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
//! the transaction that releases its event, and reaches the store after that transaction was committed. A crash at any
//! step leaves a store that is behind its changelog, never ahead of it; what it lacks is read before intake opens.

mod keeper;
mod recent;

pub use keeper::{Durable, Keeper, StateError};
pub use recent::Recent;
