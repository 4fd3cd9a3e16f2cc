//! Headwater: real-time enrichment of marketing events on Kafka. One record that grows from topic to topic.
//!
//! ```text
//! events.raw ─▶ intake ─▶ <name>.events ─▶ agents ─▶ … ─▶ agents + decide ─┬▶ <name>.enriched
//! producers     check, key                 each adds its part of the record  └▶ <name>.triggers ─▶ deliver ─▶ webhook
//! ```
//!
//! # Layout
//!
//! From the ground up; a module uses only those above it in this list (a test holds that).
//!
//! - [`clock`], [`secret`]: the only clock; text that is never printed
//! - [`event`]: what travels: event, record, part, provenance, trigger, dead letter
//! - [`expr`]: conditions in CEL; unknown is not true
//! - [`topology`]: YAML → checked topology, and every error code
//! - [`config`]: settings of a process
//! - [`codec`]: Avro to and from records, schemas, the registry
//! - [`policy`]: quota, breaker, retry, cache: the stack in front of a service
//! - [`service`]: what agents call: HubSpot, Salesforce, any HTTP API
//! - [`agent`]: one file per type
//! - [`state`]: what agents remember per key: hot in memory, changelog, local store
//! - [`engine`]: ledger, order, DAG, commit: state machines without I/O or clocks
//! - [`kafka`]: the only home of rdkafka
//! - [`worker`]: the shell around the engine: one consumer and its producer
//! - [`deliver`]: from a trigger to an answered webhook
//! - [`stage`]: **the picture**: intake, enrich, decide, deliver, each read in one sitting
//! - [`rehearse`]: topology tests: events through agents and rules, without Kafka
//! - [`ops`]: plan, apply, run
//! - [`dev`]: the development world: broker, registry, stubs, sample traffic
//! - [`cli`]: one file per command

pub mod agent;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod config;
pub mod deliver;
pub mod dev;
pub mod engine;
pub mod event;
pub mod expr;
pub mod kafka;
pub mod ops;
pub mod policy;
pub mod rehearse;
pub mod secret;
pub mod service;
pub mod stage;
pub mod state;
pub mod topology;
pub mod worker;
