//! Brings the local store up to its changelogs before a partition opens: one thread per worker, away from the worker's.
//!
//! ```text
//! begin ─▶ waiting ─▶ prepared: end, tag, plan ─▶ reading ─▶ settled ─▶ done
//!             ▲            │ broker away             │ log was cut       a transaction that was open has ended
//!             └────────────┴─────────────────────────┘
//! ```
//!
//! It reads to the *read-uncommitted* end: what a former owner had sent when it lost the partition is either committed,
//! and then restored, or aborted by the time the restore is done.

mod changelogs;
mod job;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use self::{
    changelogs::Changelogs,
    job::{Job, Step},
};
use super::KafkaError;
use crate::{
    clock,
    config::Settings,
    state::{Progress, Store, StoreError},
};

/// Kafka's default of `delete.retention.ms`.
pub const DELETE_RETENTION_MS: i64 = 24 * 3_600_000;
/// Partitions that are read at the same time: a bound on what is fetched ahead.
const AT_ONCE: usize = 4;
/// Between two lines in the log.
const REPORT: Duration = Duration::from_secs(5);
/// How long the thread rests where nothing wakes it.
const REST: Duration = Duration::from_millis(50);

/// Why a partition cannot be restored. What passes by itself (a broker away, a leader that moves) is tried again, said
/// in the log, and is none of these.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RestoreError {
    /// Run `headwater apply`: it creates the changelogs of the topology's agents.
    #[error("HW504 topic {topic} does not exist. Run `headwater apply`")]
    TopicMissing { topic: String },
    /// Somebody made it by hand, or the stage's input has grown: run `headwater apply`.
    #[error("HW504 topic {topic} has {partitions} partitions and none with number {partition}. Run `headwater apply`")]
    PartitionMissing { topic: String, partition: i32, partitions: i32 },
    /// The local side.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client could not be made.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// A table's changelog.
#[derive(Debug, Clone)]
pub struct Changelog {
    pub topic: String,
    /// Its `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

/// The thread that restores. Dropping it stops the thread.
pub struct Restorer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the worker's thread and the restorer's have in common.
#[derive(Default)]
struct Shared {
    commands: Mutex<Vec<Command>>,
    outcomes: Mutex<BTreeMap<i32, Outcome>>,
}

enum Command {
    Begin { partition: i32, epoch: u64 },
    Cancel { partition: i32 },
    Stop,
}

/// What is known of a partition's latest job.
struct Outcome {
    epoch: u64,
    state: State,
}

enum State {
    Running(Vec<Progress>),
    Done,
    Failed(RestoreError),
}

impl Restorer {
    /// Starts the thread. `changelogs` are the store's tables', in their order. `wake` is called from it whenever a
    /// partition is done or has failed.
    pub fn start(
        settings: &Settings,
        store: Arc<Store>,
        changelogs: Vec<Changelog>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, RestoreError> {
        let clients = Changelogs::new(settings, changelogs)?;
        let shared = Arc::new(Shared::default());
        let work = Work {
            shared: shared.clone(),
            store,
            clients,
            waiting: VecDeque::new(),
            jobs: BTreeMap::new(),
            wake: Box::new(wake),
        };
        let thread = thread::Builder::new().name("restore".to_owned()).spawn(move || work.run());
        let thread = thread.map_err(|error| KafkaError::Setting(format!("a thread cannot be started: {error}")))?;
        Ok(Restorer { shared, thread: Some(thread) })
    }

    /// Restores a partition. `epoch` tells this time from earlier ones; an earlier job of the partition stops first.
    pub fn begin(&self, partition: i32, epoch: u64) {
        self.shared.outcomes.lock().insert(partition, Outcome { epoch, state: State::Running(Vec::new()) });
        self.command(Command::Begin { partition, epoch });
    }

    /// The partition is no longer ours. What has been restored stays for the next time.
    pub fn cancel(&self, partition: i32) {
        self.shared.outcomes.lock().remove(&partition);
        self.command(Command::Cancel { partition });
    }

    /// Whether the job begun with that epoch is done: the store holds all that was committed when it began.
    pub fn is_done(&self, partition: i32, epoch: u64) -> Result<bool, RestoreError> {
        match self.shared.outcomes.lock().get(&partition) {
            Some(Outcome { epoch: of, state: State::Done }) => Ok(*of == epoch),
            Some(Outcome { epoch: of, state: State::Failed(error) }) if *of == epoch => Err(error.clone()),
            _ => Ok(false),
        }
    }

    /// How far the running jobs are, by changelog partition; those that wait for their turn are not among them.
    pub fn progress(&self) -> Vec<Progress> {
        let outcomes = self.shared.outcomes.lock();
        let running = outcomes.values().filter_map(|outcome| match &outcome.state {
            State::Running(progress) => Some(progress),
            _ => None,
        });
        running.flatten().cloned().collect()
    }

    fn command(&self, command: Command) {
        self.shared.commands.lock().push(command);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        self.command(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Work {
    shared: Arc<Shared>,
    store: Arc<Store>,
    clients: Changelogs,
    waiting: VecDeque<(i32, u64)>,
    jobs: BTreeMap<i32, Job>,
    wake: Box<dyn Fn() + Send>,
}

impl Work {
    fn run(mut self) {
        let mut report_at = clock::now() + REPORT;
        loop {
            if !self.obey() {
                self.jobs.clear();
                return;
            }
            self.admit();
            self.clients.serve();
            let now = clock::now();
            let was_busy = self.step(now);
            self.tell(now, &mut report_at);
            if !was_busy {
                thread::park_timeout(REST);
            }
        }
    }

    /// `false`: stop.
    fn obey(&mut self) -> bool {
        let commands = std::mem::take(&mut *self.shared.commands.lock());
        for command in commands {
            match command {
                Command::Begin { partition, epoch } => {
                    self.end(partition);
                    self.waiting.push_back((partition, epoch));
                }
                Command::Cancel { partition } => self.end(partition),
                Command::Stop => return false,
            }
        }
        true
    }

    fn end(&mut self, partition: i32) {
        self.waiting.retain(|(waiting, _)| *waiting != partition);
        if let Some(mut job) = self.jobs.remove(&partition) {
            job.release(&self.clients);
        }
    }

    fn admit(&mut self) {
        while self.jobs.len() < AT_ONCE {
            let Some((partition, epoch)) = self.waiting.pop_front() else { return };
            self.jobs.insert(partition, Job::new(partition, epoch, clock::now()));
        }
    }

    /// A step of every job; whether any had something to do.
    fn step(&mut self, now: Instant) -> bool {
        let mut was_busy = false;
        let mut ended = Vec::new();
        for (partition, job) in &mut self.jobs {
            match job.step(&self.store, &self.clients, now) {
                Ok(Step::Busy) => was_busy = true,
                Ok(Step::Idle) => {}
                Ok(Step::Done) => ended.push((*partition, job.epoch(), State::Done)),
                Err(error) => ended.push((*partition, job.epoch(), State::Failed(error))),
            }
        }
        for (partition, epoch, state) in ended {
            was_busy = true;
            self.end(partition);
            if let State::Failed(error) = &state {
                tracing::error!("partition {partition} cannot be restored: {error}");
            }
            if let Some(outcome) = self.shared.outcomes.lock().get_mut(&partition).filter(|of| of.epoch == epoch) {
                outcome.state = state;
            }
            (self.wake)();
        }
        was_busy
    }

    fn tell(&self, now: Instant, report_at: &mut Instant) {
        let is_due = now >= *report_at;
        if is_due {
            *report_at = now + REPORT;
        }
        let mut outcomes = self.shared.outcomes.lock();
        for (partition, job) in &self.jobs {
            let progress = job.progress(now);
            if is_due {
                progress.iter().filter(|of| of.elapsed >= REPORT).for_each(|of| tracing::info!("{of}"));
            }
            if let Some(Outcome { state: State::Running(of), .. }) =
                outcomes.get_mut(partition).filter(|of| of.epoch == job.epoch())
            {
                *of = progress;
            }
        }
    }
}
