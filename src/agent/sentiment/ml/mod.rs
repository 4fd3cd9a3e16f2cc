//! Classifiers that run in this process: RoBERTa from a Hugging Face directory, on a thread of its own.
//!
//! ```text
//! ask ─▶ queue.rs: bounded, refuses what cannot make its deadline ─▶ runner.rs: one thread per model
//!                                                                     tokens.rs ─▶ by length ─▶ roberta.rs ─▶ labels.rs
//! at start: directory.rs ─▶ settings.rs, tokens.rs, weights.rs: everything is checked, by name, before the first event
//! ```

mod directory;
mod labels;
mod model;
mod queue;
mod roberta;
mod runner;
mod settings;
mod tokens;
mod tweet;
mod weights;

use std::{
    collections::HashMap,
    future::Future,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use runner::{Job, Runner};
use tokio::{sync::oneshot, time::timeout_at};

use crate::{
    clock,
    event::Reason,
    topology::{AgentSpec, LocalLlmSpec},
};

use super::{AgentError, Missed, Verdict};

/// An instant that far ahead can still be reckoned with.
const LONGEST_DEADLINE: Duration = Duration::from_secs(86_400);

/// Why a model cannot be used. All but the last are found at start.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModelError {
    /// Write `directory`: the folder with the model's `config.json`, one that holds it by name, or a Hugging Face cache.
    #[error("model \"{model}\" is not there: no config.json in {looked}")]
    NotThere { model: Arc<str>, looked: String },
    /// See that the file is there, whole, and readable for this user.
    #[error("{}: {message}", .path.display())]
    File { path: PathBuf, message: String },
    /// Only RoBERTa and XLM-RoBERTa for sequence classification run here.
    #[error("{}: {message}", .path.display())]
    Config { path: PathBuf, message: String },
    /// The file is of another kind of model or cut short: fetch it again, or take the checkpoint that was fine-tuned.
    #[error("{}: tensor \"{tensor}\" is missing", .path.display())]
    Missing { path: PathBuf, tensor: String },
    /// `config.json` and the weights are not of the same model: fetch both again.
    #[error("{}: tensor \"{tensor}\" has shape {found:?}, and config.json says {expected:?}", .path.display())]
    Shape { path: PathBuf, tensor: String, expected: Vec<usize>, found: Vec<usize> },
    /// The file holds more than the model that `config.json` describes: fetch both again.
    #[error("{}: tensor \"{tensor}\" is foreign to the model that config.json describes", .path.display())]
    Foreign { path: PathBuf, tensor: String },
    /// A weight that is no number: fetch the file again.
    #[error("{}: {message}", .path.display())]
    Useless { path: PathBuf, message: String },
    /// While it computes: out of memory, or a defect; the agent's fallback speaks.
    #[error("computing: {0}")]
    Compute(String),
}

/// The models loaded so far: agents with the same one share it.
#[derive(Default)]
pub(in crate::agent) struct Models {
    loaded: HashMap<(PathBuf, bool), Arc<Runner>>,
}

impl Models {
    /// The agent's way to its model, loaded if it is not yet.
    pub(super) fn open(&mut self, spec: &AgentSpec, llm: &LocalLlmSpec) -> Result<Port, AgentError> {
        let fail = |error: ModelError| AgentError::Model { agent: spec.name.clone(), message: error.to_string() };
        let path = directory::find(&llm.model, llm.directory.as_deref()).map_err(fail)?;
        let key = (path, llm.quantized);
        let runner = match self.loaded.get(&key) {
            Some(runner) => runner.clone(),
            None => {
                let started = clock::now();
                let model = model::Model::load(&key.0, llm.quantized).map_err(fail)?;
                let runner = Runner::start(Box::new(model)).map_err(fail)?;
                let took_ms = (clock::now() - started).as_millis();
                tracing::info!(agent = &*spec.name, model = &*llm.model, took_ms, "model loaded");
                self.loaded.insert(key, runner.clone());
                runner
            }
        };
        Ok(Port { runner, deadline: spec.deadline.min(LONGEST_DEADLINE), timeout: spec.timeout.min(LONGEST_DEADLINE) })
    }
}

/// One agent's way to its model.
pub(super) struct Port {
    runner: Arc<Runner>,
    deadline: Duration,
    timeout: Duration,
}

impl Port {
    /// Asks what the text is. Never waits: a queue that is full or longer than the deadline says so at once.
    /// The answer keeps the deadline, the wait in the queue included, and the timeout, which begins with the batch.
    pub fn ask(
        &self,
        text: Arc<str>,
        started: Instant,
    ) -> Result<impl Future<Output = Result<Verdict, Missed>> + Send + use<>, Missed> {
        let missed = |reason, attempts| Missed { reason, attempts };
        let (deadline, timeout) = (started + self.deadline, self.timeout);
        let (begun, has_begun) = oneshot::channel();
        let (answer, verdict) = oneshot::channel();
        if !self.runner.push(Job { text, begun, answer }, started, deadline) {
            return Err(missed(Reason::RateLimited, 0));
        }
        Ok(async move {
            match timeout_at(deadline.into(), has_begun).await {
                Ok(Ok(())) => {}
                Ok(Err(_gone)) => return Err(missed(Reason::Unavailable, 0)),
                // Never begun: it was the queue, not the model, that took too long.
                Err(_elapsed) => return Err(missed(Reason::RateLimited, 0)),
            }
            match timeout_at(deadline.min(clock::now() + timeout).into(), verdict).await {
                Ok(Ok(Some(verdict))) => Ok(verdict),
                Ok(Ok(None)) => Err(missed(Reason::BadResponse, 1)),
                Ok(Err(_gone)) => Err(missed(Reason::Unavailable, 1)),
                Err(_elapsed) => Err(missed(Reason::Timeout, 1)),
            }
        })
    }
}

#[cfg(test)]
mod tests;
