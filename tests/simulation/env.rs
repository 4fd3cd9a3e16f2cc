//! What everything in a schedule shares: chance, virtual time, the broker, the group, the judge and the log.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{
    Checked, Flaw,
    broker::{Broker, Refusal},
    group::Group,
    judge::Judge,
    log::{Entry, What},
    plan::{Odds, Plan},
};

pub struct Env {
    pub rng: Rng,
    base: Instant,
    pub now_ms: u64,
    pub plan: Plan,
    pub flaw: Flaw,
    pub broker: Broker,
    pub group: Group,
    pub judge: Judge,
    pub log: Vec<Entry>,
    /// Faults are over.
    pub calm: bool,
    pub lives: u32,
}

impl Env {
    pub fn new(rng: Rng, plan: Plan, flaw: Flaw) -> Self {
        Env {
            rng,
            base: headwater::clock::now(),
            now_ms: 0,
            flaw,
            broker: Broker::new(plan.partitions(), plan.workers),
            group: Group::new(plan.partitions(), plan.workers),
            judge: Judge::new(&plan),
            log: Vec::with_capacity(1_024),
            calm: false,
            lives: 0,
            plan,
        }
    }

    /// Virtual now.
    pub fn now(&self) -> Instant {
        self.base + Duration::from_millis(self.now_ms)
    }

    /// Whether a fault happens on this occasion.
    pub fn chance(&mut self, of: impl Fn(&Odds) -> u16) -> bool {
        let odds = of(&self.plan.odds);
        !self.calm && odds > 0 && self.rng.u16(..1_024) < odds
    }

    pub fn note(&mut self, worker: usize, what: What, a: i64, b: i64) {
        self.log.push(Entry { at_ms: self.now_ms, worker, what, a, b });
    }

    /// EndTxn arrives at the broker.
    pub fn end(&mut self, producer: usize, epoch: u32, commit: bool) -> Checked<Result<(), Refusal>> {
        let ended = self.broker.end(producer, epoch, commit, (&mut self.judge, &self.plan))?;
        Ok(ended.map(|committed| {
            if let Some((outputs, ledgers)) = committed {
                self.note(producer, What::Committed, outputs as i64, ledgers as i64);
            }
        }))
    }

    /// A late EndTxn arrives.
    pub fn deliver_straggler(&mut self) -> Checked {
        if self.broker.stragglers.is_empty() {
            return Ok(());
        }
        let (producer, epoch) = self.broker.stragglers.swap_remove(self.rng.usize(..self.broker.stragglers.len()));
        let what = match self.end(producer, epoch, true)? {
            Ok(()) => What::StragglerDecides,
            Err(_) => What::StragglerRefused,
        };
        self.note(producer, what, producer as i64, epoch.into());
        Ok(())
    }
}
