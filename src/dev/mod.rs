//! The development world: what stands around the engine when there is no cluster. Nothing imports it but `cli` and tests.

pub mod registry;
mod registry_store;
//! The development world: what stands in for the outside when a topology runs on one machine.

pub mod broker;
