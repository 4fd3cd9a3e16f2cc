//! THE PICTURE: what happens to an event, one step a file, each read in one sitting.
//!
//! ```text
//! events.raw ─▶ intake ─▶ <name>.events ─▶ enrich ─▶ <name>.<stage> ─▶ … ─▶ enrich + decide ─┬▶ <name>.enriched
//!               decode       the agents of one stage,                     rules               └▶ <name>.triggers ─▶ deliver
//!               check, key   in parallel where they can
//!                                     any of them ─▶ <name>.dead-letters
//! ```
//!
//! Each implements [`crate::worker::Stage`]: the worker brings records and takes outputs, the step says what they mean.

mod control;
mod dead_letters;
mod decide;
mod dedup;
mod deliver;
mod enrich;
mod intake;
mod local_state;
mod lookups;
mod memory;

pub use control::{ControlGate, ControlState, ReadControl};
pub use dead_letters::DeadLetters;
pub use decide::{Decide, Decided};
pub use dedup::{Dedup, REFIRE, REPLAY};
pub use deliver::Deliver;
pub use enrich::{Enrich, Front};
pub use intake::{Admission, Intake};
pub use local_state::{LocalState, StateTable};
pub use lookups::Lookups;
pub use memory::{Left, Memory};

/// What a stage whose state fails ends with.
fn state_fault(error: crate::state::StateError) -> crate::kafka::KafkaError {
    crate::kafka::KafkaError::State(error.to_string())
}
