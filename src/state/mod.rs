//! What is known of each key, on the local disk: a copy of the changelogs, so that a start need not read them whole.
//!
//! ```text
//! changelog topic ──▶ restore ──▶ store ──▶ worker's memory
//!  the truth           plan        a copy    hot keys
//! ```
//!
//! The changelog is the truth. The store may be behind it and may be lost with its disk; it is never ahead of it.

mod error;
mod layout;
mod partition;
mod progress;
mod restore;
mod store;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use partition::{Entry, Mark, PartitionStore, Position, Swept, Write};
pub use progress::Progress;
pub use restore::{LogBounds, Plan, Rebuild, plan};
pub use store::{Limits, Store, Usage};
