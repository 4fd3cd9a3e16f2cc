//! The model of `src/worker/recovery.rs`: rebalances, doubt, and resumption from what is committed.

use std::collections::BTreeMap;

use headwater::engine::{Batch, Stamp, Task};

use super::{
    Checked, Flaw,
    env::Env,
    group::{Letter, Membership},
    judge::TAG,
    log::What,
    worker::{Slot, Worker},
};

impl Worker {
    /// Serves letters as callbacks do. `false`: blocked in one.
    pub fn poll_consumer(&mut self, env: &mut Env) -> Checked<bool> {
        while let Some(member) = self.consumer
            && let Some(letter) = env.group.mail[self.id].front().cloned()
            && env.rng.u8(..4) != 0
        {
            match letter {
                Letter::Generation(generation) => self.consumer = Some(Membership { generation, ..member }),
                Letter::Revoke(partitions) => {
                    let is_idle = !self.commits.is_committing();
                    if !is_idle && !env.chance(|odds| odds.gate_timeout) {
                        env.note(self.id, What::WaitsForCommit, 0, 0);
                        return Ok(false);
                    }
                    if is_idle {
                        self.bid_farewell(&partitions, env)?;
                    }
                    self.revoked(&partitions, env);
                    env.group.revoked(member.id, &partitions);
                }
                Letter::Assign(partitions) => {
                    if !self.open(&partitions, member, &BTreeMap::new(), env) {
                        return Ok(false);
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
        Ok(true)
    }

    /// As the callback does on a clean revocation: an ordinary commit of the broker's group.
    pub fn bid_farewell(&mut self, partitions: &[i32], env: &mut Env) -> Checked {
        let Some(member) = self.consumer else { return Ok(()) };
        for partition in partitions {
            let Some(entry) = self.farewells.remove(partition) else { continue };
            if env.group.accepts(member) {
                env.note(self.id, What::BidsFarewell, (*partition).into(), entry.offset);
                let committed = &mut env.broker.committed[*partition as usize];
                env.judge.farewell(&env.plan, self.life, &entry, committed.0)?;
                *committed = (entry.offset, entry.metadata);
            }
        }
        Ok(())
    }

    /// As `apply(Change::Revoked)`.
    fn revoked(&mut self, partitions: &[i32], env: &mut Env) {
        for partition in partitions {
            env.note(self.id, What::GivesUp, (*partition).into(), 0);
            self.slots.remove(partition);
            self.turn.leave(*partition);
            self.farewells.remove(partition);
        }
        self.end_calls(env);
        let slots = &self.slots;
        if env.flaw != Flaw::GatheredKept {
            self.gathered.retain_partitions(|partition| slots.contains_key(&partition));
        }
        self.suspects.retain_partitions(|partition| slots.contains_key(&partition));
    }

    /// Calls end with their assignment, but for those whose answer is on its way already.
    fn end_calls(&mut self, env: &mut Env) {
        let slots = &self.slots;
        let rng = &mut env.rng;
        self.done.retain(|done| slots.get(&done.partition).is_some_and(|slot| slot.epoch == done.epoch) || rng.bool());
    }

    /// A batch was committed: tells the tasks, and what the next owner is to be told should we leave now.
    pub fn note_committed(&mut self, batch: &Batch, assignments: &[(i32, u64)]) {
        for ledger in &batch.ledgers {
            let slot = self.slots.get_mut(&ledger.partition);
            let Some(slot) = slot.filter(|slot| assignments.contains(&(ledger.partition, slot.epoch))) else {
                continue;
            };
            slot.task.committed(&mut self.turn);
            if let Some(farewell) = slot.task.farewell(ledger) {
                self.farewells.insert(ledger.partition, farewell);
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
        self.end_calls(env);
    }

    /// Leaves in an aborted batch only what belongs to assignments that we still have.
    pub fn keep_ours(&self, batch: &mut Batch, env: &mut Env) {
        let (slots, flying) = (&self.slots, &self.flying);
        let before = batch.ledgers.len();
        batch.retain_partitions(|partition| match slots.get(&partition) {
            None => false,
            Some(_) if env.flaw == Flaw::StaleBatchKept => true,
            Some(slot) => flying.contains(&(partition, slot.epoch)),
        });
        if batch.ledgers.len() < before {
            env.note(self.id, What::AgainShrunk, (before - batch.ledgers.len()) as i64, 0);
        }
    }
}
