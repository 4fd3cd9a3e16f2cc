//! What operators do to a deployment: see what would change, change it, run it.

mod apply;
mod assemble;
mod deployment;
mod observe;
mod plan;
mod render;
mod run;
mod schema_diff;
mod state;
mod stateful;
mod tables;
#[cfg(test)]
mod tests;
mod topic_settings;

pub use apply::apply;
pub use assemble::{RunError, RunOptions, Running};
pub use deployment::{Deployment, Group, Role, Subject, Topic};
pub use observe::{Observed, ObservedSubject, Sampled, observe};
pub use plan::{Change, Options, Plan, Refusal, plan};
pub use run::{Pipeline, start};
pub use state::{StateOf, state_of, tables as state_tables};

use crate::{
    codec::RegistryError,
    kafka::{admin::AdminError, control::ControlError},
};

/// Why a deployment could not be seen or changed. Nothing is undone: `apply` again goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The cluster's side.
    #[error(transparent)]
    Kafka(#[from] AdminError),
    /// The control topic's side.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The schema registry's side.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Something is in the way, as the text says; nothing was changed.
    #[error("{0}")]
    Refused(String),
}
