//! The worker's loop: poll, take in, start, release, gather, commit.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

use super::{Committer, Control, Stage, Stats, committer::CommitThread, slot::Slot};
use crate::{
    clock,
    config::Settings,
    engine::{Batch, Commit, Flight, Suspects, Turn},
    kafka::{CommitGate, KafkaError, StageConsumer},
};

/// After so long without a record, markers at a partition's end are committed too: an empty stage has lag 0.
pub(super) const REST: Duration = Duration::from_secs(1);
/// How long a stopping worker waits for what it took.
const DRAIN: Duration = Duration::from_secs(5);

/// What a worker needs to know.
pub struct WorkerSettings {
    pub settings: Settings,
    pub topic: Arc<str>,
    pub group: Arc<str>,
    /// Of the deployed chain, stamped into ledgers.
    pub chain: u32,
    /// Events of one partition under way at once, 1 to 1,000.
    pub max_in_flight: usize,
    /// From one transaction's end to the next one's begin.
    pub min_commit_interval: Duration,
    /// Where agents' I/O runs.
    pub runtime: tokio::runtime::Handle,
}

/// What a future brought back, and for which flight of which assignment.
pub(super) struct Done<F> {
    pub partition: i32,
    pub epoch: u64,
    pub flight: Flight,
    pub result: Result<F, String>,
}

/// The batch under way: when its events were taken in and how many at that instant, and the assignments (partition and
/// epoch) that it belongs to.
#[derive(Default)]
pub(super) struct Flying {
    pub times: Vec<(Instant, u64)>,
    pub assignments: Vec<(i32, u64)>,
}

/// Both ends of the channel by which futures bring back what they have.
pub(super) struct Finished<F> {
    pub to: mpsc::Sender<Done<F>>,
    pub from: mpsc::Receiver<Done<F>>,
}

/// One worker, on its own thread.
pub struct Worker<S: Stage> {
    pub(super) stage: S,
    pub(super) settings: WorkerSettings,
    pub(super) control: Control,
    pub(super) stats: Arc<Stats>,
    pub(super) gate: Arc<CommitGate>,
    pub(super) thread: thread::Thread,
    pub(super) commits: CommitThread,
    pub(super) commit: Commit,
    pub(super) consumer: Option<StageConsumer>,
    /// Ids of the cluster and the input topic, asked once.
    pub(super) identity: Option<(String, [u8; 16])>,
    pub(super) slots: BTreeMap<i32, Slot<S>>,
    /// Counts assignments; see `Slot::epoch`.
    pub(super) epochs: u64,
    pub(super) gathered: Batch,
    /// When the gathered events were taken in, and how many at that instant.
    pub(super) since: Vec<(Instant, u64)>,
    pub(super) flying: Flying,
    /// Aborted, to be committed again.
    pub(super) again: Option<Batch>,
    pub(super) spare: Batch,
    pub(super) suspects: Suspects,
    /// Which partition may try a record alone.
    pub(super) turn: Turn,
    /// Partitions that are ours but whose committed offsets could not be read yet, and when to try again.
    pub(super) unread: (Vec<i32>, Instant),
    /// Take-overs by another producer of our id since a commit went well.
    pub(super) fenced: u32,
    /// A defect that ends the worker.
    pub(super) fatal: Option<KafkaError>,
    pub(super) partitions: Vec<i32>,
    /// Events released since the last batch.
    pub(super) released: u64,
    pub(super) finished: Finished<S::Finished>,
    pub(super) futures: Vec<BoxFuture<'static, S::Finished>>,
    pub(super) now: Instant,
    last_scan: Instant,
    pub(super) last_commit: Instant,
}

impl<S: Stage> Worker<S> {
    /// Runs until stopped, on the calling thread. An error is final: the process should end and be looked at.
    pub fn run(
        settings: WorkerSettings,
        stage: S,
        committer: impl Committer,
        control: Control,
        stats: Arc<Stats>,
    ) -> Result<(), KafkaError> {
        let thread = thread::current();
        let gate = Arc::new(CommitGate::default());
        let wake = thread.clone();
        let again_limit = committer.again_limit();
        let commits = CommitThread::start(&format!("commit {}", settings.group), committer, gate.clone(), move || {
            wake.unpark();
        })
        .map_err(|error| KafkaError::Setting(format!("no thread: {error}")))?;
        let now = clock::now();
        let (to, from) = mpsc::channel();
        let worker = Worker {
            stage,
            commit: Commit::new(now, settings.min_commit_interval, again_limit),
            settings,
            control,
            stats,
            gate,
            thread,
            commits,
            consumer: None,
            identity: None,
            slots: BTreeMap::new(),
            epochs: 0,
            gathered: Batch::default(),
            since: Vec::new(),
            flying: Flying::default(),
            again: None,
            spare: Batch::default(),
            suspects: Suspects::default(),
            turn: Turn::default(),
            unread: (Vec::new(), now),
            fenced: 0,
            fatal: None,
            partitions: Vec::new(),
            released: 0,
            finished: Finished { to, from },
            futures: Vec::new(),
            now,
            last_scan: now,
            last_commit: now,
        };
        worker.run_loop()
    }

    fn run_loop(mut self) -> Result<(), KafkaError> {
        let mut stop_by = None;
        loop {
            self.now = clock::now();
            self.control.beat();
            let mut busy = self.take_answers()?;
            busy |= self.poll_consumer()?;
            busy |= self.take_finished();
            let stopping = self.control.is_stopping();
            if !stopping && self.stage.is_accepting() {
                busy |= self.take_in()?;
            }
            if let Some(fault) = self.stage.fault() {
                self.fatal = Some(fault);
                break;
            }
            self.scan_positions();
            self.reopen_unread()?;
            let next = self.drive_commit(stopping);
            if self.fatal.is_some() {
                break;
            }
            if stopping && (self.is_drained() || *stop_by.get_or_insert(self.now + DRAIN) <= self.now) {
                break;
            }
            if !busy {
                let limit =
                    Duration::from_millis(if self.slots.values().any(|slot| slot.hold.is_some()) { 10 } else { 100 });
                thread::park_timeout(next.map_or(limit, |at| at.saturating_duration_since(clock::now()).min(limit)));
            }
        }
        // Calls and queues first, the commit thread's handle next, the consumer last: it leaves the group as it goes.
        self.slots.clear();
        drop(self.commits);
        drop(self.consumer);
        self.fatal.map_or(Ok(()), Err)
    }

    /// Whether everything taken in is committed.
    fn is_drained(&self) -> bool {
        !self.commit.is_busy()
            && self.again.is_none()
            && (self.consumer.is_none()
                || (self.gathered.is_empty()
                    && self.slots.values().all(|slot| slot.task.open() == 0 && !slot.task.is_dirty())))
    }

    /// At a partition's end, markers are done too.
    fn scan_positions(&mut self) {
        if self.now.duration_since(self.last_scan) < REST {
            return;
        }
        self.last_scan = self.now;
        let Some(consumer) = &self.consumer else { return };
        for (partition, position) in consumer.positions() {
            if let Some(slot) = self.slots.get_mut(&partition)
                && slot.held.is_none()
            {
                slot.task.advance(position);
            }
        }
    }
}
