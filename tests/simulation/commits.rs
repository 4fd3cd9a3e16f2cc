//! The model of `src/worker/commits.rs`: when the commit thread gets a batch, and what its answer means.

use headwater::engine::{After, Batch, Next, Verdict};

use super::{
    Flaw,
    committer::{Answer, Job, Outcome, Step},
    env::Env,
    group::Membership,
    log::What,
    worker::{REST, Worker},
};

impl Worker {
    pub fn drive_commit(&mut self, env: &mut Env) {
        let urgent =
            self.released > 0 || self.slots.values().any(|slot| slot.task.is_announcing() && slot.task.is_dirty());
        let lazy = (self.stopping || self.now.duration_since(self.last_commit) >= REST)
            && self.slots.values().any(|slot| slot.task.is_dirty());
        let gathered = urgent || lazy;
        let member = self.consumer.filter(|_| self.commit.is_due(self.now, gathered));
        match self.commit.next(self.now, gathered) {
            Next::Nothing | Next::At(_) => {}
            Next::Initialise => self.commits.job = Some(Job::Initialise),
            Next::Commit => {
                let mut batch = std::mem::replace(&mut self.gathered, std::mem::take(&mut self.spare));
                self.flying = Vec::new();
                for (partition, slot) in &mut self.slots {
                    if slot.task.is_dirty() {
                        batch.ledgers.push(slot.task.entry());
                        self.flying.push((*partition, slot.epoch));
                    }
                }
                self.released = 0;
                if batch.is_empty() {
                    self.commit.dropped(self.now);
                    batch.clear();
                    self.spare = batch;
                    return;
                }
                env.note(self.id, What::Begins, batch.outputs.len() as i64, batch.ledgers.len() as i64);
                self.send_batch(batch, member, env);
            }
            Next::CommitAgain => {
                let mut batch = self.again.take().unwrap_or_default();
                self.keep_ours(&mut batch, env);
                if batch.is_empty() {
                    self.commit.dropped(self.now);
                    return;
                }
                env.note(self.id, What::BeginsAgain, batch.outputs.len() as i64, batch.ledgers.len() as i64);
                self.send_batch(batch, member, env);
            }
        }
    }

    fn send_batch(&mut self, batch: Batch, member: Option<Membership>, env: &Env) {
        self.last_commit = self.now;
        if env.flaw != Flaw::StaleFarewell {
            self.farewells.clear();
        }
        self.commits.job = Some(Job::Commit { batch, member, step: Step::Produce });
    }

    /// `false`: blocked until offsets are stable.
    pub fn take_answers(&mut self, env: &mut Env) -> bool {
        match self.commits.answer.take() {
            None => {}
            Some(Answer::Initialised(true)) => {
                if !self.producer_is_ready(env) {
                    self.commits.answer = Some(Answer::Initialised(true));
                    return false;
                }
                self.commit.initialised(self.now, true, 0.0);
            }
            Some(Answer::Initialised(false)) => {
                env.note(self.id, What::InitialiseFailed, 0, 0);
                self.commit.initialised(self.now, false, env.rng.f64());
            }
            Some(Answer::Committed(batch, outcome)) => self.committed(batch, outcome, env),
        }
        true
    }

    fn committed(&mut self, mut batch: Batch, outcome: Outcome, env: &mut Env) {
        let (what, verdict) = match &outcome {
            Outcome::Clean => (What::Clean, Verdict::Clean),
            Outcome::DefiniteAbort => (What::Aborted, Verdict::DefiniteAbort),
            Outcome::Doubtful if env.flaw == Flaw::AgainAfterDoubt => (What::Doubtful, Verdict::DefiniteAbort),
            Outcome::Doubtful => (What::Doubtful, Verdict::Doubtful),
            Outcome::Refused(refusals) => {
                self.suspects.refused(refusals.iter().map(|place| (*place, String::new())), &batch);
                (What::Refused, Verdict::Doubtful)
            }
        };
        env.note(self.id, what, batch.outputs.len() as i64, batch.ledgers.len() as i64);
        match self.commit.finished(self.now, verdict, env.rng.f64()) {
            After::Applied => {
                let assignments = std::mem::take(&mut self.flying);
                self.note_committed(&batch, &assignments);
                self.suspects.committed(&batch);
                batch.clear();
                self.spare = batch;
            }
            After::Again => self.again = Some(batch),
            After::Forget => self.forget(env),
        }
    }
}
