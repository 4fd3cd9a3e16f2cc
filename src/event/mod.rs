//! The vocabulary: what travels. Pure data; imports nothing of ours.
//!
//! One [`Record`] grows as it travels: the [`Event`] as accepted, and one [`Part`] per agent with the agent's
//! fields and their [`Provenance`]. Every topic from `<topology>.events` to `<topology>.enriched` holds it.

mod dead_letter;
#[allow(clippy::module_inception)]
mod event;
mod part;
mod path;
mod record;
mod trigger;
mod value;

pub use dead_letter::{Class, DeadLetter};
pub use event::Event;
pub use part::{Outcome, Part, Provenance, Reason, Source};
pub use path::{EventField, EventMap, Path, ProvenanceField, RecordField};
pub use record::{Origin, Place, Record, Status};
pub use trigger::Trigger;
pub use value::{Type, Value};
