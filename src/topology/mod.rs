//! YAML → checked [`Topology`]: parse, resolve, check, place. Pure.

pub mod codes;
mod model;

pub use model::*;
