//! The worker's loop: poll, take in, start, release, gather, commit.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};

use super::{
    Accept, Burial, Committer, Control, Stage, Stats,
    committer::{Answer, CommitThread, Job},
    slot::{InFlight, Slot},
};
use crate::{
    clock,
    config::Settings,
    engine::{After, Batch, Commit, Flight, Next, Room, Suspects, Turn, Verdict},
    kafka::{CommitGate, Input, KafkaError, Queue, RdError, StageConsumer, TransactionOutcome},
};

/// Records taken from one partition before the next has its turn.
const BURST: usize = 128;
/// What may wait for a commit. At the limit intake stops.
const MAX_GATHERED_RECORDS: usize = 10_000;
const MAX_GATHERED_BYTES: usize = 8 << 20;
/// After so long without a record, markers at a partition's end are committed too: an empty stage has lag 0.
const REST: Duration = Duration::from_secs(1);
/// How long a stopping worker waits for what it took.
const DRAIN: Duration = Duration::from_secs(5);
/// Originals of one partition's events under way, in bytes. At the limit intake of that partition stops.
const MAX_KEPT_BYTES: usize = 16 << 20;
/// So many take-overs by a producer of the same id, without a commit of ours between them, are no coincidence.
const MAX_FENCED: u32 = 5;

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
struct Done<F> {
    partition: i32,
    epoch: u64,
    flight: Flight,
    result: Result<F, String>,
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
    /// Of the batch under way: its events' times, and the assignments it belongs to.
    pub(super) flying: (Vec<(Instant, u64)>, Vec<(i32, u64)>),
    /// Aborted, to be committed again.
    pub(super) again: Option<Batch>,
    spare: Batch,
    pub(super) suspects: Suspects,
    /// Which partition may try a record alone.
    pub(super) turn: Turn,
    /// Partitions that are ours but whose committed offsets could not be read yet, and when to try again.
    pub(super) unread: (Vec<i32>, Instant),
    /// Take-overs by another producer of our id since a commit went well.
    fenced: u32,
    /// A defect that ends the worker.
    fatal: Option<KafkaError>,
    partitions: Vec<i32>,
    /// Events released since the last batch.
    pub(super) released: u64,
    done: (mpsc::Sender<Done<S::Finished>>, mpsc::Receiver<Done<S::Finished>>),
    futures: Vec<BoxFuture<'static, S::Finished>>,
    now: Instant,
    last_scan: Instant,
    last_commit: Instant,
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
            flying: Default::default(),
            again: None,
            spare: Batch::default(),
            suspects: Suspects::default(),
            turn: Turn::default(),
            unread: (Vec::new(), now),
            fenced: 0,
            fatal: None,
            partitions: Vec::new(),
            released: 0,
            done: mpsc::channel(),
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

    fn is_full(&self, partition: i32) -> bool {
        self.slots.get(&partition).is_some_and(|slot| slot.kept >= MAX_KEPT_BYTES)
            || self.gathered.outputs.len() >= MAX_GATHERED_RECORDS
            || self.gathered.outputs.bytes() >= MAX_GATHERED_BYTES
    }

    /// Takes records from each partition in turn. Says whether there may be more at once.
    fn take_in(&mut self) -> Result<bool, KafkaError> {
        // Between doubt and resumption nothing may begin, and what was aborted goes before anything new.
        if !self.commit.takes_work() || self.again.is_some() {
            return Ok(false);
        }
        let solitude = self.suspects.ask_for_solitude();
        if solitude && !self.is_at_rest() {
            return Ok(false);
        }
        let mut partitions = std::mem::take(&mut self.partitions);
        partitions.clear();
        partitions.extend(self.slots.keys());
        let mut busy = false;
        for partition in &partitions {
            busy |= self.take_burst(*partition, if solitude { 1 } else { BURST })?;
            if solitude && !self.is_at_rest() {
                break;
            }
        }
        self.partitions = partitions;
        Ok(busy)
    }

    /// Whether nothing is under way, gathered or being committed.
    fn is_at_rest(&self) -> bool {
        self.released == 0
            && self.gathered.is_empty()
            && !self.commit.is_busy()
            && self.slots.values().all(|slot| slot.task.open() == 0)
    }

    /// Takes up to `burst` records from one partition.
    fn take_burst(&mut self, partition: i32, burst: usize) -> Result<bool, KafkaError> {
        let Some(queue) = self.slots.get_mut(&partition).and_then(|slot| slot.queue.take()) else { return Ok(false) };
        let mut busy = false;
        let mut failure = None;
        for _ in 0..burst {
            if self.is_full(partition) {
                Stats::count(&self.stats.backpressure);
                break;
            }
            match self.take_one(partition, &queue) {
                Ok(true) => busy = true,
                Ok(false) => break,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        match (failure, self.slots.get_mut(&partition)) {
            (Some(error), _) => {
                drop(queue); // Its successor shares the same queue in librdkafka, callback and all.
                self.poll_failed(Some(partition), &error)?;
            }
            (None, Some(slot)) => slot.queue = Some(queue),
            (None, None) => {}
        }
        Ok(busy)
    }

    /// Takes one record, if there is one and it may be taken.
    fn take_one(&mut self, partition: i32, queue: &Queue) -> Result<bool, RdError> {
        let Some(slot) = self.slots.get_mut(&partition) else { return Ok(false) };
        if let Some(hold) = &slot.hold {
            if !self.stage.is_lifted(hold) {
                return Ok(false);
            }
            slot.hold = None;
            slot.task.set_epoch(self.stage.epoch());
        }
        if let Some(kept) = slot.held.take() {
            let taken = self.offer(&kept.view());
            if !taken && let Some(slot) = self.slots.get_mut(&partition) {
                slot.held = Some(kept);
            }
            return Ok(taken);
        }
        let Some(message) = queue.poll() else { return Ok(false) };
        let message = message?;
        let input = Input::borrow(&message);
        let taken = self.offer(&input);
        if !taken && let Some(slot) = self.slots.get_mut(&partition) {
            slot.held = Some(input.keep());
        }
        Ok(taken)
    }

    /// Takes in a record, or says that it must wait.
    fn offer(&mut self, input: &Input<'_>) -> bool {
        let place = (input.partition, input.offset);
        let Some(slot) = self.slots.get_mut(&input.partition) else { return true };
        let (key, work) = match slot.task.admit(input.offset, &mut self.turn) {
            Room::Known => {
                slot.task.pass(input.offset);
                return true;
            }
            Room::Wait => return false,
            Room::Condemned => (key_hash(input), self.stage.bury(input, Burial::Killed)),
            Room::Go => match self.suspects.guilty(place) {
                Some(message) => (key_hash(input), self.stage.bury(input, Burial::Refused(message.clone()))),
                None => match catch_unwind(AssertUnwindSafe(|| self.stage.accept(input))) {
                    Ok(Accept::Work { key, work }) => (key, work),
                    Ok(Accept::Hold(hold)) => {
                        tracing::info!(group = %self.settings.group, partition = place.0, offset = place.1, ?hold, "partition waits");
                        slot.hold = Some(hold);
                        slot.task.decline(&mut self.turn);
                        return false;
                    }
                    Err(panic) => (key_hash(input), self.stage.bury(input, Burial::Panicked(panic_text(&*panic)))),
                },
            },
        };
        Stats::count(&self.stats.taken);
        let Some(slot) = self.slots.get_mut(&input.partition) else { return true };
        let flight = InFlight { work, original: None, since: self.now };
        let (flight, first) = slot.task.push(input.offset, key, flight);
        if !S::SERIAL || first {
            self.start(input.partition, flight, Some(input));
        }
        self.release(input.partition, Some(input));
        // What did not leave at once may need its original later.
        if let Some(slot) = self.slots.get_mut(&input.partition)
            && let Some(work) = slot.task.get_mut(flight)
        {
            work.original = Some(input.keep());
            slot.kept += input.bytes();
        }
        true
    }

    /// Starts what can start of one event.
    fn start(&mut self, partition: i32, flight: Flight, input: Option<&Input<'_>>) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let Some(in_flight) = slot.task.get_mut(flight) else { return };
        let mut futures = std::mem::take(&mut self.futures);
        let ready = match catch_unwind(AssertUnwindSafe(|| self.stage.start(&mut in_flight.work, &mut futures))) {
            Ok(ready) => ready,
            Err(panic) => {
                futures.clear();
                bury(&mut self.stage, in_flight, input, Burial::Panicked(panic_text(&*panic)));
                true
            }
        };
        if ready {
            slot.task.ready(flight);
        }
        let epoch = slot.epoch;
        for future in futures.drain(..) {
            let (done, thread) = (self.done.0.clone(), self.thread.clone());
            let call = async move {
                let result = AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panic_text(&*panic));
                // The worker has ended where this fails; what is not committed is done again by the next owner.
                let _ = done.send(Done { partition, epoch, flight, result });
                thread.unpark();
            };
            slot.calls.spawn_on(call, &self.settings.runtime);
        }
        self.futures = futures;
    }

    /// Takes what futures brought back.
    fn take_finished(&mut self) -> bool {
        let mut busy = false;
        while let Ok(done) = self.done.1.try_recv() {
            busy = true;
            let Some(slot) = self.slots.get_mut(&done.partition).filter(|slot| slot.epoch == done.epoch) else {
                continue;
            };
            while slot.calls.try_join_next().is_some() {} // Those that have ended need no place any more.
            let Some(in_flight) = slot.task.get_mut(done.flight) else { continue };
            let stage = &mut self.stage;
            let outcome = done.result.and_then(|finished| {
                let finish = AssertUnwindSafe(|| stage.finish(&mut in_flight.work, finished));
                catch_unwind(finish).map_err(|panic| panic_text(&*panic))
            });
            match outcome {
                Ok(()) => self.start(done.partition, done.flight, None),
                Err(panic) => {
                    bury(&mut self.stage, in_flight, None, Burial::Panicked(panic));
                    slot.task.ready(done.flight);
                }
            }
            self.release(done.partition, None);
        }
        busy
    }

    /// Lets leave what may leave: its outputs join the batch, its offset is done.
    fn release(&mut self, partition: i32, current: Option<&Input<'_>>) {
        while let Some(slot) = self.slots.get_mut(&partition)
            && let Some((offset, mut in_flight, next)) = slot.task.release(&mut self.turn)
        {
            let kept = in_flight.original.take();
            slot.kept -= kept.as_ref().map_or(0, |kept| kept.view().bytes());
            let view = kept.as_ref().map(crate::kafka::OwnedInput::view);
            if let Some(input) = view.as_ref().or(current.filter(|input| input.offset == offset)) {
                self.write(input, &mut in_flight.work);
            }
            Stats::count(&self.stats.released);
            self.released += 1;
            match self.since.last_mut() {
                Some((since, count)) if *since == in_flight.since => *count += 1,
                _ => self.since.push((in_flight.since, 1)),
            }
            if S::SERIAL
                && let Some(next) = next
            {
                self.start(partition, next, None);
            }
        }
    }

    fn write(&mut self, input: &Input<'_>, work: &mut S::Work) {
        let mark = self.gathered.outputs.mark();
        let (stage, outputs) = (&mut self.stage, &mut self.gathered.outputs);
        let why = match catch_unwind(AssertUnwindSafe(|| stage.release(input, work, outputs))) {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(panic) => Some(Burial::Panicked(panic_text(&*panic))),
        };
        if let Some(why) = why {
            outputs.reset(mark);
            let mut grave = stage.bury(input, why);
            if let Err(why) = stage.release(input, &mut grave, outputs) {
                // A defect of ours. Stopping loses nothing; going on would.
                self.fatal = Some(KafkaError::Refused {
                    what: format!("write the dead letter of {}-{}@{}", input.topic, input.partition, input.offset),
                    message: format!("{why:?}"),
                });
            }
        }
        Stats::add(&self.stats.dead_letters, outputs.added(mark, S::DEAD_LETTERS) as u64);
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

    /// Gives the commit thread its next job. Says when to ask again.
    fn drive_commit(&mut self, stopping: bool) -> Option<Instant> {
        let urgent =
            self.released > 0 || self.slots.values().any(|slot| slot.task.is_announcing() && slot.task.is_dirty());
        let lazy = (stopping || self.now.duration_since(self.last_commit) >= REST)
            && self.slots.values().any(|slot| slot.task.is_dirty());
        let gathered = urgent || lazy;
        let mut member = None;
        if self.commit.is_due(self.now, gathered) {
            member = self.consumer.as_ref().and_then(StageConsumer::member);
            if member.is_none() {
                // No generation that the broker would check (mid-rebalance): nothing may be committed.
                return Some(self.now + Duration::from_millis(5));
            }
        }
        match self.commit.next(self.now, gathered) {
            Next::Nothing => None,
            Next::At(at) => Some(at),
            Next::Initialise => {
                self.commits.send(Job::Initialise);
                None
            }
            Next::Commit => {
                let mut batch = std::mem::replace(&mut self.gathered, std::mem::take(&mut self.spare));
                self.flying = (std::mem::take(&mut self.since), Vec::new());
                for (partition, slot) in &mut self.slots {
                    if slot.task.is_dirty() {
                        batch.ledgers.push(slot.task.entry());
                        self.flying.1.push((*partition, slot.epoch));
                    }
                }
                self.released = 0;
                if batch.is_empty() {
                    self.commit.dropped(self.now);
                    batch.clear();
                    self.spare = batch;
                    return None;
                }
                self.send_batch(batch, member)
            }
            Next::CommitAgain => {
                let mut batch = self.again.take().unwrap_or_default();
                self.keep_ours(&mut batch);
                if batch.is_empty() {
                    self.commit.dropped(self.now);
                    return None;
                }
                self.send_batch(batch, member)
            }
        }
    }

    fn send_batch(
        &mut self,
        batch: Batch,
        member: Option<rdkafka::consumer::ConsumerGroupMetadata>,
    ) -> Option<Instant> {
        self.last_commit = self.now;
        self.gate.set_busy(true);
        self.commits.send(Job::Commit(batch, member));
        None
    }

    fn take_answers(&mut self) -> Result<bool, KafkaError> {
        let answer = match self.commits.answers.try_recv() {
            Ok(answer) => answer,
            Err(mpsc::TryRecvError::Empty) => return Ok(false),
            Err(mpsc::TryRecvError::Disconnected) => {
                let message = "the commit thread has ended; the log above says why".to_owned();
                return Err(KafkaError::Refused { what: "commit".to_owned(), message });
            }
        };
        let now = clock::now();
        match answer {
            Answer::Initialised(Ok(())) => {
                self.commit.initialised(now, true, 0.0);
                self.producer_is_ready()?;
            }
            Answer::Initialised(Err(error @ (KafkaError::Setting(_) | KafkaError::Refused { .. }))) => {
                return Err(error);
            }
            Answer::Initialised(Err(error)) => {
                tracing::warn!(group = %self.settings.group, %error, "no producer yet");
                self.commit.initialised(now, false, fastrand::f64());
            }
            Answer::Committed(batch, outcome, took) => self.committed(batch, outcome, took, now)?,
        }
        Ok(true)
    }

    fn committed(
        &mut self,
        mut batch: Batch,
        outcome: TransactionOutcome,
        took: Duration,
        now: Instant,
    ) -> Result<(), KafkaError> {
        let verdict = match &outcome {
            TransactionOutcome::Clean => Verdict::Clean,
            TransactionOutcome::DefiniteAbort(error) => {
                tracing::warn!(group = %self.settings.group, error, "transaction aborted, committing it again");
                Stats::count(&self.stats.aborts);
                Verdict::DefiniteAbort
            }
            TransactionOutcome::Doubtful(error) => {
                tracing::warn!(group = %self.settings.group, error, "transaction in doubt, resuming from what is committed");
                Verdict::Doubtful
            }
            TransactionOutcome::Refused(refusals) => {
                tracing::warn!(group = %self.settings.group, ?refusals, "the broker refuses records");
                let refusals = refusals.iter().map(|refusal| (refusal.source, refusal.message.clone()));
                self.suspects.refused(refusals, &batch);
                Verdict::Doubtful
            }
            TransactionOutcome::Fenced(id) => {
                tracing::warn!(group = %self.settings.group, id, "another producer uses our transactional id");
                self.fenced += 1;
                if self.fenced >= MAX_FENCED {
                    return Err(KafkaError::Fenced(id.clone()));
                }
                Verdict::Doubtful
            }
        };
        match self.commit.finished(now, verdict, fastrand::f64()) {
            After::Applied => {
                self.fenced = 0;
                let (times, assignments) = std::mem::take(&mut self.flying);
                self.note_committed(&batch, &assignments);
                Stats::count(&self.stats.commits);
                Stats::add(&self.stats.committed_records, batch.outputs.len() as u64);
                self.stats.commit_time.record(took, 1);
                for (since, count) in times {
                    self.stats.hop_time.record(now.duration_since(since), count);
                }
                self.suspects.committed(&batch);
                batch.clear();
                self.spare = batch;
            }
            After::Again => self.again = Some(batch),
            After::Forget => {
                Stats::count(&self.stats.recycles);
                self.forget();
            }
        }
        Ok(())
    }
}

/// Makes a dead letter of an event under way.
fn bury<S: Stage>(stage: &mut S, in_flight: &mut InFlight<S::Work>, input: Option<&Input<'_>>, why: Burial) {
    let kept = in_flight.original.as_ref().map(crate::kafka::OwnedInput::view);
    if let Some(input) = input.or(kept.as_ref()) {
        in_flight.work = stage.bury(input, why);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}

/// The key's hash where the stage could not read the record: by the bytes of the Kafka key, as the stages do.
pub(super) fn key_hash(input: &Input<'_>) -> u64 {
    crate::engine::hash_key(input.key.unwrap_or_default())
}
