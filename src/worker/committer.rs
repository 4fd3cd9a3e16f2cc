//! The commit thread: takes a batch, commits it, gives it back with its outcome.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use crate::{
    config::Settings,
    engine::{AGAIN_LIMIT, Batch},
    kafka::{CommitGate, DeadLetterProducer, GroupMetadata, KafkaError, StageConsumer, TransactionOutcome, Transactor},
};

/// How batches become durable.
pub trait Committer: Send + 'static {
    /// Makes the producer, anew after doubt. Fences stragglers.
    fn initialise(&mut self) -> Result<(), KafkaError>;

    /// The consumer that the batches' offsets belong to; told once, before the first commit.
    fn joined(&mut self, consumer: StageConsumer);

    /// How often a batch that was aborted is committed again before everything uncommitted is forgotten.
    fn again_limit(&self) -> u32 {
        AGAIN_LIMIT
    }

    /// Commits a batch or says what became of it.
    fn commit(&mut self, batch: &Batch, member: Option<GroupMetadata>) -> TransactionOutcome;
}

/// Records and offsets in one Kafka transaction: between topics nothing is lost, nothing twice.
pub struct TransactionCommitter {
    settings: Settings,
    transactional_id: String,
    input_topic: Arc<str>,
    output_topics: Vec<Arc<str>>,
    /// Output topics from this index on hold state.
    state_from: usize,
    transactor: Option<Transactor>,
}

impl TransactionCommitter {
    /// For one worker. The id must be stable and the worker's own.
    pub fn new(
        settings: Settings,
        transactional_id: String,
        input_topic: Arc<str>,
        output_topics: Vec<Arc<str>>,
        state_from: usize,
    ) -> Self {
        TransactionCommitter { settings, transactional_id, input_topic, output_topics, state_from, transactor: None }
    }
}

impl Committer for TransactionCommitter {
    fn initialise(&mut self) -> Result<(), KafkaError> {
        self.transactor = None; // Dropped before its successor fences it.
        self.transactor = Some(Transactor::start(&self.settings, &self.transactional_id)?);
        Ok(())
    }

    fn joined(&mut self, _: StageConsumer) {}

    fn commit(&mut self, batch: &Batch, member: Option<GroupMetadata>) -> TransactionOutcome {
        // A connection that failed while nothing was open taints the next transaction: replace the producer first.
        if self.transactor.as_ref().is_none_or(Transactor::is_tainted)
            && let Err(error) = self.initialise()
        {
            return TransactionOutcome::Doubtful(error.to_string());
        }
        match (&self.transactor, member) {
            (Some(transactor), Some(member)) => {
                transactor.commit(batch, &self.output_topics, self.state_from, &self.input_topic, &member)
            }
            // Nothing was begun, so nothing is visible.
            _ => TransactionOutcome::DefiniteAbort("not a member of the group".to_owned()),
        }
    }
}

/// Dead letters first, then an ordinary commit: for stages whose effects lie outside Kafka. A dead letter may be
/// written twice, with the same id.
pub struct OffsetCommitter {
    settings: Settings,
    output_topics: Vec<Arc<str>>,
    producer: Option<DeadLetterProducer>,
    consumer: Option<StageConsumer>,
}

impl OffsetCommitter {
    /// For one worker.
    pub fn new(settings: Settings, output_topics: Vec<Arc<str>>) -> Self {
        OffsetCommitter { settings, output_topics, producer: None, consumer: None }
    }
}

impl Committer for OffsetCommitter {
    fn initialise(&mut self) -> Result<(), KafkaError> {
        self.producer = Some(DeadLetterProducer::start(&self.settings)?);
        Ok(())
    }

    fn joined(&mut self, consumer: StageConsumer) {
        self.consumer = Some(consumer);
    }

    /// Forgetting would repeat every call that was answered: the batch is committed again for as long as it takes, and
    /// intake stands still meanwhile.
    fn again_limit(&self) -> u32 {
        u32::MAX
    }

    fn commit(&mut self, batch: &Batch, member: Option<GroupMetadata>) -> TransactionOutcome {
        let (Some(producer), Some(consumer), Some(_)) = (&self.producer, &self.consumer, member) else {
            return TransactionOutcome::DefiniteAbort("not a member of the group".to_owned());
        };
        if let Err(error) = producer.send_all(&batch.outputs, &self.output_topics) {
            return TransactionOutcome::DefiniteAbort(error);
        }
        match consumer.commit(&batch.ledgers) {
            Ok(()) => TransactionOutcome::Clean(Vec::new()),
            // Committing the same again is harmless: the ledger says the same.
            Err(error) => TransactionOutcome::DefiniteAbort(error.to_string()),
        }
    }
}

/// What the worker asks of its commit thread.
pub(super) enum Job {
    Initialise,
    Joined(StageConsumer),
    Commit(Batch, Option<GroupMetadata>),
}

/// What the commit thread answers.
pub(super) enum Answer {
    Initialised(Result<(), KafkaError>),
    Committed(Batch, TransactionOutcome, std::time::Duration),
}

/// Handle to the commit thread. It ends when the handle is dropped.
pub(super) struct CommitThread {
    jobs: Option<mpsc::Sender<Job>>,
    pub(super) answers: mpsc::Receiver<Answer>,
    thread: Option<thread::JoinHandle<()>>,
}

impl CommitThread {
    /// Starts it. At most one job is under way at a time, so the channels stay short.
    pub(super) fn start(
        name: &str,
        mut committer: impl Committer,
        gate: Arc<CommitGate>,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in queue {
                let reply = match job {
                    Job::Initialise => Answer::Initialised(committer.initialise()),
                    Job::Joined(consumer) => {
                        committer.joined(consumer);
                        continue;
                    }
                    Job::Commit(batch, member) => {
                        let began = crate::clock::now();
                        let outcome = committer.commit(&batch, member);
                        gate.set_busy(false);
                        Answer::Committed(batch, outcome, began.elapsed())
                    }
                };
                if answer.send(reply).is_err() {
                    break;
                }
                wake();
            }
        })?;
        Ok(CommitThread { jobs: Some(jobs), answers, thread: Some(thread) })
    }

    pub(super) fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only when this handle goes.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for CommitThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
