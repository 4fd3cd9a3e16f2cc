//! What the suites stand on: real servers, real processes, and an independent count of what came out.
//!
//! # Layout
//!
//! - [`wait`]: wait for a condition, never for a time.
//! - [`kafka`]: Apache Kafka, started by the tests. [`topics`] creates and reads topics on any broker.
//! - [`proxy`]: stands before a broker, delays or cuts what decides a transaction.
//! - [`headwater`]: the real binary as a process, also for `kill -9`.
//! - [`verifier`]: reads the topics and counts; shares no code with the engine.
//! - [`world`]: a broker and a registry, whichever they are, so that a suite is written once.

pub mod headwater;
pub mod http;
pub mod kafka;
pub mod proxy;
pub mod topics;
pub mod verifier;
pub mod wait;
pub mod world;
