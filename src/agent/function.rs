//! Calls a service with the agent's inputs, through the policy.

use std::sync::Arc;

use crate::{
    event::{Outcome, Part, Reason, Record},
    policy::{Reply, Stack},
    service::{Keys, Port},
    topology::AgentSpec,
};

use super::{Agent, Step};

/// An agent of type `function`.
pub(super) struct Function {
    keys: Keys,
    stack: Arc<Stack>,
}

impl Function {
    /// Binds the agent to its place at a service.
    pub fn new(spec: &AgentSpec, port: Port) -> Self {
        Function { keys: port.keys, stack: Stack::new(spec, port.line, port.columns) }
    }
}

impl Agent for Function {
    fn start(&self, record: &Record) -> Step {
        let Some(key) = self.keys.key(record) else {
            // Skipped, not failed: there is nothing to ask, and the service is not to blame.
            return Step::Done(Part::without(Outcome::Skipped, Reason::MissingInput));
        };
        match self.stack.start(key) {
            Reply::Now(part) => Step::Done(part),
            Reply::Later(part) => Step::Pending(part),
        }
    }
}
