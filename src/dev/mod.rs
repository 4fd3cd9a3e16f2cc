//! The development world: what stands in for the outside when a topology runs on one machine.

pub mod broker;
