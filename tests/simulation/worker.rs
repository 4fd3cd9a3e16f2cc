//! The model of the worker: `src/worker/worker.rs` line by line, without threads, stages and I/O.
//!
//! Where it differs: a stage's holds are left out; a blocking read of committed offsets that are not stable, and the
//! wait for a commit in a rebalance callback, are turns in which nothing happens; bursts and batches are small.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use headwater::engine::{AGAIN_LIMIT, Batch, Commit, Flight, LedgerEntry, Room, Suspects, Task, Turn, hash_key};

use super::{
    Checked, Flaw, Violation,
    broker::{DEAD_LETTERS, ENRICHED, TRIGGERS},
    committer::CommitThread,
    env::Env,
    group::Membership,
    log::What,
    plan::Nature,
};

const BURST: usize = 4;
const MAX_GATHERED_RECORDS: usize = 16;
pub const REST: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(5);
const MIN_COMMIT_INTERVAL: Duration = Duration::from_millis(5);

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lives,
    /// A record killed it.
    Killed(i32, i64),
    /// Left after a stop.
    Left,
}

/// An event under way.
pub struct InFlight {
    offset: i64,
    nature: Nature,
    key: u8,
    /// Calls that are needed, and that came back.
    calls: u8,
    back: u8,
    called: bool,
    /// What the calls brought.
    result: i64,
    grave: bool,
}

pub struct Slot {
    pub task: Task<InFlight>,
    /// Where the consumer stands.
    pub position: i64,
    pub held: Option<i64>,
    pub epoch: u64,
}

/// What a call brings back, and for which flight of which assignment.
pub struct Done {
    pub partition: i32,
    pub epoch: u64,
    flight: Flight,
    result: i64,
    due_ms: u64,
}

pub struct Worker {
    pub id: usize,
    pub life: u32,
    pub commits: CommitThread,
    pub commit: Commit,
    /// The group's member that the consumer is.
    pub consumer: Option<Membership>,
    pub slots: BTreeMap<i32, Slot>,
    pub epochs: u64,
    pub gathered: Batch,
    /// Of the batch under way: the assignments it belongs to.
    pub flying: Vec<(i32, u64)>,
    pub again: Option<Batch>,
    pub spare: Batch,
    pub suspects: Suspects,
    pub turn: Turn,
    /// What to commit for partitions that are left cleanly.
    pub farewells: BTreeMap<i32, LedgerEntry>,
    pub released: u64,
    pub done: Vec<Done>,
    pub stopping: bool,
    stop_by: Option<Instant>,
    pub now: Instant,
    last_scan: Instant,
    pub last_commit: Instant,
}

impl Worker {
    pub fn start(id: usize, env: &mut Env) -> Self {
        env.lives += 1;
        env.note(id, What::Starts, env.lives.into(), 0);
        let now = env.now();
        Worker {
            id,
            life: env.lives,
            commits: CommitThread::new(id, env.lives),
            commit: Commit::new(now, MIN_COMMIT_INTERVAL, AGAIN_LIMIT),
            consumer: None,
            slots: BTreeMap::new(),
            epochs: 0,
            gathered: Batch::default(),
            flying: Vec::new(),
            again: None,
            spare: Batch::default(),
            suspects: Suspects::default(),
            turn: Turn::default(),
            farewells: BTreeMap::new(),
            released: 0,
            done: Vec::new(),
            stopping: false,
            stop_by: None,
            now,
            last_scan: now,
            last_commit: now,
        }
    }

    /// One round of `run_loop`.
    pub fn turn(&mut self, env: &mut Env) -> Checked<Fate> {
        self.now = env.now();
        if !self.take_answers(env) {
            return Ok(Fate::Lives); // Blocked reading offsets.
        }
        if !self.poll_consumer(env)? {
            return Ok(Fate::Lives); // Blocked in a callback.
        }
        if let Some(fate) = self.take_finished(env)? {
            return Ok(fate);
        }
        if !self.stopping
            && let Some(fate) = self.take_in(env)?
        {
            return Ok(fate);
        }
        self.scan_positions();
        self.drive_commit(env);
        if self.stopping && (self.is_drained() || *self.stop_by.get_or_insert(self.now + DRAIN) <= self.now) {
            return Ok(Fate::Left);
        }
        Ok(Fate::Lives)
    }

    fn is_drained(&self) -> bool {
        !self.commit.is_busy()
            && self.again.is_none()
            && (self.consumer.is_none()
                || (self.gathered.is_empty()
                    && self.slots.values().all(|slot| slot.task.open() == 0 && !slot.task.is_dirty())))
    }

    fn is_full(&self) -> bool {
        self.gathered.outputs.len() >= MAX_GATHERED_RECORDS
    }

    fn take_in(&mut self, env: &mut Env) -> Checked<Option<Fate>> {
        if !self.commit.takes_work() || self.again.is_some() {
            return Ok(None);
        }
        let on_trial = self.turn.holder();
        let solitude = env.flaw != Flaw::NoSolitude && (self.suspects.ask_for_solitude() || on_trial.is_some());
        if solitude && !env.plan.serial && !self.is_at_rest() {
            env.note(self.id, What::WaitsForSolitude, 0, 0);
            return Ok(None);
        }
        for partition in 0..env.plan.partitions() as i32 {
            if on_trial.is_some_and(|holder| holder != partition) {
                continue;
            }
            if self.turn.holder() != on_trial || (solitude && !self.is_at_rest()) {
                break;
            }
            for _ in 0..if solitude { 1 } else { BURST } {
                if self.is_full() {
                    break;
                }
                match self.take_one(partition, env)? {
                    None => break,
                    Some(fate @ Fate::Killed(..)) => return Ok(Some(fate)),
                    Some(_) => {}
                }
            }
        }
        Ok(None)
    }

    fn is_at_rest(&self) -> bool {
        self.released == 0
            && self.gathered.is_empty()
            && !self.commit.is_busy()
            && self.slots.values().all(|slot| slot.task.open() == 0)
    }

    /// `None`: nothing to take, or it must wait.
    fn take_one(&mut self, partition: i32, env: &mut Env) -> Checked<Option<Fate>> {
        let Some(slot) = self.slots.get_mut(&partition) else { return Ok(None) };
        let offset = match slot.held.take() {
            Some(held) => held,
            None => match poll_queue(slot, partition, env) {
                Some(offset) => offset,
                None => return Ok(None),
            },
        };
        let taken = self.offer(partition, offset, env)?;
        if taken.is_none()
            && let Some(slot) = self.slots.get_mut(&partition)
        {
            slot.held = Some(offset);
        }
        Ok(taken)
    }

    fn offer(&mut self, partition: i32, offset: i64, env: &mut Env) -> Checked<Option<Fate>> {
        let place = (partition, offset);
        let Some((key, nature)) = env.plan.record(partition, offset) else {
            return Err(Violation(format!("{place:?} was delivered and is no record")));
        };
        let Some(slot) = self.slots.get_mut(&partition) else { return Ok(Some(Fate::Lives)) };
        let grave = match slot.task.admit(offset, &mut self.turn) {
            Room::Known => {
                slot.task.pass(offset);
                env.note(self.id, What::Known, partition.into(), offset);
                return Ok(Some(Fate::Lives));
            }
            Room::Wait => return Ok(None),
            Room::Condemned => {
                env.note(self.id, What::Condemned, partition.into(), offset);
                true
            }
            Room::Go => match self.suspects.guilty(place) {
                Some(_) => {
                    env.note(self.id, What::SuspectBuried, partition.into(), offset);
                    true
                }
                None if nature == Nature::KillsWhenTaken => return Ok(Some(Fate::Killed(partition, offset))),
                None => false,
            },
        };
        env.note(self.id, What::Taken, partition.into(), offset);
        let calls = if grave { 0 } else { env.plan.calls(partition, offset) };
        let work = InFlight { offset, nature, key, calls, back: 0, called: false, result: offset, grave };
        let hash = if env.flaw == Flaw::OutOfOrder { offset as u64 } else { hash_key(&[key]) };
        let (flight, first) = slot.task.push(offset, hash, work);
        if slot.task.open() > env.plan.max_in_flight {
            return Err(Violation(format!("{} open in partition {partition}", slot.task.open())));
        }
        if !env.plan.serial || first {
            self.start_flight(partition, flight, env);
        }
        self.release(partition, env)?;
        Ok(Some(Fate::Lives))
    }

    /// As `Worker::start`.
    fn start_flight(&mut self, partition: i32, flight: Flight, env: &mut Env) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let Some(work) = slot.task.get_mut(flight) else { return };
        let calls = if std::mem::replace(&mut work.called, true) { 0 } else { work.calls };
        let (offset, slow) = (work.offset, env.plan.slow_keys >> work.key & 1 == 1);
        if work.back >= work.calls {
            slot.task.ready(flight);
        }
        for _ in 0..calls {
            let due_ms = env.now_ms + env.rng.u64(1..if slow { 800 } else { 15 });
            self.done.push(Done { partition, epoch: slot.epoch, flight, result: offset, due_ms });
        }
    }

    fn take_finished(&mut self, env: &mut Env) -> Checked<Option<Fate>> {
        while let Some(index) = self.done.iter().position(|done| done.due_ms <= env.now_ms) {
            let done = self.done.swap_remove(index);
            let checked = env.flaw != Flaw::NoAssignmentCheck;
            let ours = |slot: &&mut Slot| slot.epoch == done.epoch || !checked;
            let Some(slot) = self.slots.get_mut(&done.partition).filter(ours) else { continue };
            let Some(work) = slot.task.get_mut(done.flight) else { continue };
            if work.nature == Nature::KillsWhenFinished && !work.grave {
                return Ok(Some(Fate::Killed(done.partition, work.offset)));
            }
            work.back += 1;
            work.result = done.result;
            self.start_flight(done.partition, done.flight, env);
            self.release(done.partition, env)?;
        }
        Ok(None)
    }

    fn release(&mut self, partition: i32, env: &mut Env) -> Checked {
        while let Some(slot) = self.slots.get_mut(&partition)
            && let Some((offset, work, next)) = slot.task.release()
        {
            if work.back < work.calls || work.offset != offset {
                return Err(Violation(format!(
                    "{partition}@{offset} leaves with {} of {} calls",
                    work.back, work.calls
                )));
            }
            env.note(self.id, What::Released, partition.into(), offset);
            self.write(partition, &work, env);
            self.released += 1;
            if env.plan.serial
                && let Some(next) = next
            {
                self.start_flight(partition, next, env);
            }
        }
        Ok(())
    }

    fn write(&mut self, partition: i32, work: &InFlight, env: &Env) {
        let outputs = &mut self.gathered.outputs;
        let mark = outputs.mark();
        let mut put = |topic: usize, limit: usize| {
            let value = work.result.to_be_bytes();
            let encode = |out: &mut Vec<u8>| -> Result<(), ()> {
                out.extend_from_slice(&value);
                Ok(())
            };
            outputs.push(topic, partition, (partition, work.offset), &[work.key], limit, encode).is_ok()
        };
        // The trigger comes first, so that a record above the limit has something to take back.
        let enriched = !work.grave
            && (!env.plan.fires(work.offset) || put(TRIGGERS, 100))
            && put(ENRICHED, if work.nature == Nature::TooLarge { 7 } else { 100 });
        if !enriched {
            outputs.reset(mark);
            let value = work.result.to_be_bytes();
            let encode = |out: &mut Vec<u8>| -> Result<(), ()> {
                out.extend_from_slice(&value);
                Ok(())
            };
            let _ = outputs.push(DEAD_LETTERS, partition, (partition, work.offset), &[work.key], 100, encode);
        }
    }

    fn scan_positions(&mut self) {
        if self.now.duration_since(self.last_scan) < REST {
            return;
        }
        self.last_scan = self.now;
        if self.consumer.is_none() {
            return;
        }
        for slot in self.slots.values_mut() {
            if slot.held.is_none() {
                slot.task.advance(slot.position);
            }
        }
    }
}

/// The next record that can be read, if it has been fetched already.
fn poll_queue(slot: &mut Slot, partition: i32, env: &mut Env) -> Option<i64> {
    if env.rng.u8(..8) == 0 {
        return None;
    }
    let visible = env.broker.visible[partition as usize];
    let record = (slot.position..visible).find(|offset| env.plan.record(partition, *offset).is_some());
    slot.position = record.map_or(visible.max(slot.position), |offset| offset + 1);
    record
}
