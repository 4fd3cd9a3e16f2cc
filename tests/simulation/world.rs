//! One schedule: faults and work in random order, then calm until everything is done.

use fastrand::Rng;

use super::{
    Checked, Flaw, Violation,
    env::Env,
    judge::Judge,
    log::{Entry, What},
    plan::Plan,
    worker::{Fate, Worker},
};

/// Rounds of calm within which every lag must reach zero.
const CALM_ROUNDS: usize = 20_000;
/// A transaction that is open for longer is aborted by the broker.
const TRANSACTION_TIMEOUT_MS: u64 = 10_000;

struct World {
    env: Env,
    workers: Vec<Option<Worker>>,
}

/// What became of a schedule.
pub struct Report {
    pub result: Checked,
    pub log: Vec<Entry>,
    /// Dead letters of records with nothing wrong in them.
    pub innocents: Vec<(usize, i64)>,
}

/// Runs a schedule.
pub fn run(mut rng: Rng, plan: Plan, flaw: Flaw) -> Report {
    let workers = (0..plan.workers).map(|_| None).collect();
    let rng = rng.fork();
    let mut world = World { env: Env::new(rng, plan, flaw), workers };
    let result = world.run();
    Report { result, innocents: std::mem::take(&mut world.env.judge.innocents), log: world.env.log }
}

impl World {
    fn run(&mut self) -> Checked {
        for _ in 0..self.env.plan.steps {
            self.env.now_ms += if self.env.rng.u8(..64) == 0 { 1_000 } else { self.env.rng.u64(..6) };
            self.step()?;
        }
        self.env.calm = true;
        self.env.note(0, What::FaultsOver, 0, 0);
        for round in 0..CALM_ROUNDS {
            // Round by round the clock is as fast as work needs, or as slow as time-outs are.
            self.env.now_ms += if round % 16 == 0 { 500 } else { self.env.rng.u64(1..10) };
            self.calm_round()?;
            if Judge::is_all_done(&self.env.plan, &self.env.broker) && self.env.broker.stragglers.is_empty() {
                return self.env.judge.closes(&self.env.plan, &self.env.broker);
            }
        }
        Err(Violation(format!("lag remains: {:?}", self.env.broker.committed)))
    }

    fn step(&mut self) -> Checked {
        let index = self.env.rng.usize(..self.workers.len());
        match self.env.rng.u8(..64) {
            0..30 => self.turn(index)?,
            30..50 => self.commit_turn(index)?,
            50..54 => self.env.group.settle(),
            54..59 => self.arrive(),
            59..61 => self.env.deliver_straggler()?,
            _ => self.bury_ghost(index),
        }
        if self.env.chance(|odds| odds.rebalance) {
            self.env.group.rebalance(&mut self.env.rng);
            self.env.note(index, What::Rebalanced, self.env.group.generation.into(), 0);
        }
        if self.env.chance(|odds| odds.crash) {
            self.crash(index, What::Crashes, (0, 0));
        }
        if self.env.chance(|odds| odds.stop)
            && let Some(worker) = &mut self.workers[index]
        {
            worker.stopping = true;
            self.env.note(index, What::StopAsked, 0, 0);
        }
        if self.env.chance(|odds| odds.expel)
            && let Some(member) = self.workers[index].as_ref().and_then(|worker| worker.consumer)
        {
            self.env.group.remove(member.id, true, &mut self.env.rng);
            self.env.note(index, What::Expelled, member.id.into(), self.env.group.generation.into());
        }
        let limit = if self.env.chance(|odds| odds.transaction_timeout) { 0 } else { TRANSACTION_TIMEOUT_MS };
        self.time_out(limit);
        Ok(())
    }

    fn time_out(&mut self, limit_ms: u64) {
        if let Some(producer) = self.env.broker.time_out(self.env.now_ms, limit_ms) {
            self.env.note(producer, What::TransactionTimedOut, 0, 0);
        }
    }

    fn calm_round(&mut self) -> Checked {
        for index in 0..self.workers.len() {
            self.bury_ghost(index);
            self.turn(index)?;
            for _ in 0..2 {
                self.commit_turn(index)?;
            }
        }
        self.env.group.settle();
        self.arrive();
        self.env.deliver_straggler()?;
        self.time_out(TRANSACTION_TIMEOUT_MS);
        Ok(())
    }

    /// More of the input can be read.
    fn arrive(&mut self) {
        let partition = self.env.rng.usize(..self.env.plan.partitions());
        let more = self.env.rng.i64(0..8);
        let visible = &mut self.env.broker.visible[partition];
        *visible = (*visible + more).min(self.env.plan.end(partition as i32));
    }

    /// A worker's turn; a dead one starts again.
    fn turn(&mut self, index: usize) -> Checked {
        let Some(worker) = &mut self.workers[index] else {
            if self.env.rng.u8(..4) == 0 {
                self.workers[index] = Some(Worker::start(index, &mut self.env));
            }
            return Ok(());
        };
        match worker.turn(&mut self.env)? {
            Fate::Lives => {}
            Fate::Killed(partition, offset) => self.crash(index, What::Killed, (partition.into(), offset)),
            Fate::Left => {
                self.env.note(index, What::Leaves, 0, 0);
                let member = worker.consumer;
                let all: Vec<i32> = worker.slots.keys().copied().collect();
                worker.bid_farewell(&all, &mut self.env)?;
                worker.commits.dies(&mut self.env);
                self.workers[index] = None;
                if let Some(member) = member {
                    self.env.group.remove(member.id, false, &mut self.env.rng);
                }
            }
        }
        Ok(())
    }

    fn commit_turn(&mut self, index: usize) -> Checked {
        match &mut self.workers[index] {
            Some(worker) => worker.commits.turn(&mut self.env),
            None => Ok(()),
        }
    }

    /// kill -9: its memory is gone, its member stays in the group for a while.
    fn crash(&mut self, index: usize, what: What, (a, b): (i64, i64)) {
        if let Some(worker) = self.workers[index].take() {
            self.env.note(index, what, a, b);
            worker.commits.dies(&mut self.env);
        }
    }

    /// The session of a dead member times out.
    fn bury_ghost(&mut self, index: usize) {
        let living = self.workers[index].as_ref().and_then(|worker| worker.consumer).map(|member| member.id);
        if let Some(ghost) = self.env.group.ghosts(index, living)
            && self.env.rng.bool()
        {
            self.env.group.remove(ghost, false, &mut self.env.rng);
        }
    }
}
