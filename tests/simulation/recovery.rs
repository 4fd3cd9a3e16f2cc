//! The model of `src/worker/recovery.rs`: rebalances, doubt, and resumption from what is committed.

use std::collections::BTreeMap;

use headwater::engine::{Batch, Stamp, Task};

use super::{
    Flaw,
    env::Env,
    group::{Letter, Membership},
    judge::TAG,
    log::What,
    worker::{Slot, Worker},
};

impl Worker {
    /// Serves letters as callbacks do. `false`: blocked in one.
    pub fn poll_consumer(&mut self, env: &mut Env) -> bool {
        while let Some(member) = self.consumer
            && let Some(letter) = env.group.mail[self.id].front().cloned()
            && env.rng.u8(..4) != 0
        {
            match letter {
                Letter::Generation(generation) => self.consumer = Some(Membership { generation, ..member }),
                Letter::Revoke(partitions) => {
                    if self.commits.is_committing() && !env.chance(|odds| odds.gate_timeout) {
                        env.note(self.id, What::WaitsForCommit, 0, 0);
                        return false;
                    }
                    self.revoked(&partitions, env);
                    env.group.revoked(member.id, &partitions);
                }
                Letter::Assign(partitions) => {
                    if !self.open(&partitions, member, &BTreeMap::new(), env) {
                        return false;
                    }
                }
                Letter::Lost => {
                    let all: Vec<i32> = self.slots.keys().copied().collect();
                    self.revoked(&all, env);
                    let id = env.group.join(self.id, &mut env.rng);
                    self.consumer = Some(Membership { id, generation: env.group.generation });
                    continue; // The mail is a new member's.
                }
            }
            env.group.mail[self.id].pop_front();
        }
        true
    }

    /// As `apply(Change::Revoked)`.
    fn revoked(&mut self, partitions: &[i32], env: &mut Env) {
        for partition in partitions {
            env.note(self.id, What::GivesUp, (*partition).into(), 0);
            self.slots.remove(partition);
            self.turn.leave(*partition);
        }
        let slots = &self.slots;
        if env.flaw != Flaw::GatheredKept {
            self.gathered.retain_partitions(|partition| slots.contains_key(&partition));
        }
        if let Some(batch) = &mut self.again {
            batch.retain_partitions(|partition| slots.contains_key(&partition));
            if batch.is_empty() {
                self.again = None;
                self.commit.dropped(self.now);
            }
        }
    }

    /// As `read_committed` and `open`. `false`: the offsets are not stable yet.
    fn open(&mut self, partitions: &[i32], member: Membership, began_with: &BTreeMap<i32, u32>, env: &mut Env) -> bool {
        if !partitions.iter().all(|partition| env.broker.is_stable(*partition)) {
            env.note(self.id, What::WaitsForStable, 0, 0);
            return false;
        }
        for &partition in partitions {
            if env.group.owner[partition as usize] == Some(member.id) {
                env.judge.opens(partition, self.life);
            }
            let (offset, metadata) = env.broker.committed[partition as usize].clone();
            env.note(self.id, What::Opens, partition.into(), offset);
            let fresh = Stamp { tag: TAG, chain: 1, epoch: 0, takeovers: 0 };
            let (began_with, max) = (began_with.get(&partition).copied(), env.plan.max_in_flight);
            let (task, _) = Task::resume(partition, offset, metadata.as_bytes(), fresh, began_with, max);
            self.epochs += 1;
            self.slots.insert(partition, Slot { task, position: offset, held: None, epoch: self.epochs });
        }
        true
    }

    /// The producer is there: joins the group, or resumes after doubt. `false`: the offsets are not stable yet.
    pub fn producer_is_ready(&mut self, env: &mut Env) -> bool {
        let Some(member) = self.consumer else {
            let id = env.group.join(self.id, &mut env.rng);
            self.consumer = Some(Membership { id, generation: env.group.generation });
            return true;
        };
        let partitions: Vec<i32> = self.slots.keys().copied().collect();
        let began_with = self.slots.iter().map(|(partition, slot)| (*partition, slot.task.began_with())).collect();
        self.open(&partitions, member, &began_with, env)
    }

    /// Forgets everything uncommitted.
    pub fn forget(&mut self, env: &mut Env) {
        env.note(self.id, What::Forgets, 0, 0);
        self.gathered.clear();
        self.again = None;
        self.released = 0;
        self.turn.clear();
        for slot in self.slots.values_mut() {
            self.epochs += 1;
            slot.epoch = self.epochs;
            slot.held = None;
        }
    }

    /// An aborted batch, without what is no longer ours.
    pub fn keep_for_again(&mut self, mut batch: Batch, env: &mut Env) {
        let (slots, flying) = (&self.slots, &self.flying);
        let ours = |partition: i32| match slots.get(&partition) {
            None => false,
            Some(_) if env.flaw == Flaw::StaleBatchKept => true,
            Some(slot) => flying.contains(&(partition, slot.epoch)),
        };
        let before = batch.ledgers.len();
        batch.retain_partitions(ours);
        if batch.ledgers.len() < before {
            env.note(self.id, What::AgainShrunk, (before - batch.ledgers.len()) as i64, 0);
        }
        if batch.is_empty() {
            self.commit.dropped(self.now);
        } else {
            self.again = Some(batch);
        }
    }
}
