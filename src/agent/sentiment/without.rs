//! What stands in for models in a build without cargo feature `ml`: the agent's fallback, and a warning at start.

use std::{sync::Arc, time::Instant};

use futures::future::Ready;

use crate::{
    event::Reason,
    topology::{AgentSpec, LocalLlmSpec},
};

use super::{AgentError, Missed, Verdict};

/// No models.
#[derive(Default)]
pub(in crate::agent) struct Models {}

impl Models {
    /// Warns that the fallback will speak, or refuses where there is none.
    pub(super) fn open(&mut self, spec: &AgentSpec, llm: &LocalLlmSpec) -> Result<Port, AgentError> {
        if !spec.has_stand_in() {
            return Err(AgentError::WithoutMl { agent: spec.name.clone(), model: llm.model.clone() });
        }
        tracing::warn!(
            agent = &*spec.name,
            model = &*llm.model,
            "this build has no models (cargo feature ml): the agent's fallback speaks for every event"
        );
        Ok(Port)
    }
}

/// The way to a model that is not there.
pub(super) struct Port;

impl Port {
    /// Always missed.
    pub fn ask(&self, _text: Arc<str>, _started: Instant) -> Result<Ready<Result<Verdict, Missed>>, Missed> {
        Err(Missed { reason: Reason::NotDeployed, attempts: 0 })
    }
}
