//! The model of the commit thread: one job at a time, each in steps between which anything may happen.
//! Mirrors `TransactionCommitter` and `Transactor`: what they call is here one step, with what may become of it.

use headwater::engine::Batch;

use super::{
    Checked, Flaw,
    broker::{ENRICHED, Refusal},
    env::Env,
    group::Membership,
    log::What,
    plan::Nature,
};

/// As `TransactionOutcome`.
#[derive(Debug)]
pub enum Outcome {
    Clean,
    DefiniteAbort,
    Doubtful,
    Refused(Vec<(i32, i64)>),
}

/// As the worker's `Job`, with how far it is.
pub enum Job {
    Initialise,
    Commit { batch: Batch, member: Option<Membership>, step: Step },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Produce,
    SendOffsets,
    End,
}

/// As the worker's `Answer`.
pub enum Answer {
    Initialised(bool),
    Committed(Batch, Outcome),
}

pub struct CommitThread {
    worker: usize,
    life: u32,
    pub job: Option<Job>,
    pub answer: Option<Answer>,
    /// Epoch of the producer, if there is one.
    producer: Option<u32>,
    tainted: bool,
}

impl CommitThread {
    pub fn new(worker: usize, life: u32) -> Self {
        CommitThread { worker, life, job: None, answer: None, producer: None, tainted: false }
    }

    /// What the commit gate says.
    pub fn is_committing(&self) -> bool {
        matches!(self.job, Some(Job::Commit { .. }))
    }

    /// The process dies. A request that was just being sent may still arrive.
    pub fn dies(&self, env: &mut Env) {
        if let (Some(Job::Commit { step: Step::End, .. }), Some(epoch)) = (&self.job, self.producer)
            && env.rng.bool()
        {
            env.broker.stragglers.push((self.worker, epoch));
        }
    }

    /// The next step of the job.
    pub fn turn(&mut self, env: &mut Env) -> Checked {
        if self.job.is_none() && env.chance(|odds| odds.taint) {
            self.tainted = true;
        }
        match self.job.take() {
            None => {}
            Some(Job::Initialise) => {
                let ok = self.initialise(env);
                self.answer = Some(Answer::Initialised(ok));
            }
            Some(Job::Commit { batch, member, step }) => {
                let result = match step {
                    Step::Produce => self.produce(&batch, member, env)?,
                    Step::SendOffsets => self.send_offsets(&batch, member, env)?,
                    Step::End => Err(self.end(&batch, env)?),
                };
                match result {
                    Ok(step) => self.job = Some(Job::Commit { batch, member, step }),
                    Err(outcome) => self.answer = Some(Answer::Committed(batch, outcome)),
                }
            }
        }
        Ok(())
    }

    fn initialise(&mut self, env: &mut Env) -> bool {
        if env.flaw == Flaw::NoFencing && self.producer.is_some() {
            self.tainted = false;
            return true;
        }
        self.producer = None;
        let fails = env.chance(|odds| odds.initialise_fails);
        if fails && env.rng.bool() {
            env.broker.initialise(self.worker); // Applied, and the answer lost.
        }
        if !fails {
            let epoch = env.broker.initialise(self.worker);
            env.note(self.worker, What::Fenced, epoch.into(), 0);
            (self.producer, self.tainted) = (Some(epoch), false);
        }
        !fails
    }

    fn by(&self) -> Option<(usize, u32, u32)> {
        self.producer.map(|epoch| (self.worker, epoch, self.life))
    }

    fn produce(&mut self, batch: &Batch, member: Option<Membership>, env: &mut Env) -> Checked<Result<Step, Outcome>> {
        // As `TransactionCommitter::commit`: a connection that failed while nothing was open.
        if (self.producer.is_none() || self.tainted) && !self.initialise(env) {
            return Ok(Err(Outcome::Doubtful));
        }
        let Some(by) = self.by() else { return Ok(Err(Outcome::Doubtful)) };
        if member.is_none() && env.flaw != Flaw::UncheckedMember {
            return Ok(Err(Outcome::DefiniteAbort));
        }
        let plan = &env.plan;
        let refused = |topic: usize, (partition, offset): (i32, i64)| {
            topic == ENRICHED && plan.record(partition, offset).is_some_and(|record| record.1 == Nature::Refused)
        };
        if env.broker.produce(by, batch, env.now_ms, refused).is_err() {
            return Ok(Err(Outcome::Doubtful));
        }
        let mut refusals: Vec<(i32, i64)> =
            batch.outputs.iter().filter(|it| refused(it.0.topic, it.0.source)).map(|it| it.0.source).collect();
        if !refusals.is_empty() {
            if env.rng.bool() {
                // The broker refuses the batch of records for the fault of one.
                refusals = batch.outputs.iter().map(|it| it.0.source).collect();
            }
            return Ok(Err(Outcome::Refused(refusals)));
        }
        if env.chance(|odds| odds.produce_times_out) {
            return Ok(Err(Outcome::Doubtful));
        }
        if env.chance(|odds| odds.produce_aborts) {
            return self.abort(env).map(Err);
        }
        Ok(Ok(Step::SendOffsets))
    }

    fn send_offsets(
        &mut self,
        batch: &Batch,
        member: Option<Membership>,
        env: &mut Env,
    ) -> Checked<Result<Step, Outcome>> {
        let Some(by) = self.by() else { return Ok(Err(Outcome::Doubtful)) };
        if env.flaw == Flaw::LedgerApart {
            return Ok(Ok(Step::End));
        }
        let member = if env.flaw == Flaw::UncheckedMember { None } else { member };
        let lost = env.chance(|odds| odds.offsets_time_out);
        if lost && env.rng.bool() {
            return Ok(Err(Outcome::Doubtful));
        }
        match env.broker.send_offsets(by, batch, member, &env.group, env.now_ms) {
            Ok(()) if lost => Ok(Err(Outcome::Doubtful)),
            Ok(()) => Ok(Ok(Step::End)),
            Err(Refusal::Fenced) => Ok(Err(Outcome::Doubtful)),
            Err(Refusal::Generation) => {
                env.note(self.worker, What::GenerationRefused, env.group.generation.into(), 0);
                self.abort(env).map(Err)
            }
        }
    }

    fn end(&mut self, batch: &Batch, env: &mut Env) -> Checked<Outcome> {
        let Some((_, epoch, _)) = self.by() else { return Ok(Outcome::Doubtful) };
        if env.chance(|odds| odds.end_lost) {
            return Ok(Outcome::Doubtful);
        }
        if env.chance(|odds| odds.end_delayed) {
            env.broker.stragglers.push((self.worker, epoch));
            return Ok(Outcome::Doubtful);
        }
        if env.chance(|odds| odds.end_retried) {
            env.broker.stragglers.push((self.worker, epoch));
            self.tainted = env.flaw != Flaw::TaintIgnored;
        }
        if env.end(self.worker, epoch, true)?.is_err() {
            return Ok(Outcome::Doubtful);
        }
        if env.flaw == Flaw::LedgerApart {
            for ledger in &batch.ledgers {
                env.broker.committed[ledger.partition as usize] = (ledger.offset, ledger.metadata.clone());
            }
        }
        let doubtful = self.tainted || env.chance(|odds| odds.end_unanswered);
        Ok(if doubtful { Outcome::Doubtful } else { Outcome::Clean })
    }

    /// As `Transactor::abort`.
    fn abort(&mut self, env: &mut Env) -> Checked<Outcome> {
        let Some((_, epoch, _)) = self.by() else { return Ok(Outcome::Doubtful) };
        let lost = env.chance(|odds| odds.abort_unanswered);
        if lost && env.rng.bool() {
            return Ok(Outcome::Doubtful);
        }
        let fenced = env.end(self.worker, epoch, false)?.is_err();
        Ok(if fenced || lost || self.tainted { Outcome::Doubtful } else { Outcome::DefiniteAbort })
    }
}
