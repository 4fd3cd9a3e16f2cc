//! What operators do: run, plan, apply.

mod run;

pub use run::{Pipeline, RunError, RunOptions, Running};
