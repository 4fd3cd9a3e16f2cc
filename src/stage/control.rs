//! The control topic, as intake obeys it: read to its end after each assignment, before anything is taken in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{clock, kafka::KafkaError};

/// What the control topic says at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlState {
    /// Number of the deployed chain.
    pub chain: u32,
    /// Whether intake may take in.
    pub open: bool,
    /// Offset of the last record read: the epoch.
    pub epoch: i64,
}

/// Reads the control topic to its end. Blocks; runs on the runtime's blocking threads.
pub type ReadControl = Arc<dyn Fn() -> Result<ControlState, KafkaError> + Send + Sync>;

/// After a stop or an error the topic is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// Lets intake pass once the control topic has been read and allows it.
pub struct ControlGate {
    read: ReadControl,
    chain: u32,
    runtime: tokio::runtime::Handle,
    answer: Arc<Mutex<Option<Result<ControlState, KafkaError>>>>,
    reading: bool,
    ask_again: Option<Instant>,
    epoch: i64,
    is_open: bool,
}

impl ControlGate {
    /// For intake of that chain.
    pub fn new(read: ReadControl, chain: u32, runtime: tokio::runtime::Handle) -> Self {
        ControlGate {
            read,
            chain,
            runtime,
            answer: Arc::default(),
            reading: false,
            ask_again: None,
            epoch: 0,
            is_open: false,
        }
    }

    /// A partition was assigned: what was read before may be out of date.
    pub fn close(&mut self) {
        self.is_open = false;
        self.answer = Arc::default();
        self.begin();
    }

    /// The epoch that was obeyed last.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Whether intake may take in.
    pub fn is_open(&mut self) -> bool {
        if self.is_open {
            return true;
        }
        if self.ask_again.is_some_and(|at| at <= clock::now()) {
            self.begin();
        }
        let answer = if self.reading { self.answer.lock().take() } else { None };
        match answer {
            None => {}
            Some(Ok(state)) if state.open && state.chain == self.chain => {
                (self.is_open, self.reading, self.epoch) = (true, false, state.epoch);
            }
            Some(Ok(state)) => {
                tracing::info!(?state, ours = self.chain, "intake waits: the control topic says so");
                self.later();
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "control topic cannot be read, intake waits");
                self.later();
            }
        }
        self.is_open
    }

    fn later(&mut self) {
        (self.reading, self.ask_again) = (false, Some(clock::now() + AGAIN));
    }

    fn begin(&mut self) {
        (self.reading, self.ask_again) = (true, None);
        let (read, answer) = (self.read.clone(), self.answer.clone());
        self.runtime.spawn_blocking(move || {
            let result = read();
            *answer.lock() = Some(result);
        });
    }
}
