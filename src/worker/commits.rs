//! Commits: when the commit thread gets a batch, and what its answer means.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{
    Stage, Stats, Worker,
    committer::{Answer, Job},
    worker::{Flying, REST},
};
use crate::{
    clock,
    engine::{After, Batch, Next, Verdict},
    kafka::{GroupMetadata, KafkaError, StageConsumer, TransactionOutcome},
};

/// So many take-overs by a producer of the same id, without a commit of ours between them, are no coincidence.
const MAX_FENCED: u32 = 5;

impl<S: Stage> Worker<S> {
    /// Gives the commit thread its next job. Says when to ask again.
    pub(super) fn drive_commit(&mut self, stopping: bool) -> Option<Instant> {
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
                self.flying = Flying { times: std::mem::take(&mut self.since), assignments: Vec::new() };
                for (partition, slot) in &mut self.slots {
                    if slot.task.is_dirty() {
                        batch.ledgers.push(slot.task.entry());
                        self.flying.assignments.push((*partition, slot.epoch));
                    }
                }
                batch.outputs.keep_last_of_each_key(S::STATE_FROM);
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

    fn send_batch(&mut self, batch: Batch, member: Option<GroupMetadata>) -> Option<Instant> {
        self.last_commit = self.now;
        if let Some(consumer) = &self.consumer {
            consumer.clear_farewells(); // Until this one's outcome is known, nobody can say what is committed.
        }
        self.gate.set_busy(true);
        self.commits.send(Job::Commit(batch, member));
        None
    }

    pub(super) fn take_answers(&mut self) -> Result<bool, KafkaError> {
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
            TransactionOutcome::Clean(_) => Verdict::Clean,
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
                let Flying { times, assignments } = std::mem::take(&mut self.flying);
                let written = match outcome {
                    TransactionOutcome::Clean(written) => written,
                    _ => Vec::new(),
                };
                self.note_committed(&batch, &written, &assignments);
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
