//! The main job, end to end: real events in, enriched records and triggers out, exactly once. The real binary, on the
//! development broker and on Apache Kafka from the same code.

mod doubt;
mod kill;
mod pipeline;
mod placements;
mod refusals;
mod site;
mod state;
mod trouble;

pub use site::{OnDevelopmentBroker, apache_kafka};
