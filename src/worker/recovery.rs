//! What a worker does when the ground moves: rebalances, doubt, refused records, a log that was cut.

use std::collections::{BTreeMap, VecDeque};

use super::{Stage, Stats, Worker, slot::Slot};
use crate::{
    engine::{Batch, Stamp, Task, partition_tag},
    kafka::{Assignment, Change, Input, KafkaError, StageConsumer, is_out_of_range},
};

impl<S: Stage> Worker<S> {
    /// Serves the consumer's callbacks and applies what rebalances did.
    pub(super) fn poll_consumer(&mut self) -> Result<bool, KafkaError> {
        let mut busy = false;
        loop {
            let Some(consumer) = &self.consumer else { return Ok(false) };
            let polled = match consumer.poll() {
                None => None,
                Some(Ok(message)) => Some(Ok(Input::borrow(&message).keep())),
                Some(Err(error)) => Some(Err(error)),
            };
            let changes = consumer.changes();
            busy |= !changes.is_empty();
            for change in changes {
                self.apply(change)?;
            }
            match polled {
                None => return Ok(busy),
                Some(Ok(record)) => {
                    busy = true;
                    if let Some(slot) = self.slots.get_mut(&record.view().partition) {
                        slot.early.push_back(record);
                    }
                }
                Some(Err(error)) => self.poll_failed(None, &error),
            }
        }
    }

    fn apply(&mut self, change: Change) -> Result<(), KafkaError> {
        Stats::count(&self.stats.rebalances);
        match change {
            Change::Failed(error) => return Err(error),
            Change::Revoked(partitions) => {
                tracing::info!(group = %self.settings.group, ?partitions, "partitions given up");
                for partition in &partitions {
                    self.slots.remove(partition);
                    self.turn.leave(*partition);
                }
                let slots = &self.slots;
                self.gathered.retain_partitions(|partition| slots.contains_key(&partition));
                if let Some(batch) = &mut self.again {
                    batch.retain_partitions(|partition| slots.contains_key(&partition));
                    if batch.is_empty() {
                        self.again = None;
                        self.commit.dropped(crate::clock::now());
                    }
                }
            }
            Change::Assigned(assignments) => {
                tracing::info!(
                    group = %self.settings.group,
                    partitions = ?assignments.iter().map(|assignment| assignment.partition).collect::<Vec<_>>(),
                    "partitions assigned"
                );
                self.open(assignments, &BTreeMap::new())?;
            }
        }
        let partitions: Vec<i32> = self.slots.keys().copied().collect();
        self.stage.assigned(&partitions);
        Ok(())
    }

    /// Makes a slot of each assignment, from what is committed. `began_with`: where this life goes on after doubt, see
    /// [`Task::resume`].
    fn open(&mut self, assignments: Vec<Assignment>, began_with: &BTreeMap<i32, u32>) -> Result<(), KafkaError> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        if assignments.is_empty() {
            return Ok(());
        }
        let (cluster, topic_id) = match &self.identity {
            Some(identity) => identity.clone(),
            None => self.identity.insert(consumer.identity()?).clone(),
        };
        for assignment in assignments {
            let tag = partition_tag(&cluster, &topic_id, assignment.partition);
            let fresh = Stamp { tag, chain: self.settings.chain, epoch: 0, takeovers: 0 };
            let (task, error) = Task::resume(
                assignment.partition,
                assignment.offset,
                &assignment.metadata,
                fresh,
                began_with.get(&assignment.partition).copied(),
                self.settings.max_in_flight,
            );
            if let Some(error) = error {
                Stats::count(&self.stats.foreign_ledgers);
                tracing::warn!(
                    group = %self.settings.group, partition = assignment.partition, %error,
                    "work beyond the committed offset is repeated"
                );
            }
            self.epochs += 1;
            let thread = self.thread.clone();
            let slot = Slot {
                task,
                queue: consumer.queue(assignment.partition, move || thread.unpark()),
                early: VecDeque::new(),
                held: None,
                hold: self.stage.opening(assignment.partition, tag),
                epoch: self.epochs,
            };
            self.slots.insert(assignment.partition, slot);
        }
        Ok(())
    }

    /// The producer is there: joins the group, or resumes after doubt.
    pub(super) fn producer_is_ready(&mut self) -> Result<(), KafkaError> {
        if let Some(consumer) = &self.consumer {
            let partitions: Vec<i32> = self.slots.keys().copied().collect();
            if partitions.is_empty() {
                return Ok(());
            }
            // The queues go before the partitions are split anew.
            let slots = std::mem::take(&mut self.slots);
            let began_with = slots.into_iter().map(|(partition, slot)| (partition, slot.task.began_with())).collect();
            let assignments = consumer.resume(&partitions)?;
            return self.open(assignments, &began_with);
        }
        let thread = self.thread.clone();
        let consumer = StageConsumer::join(
            &self.settings.settings,
            &self.settings.topic,
            &self.settings.group,
            self.gate.clone(),
            move || thread.unpark(),
        )?;
        self.commits.send(super::committer::Job::Joined(consumer.share()));
        self.consumer = Some(consumer);
        Ok(())
    }

    /// Forgets everything uncommitted: the path a crash takes. The slots stay as a list of what is ours until the
    /// producer has been made anew; nothing is taken in meanwhile.
    pub(super) fn forget(&mut self) {
        self.gathered.clear();
        self.since.clear();
        self.again = None;
        self.released = 0;
        self.turn.clear();
        for slot in self.slots.values_mut() {
            self.epochs += 1;
            slot.epoch = self.epochs; // What is still under way is not ours any more.
            slot.held = None;
            slot.early.clear();
        }
    }

    /// An aborted batch, without what is no longer ours. A partition that went and came back while the batch was under
    /// way has begun again from what is committed: its part of the batch would come twice.
    pub(super) fn keep_for_again(&mut self, mut batch: Batch) {
        let (slots, assignments) = (&self.slots, &self.flying.1);
        batch.retain_partitions(|partition| {
            slots.get(&partition).is_some_and(|slot| assignments.contains(&(partition, slot.epoch)))
        });
        if batch.is_empty() {
            self.commit.dropped(crate::clock::now());
        } else {
            self.again = Some(batch);
        }
    }

    pub(super) fn poll_failed(&mut self, partition: Option<i32>, error: &rdkafka::error::KafkaError) {
        if !is_out_of_range(error) {
            tracing::warn!(group = %self.settings.group, ?partition, %error, "poll");
            return;
        }
        let Some(partition) = partition else {
            tracing::error!(group = %self.settings.group, %error, "a committed offset lies outside the log");
            return;
        };
        // Retention has deleted what was not read yet: counted, shown, and then we go on with what there is.
        let (Some(consumer), Some(slot)) = (&self.consumer, self.slots.get(&partition)) else { return };
        let wanted = slot.task.next();
        match consumer.skip_to_start(partition) {
            Ok(start) => {
                let lost = (start - wanted).max(0) as u64;
                Stats::add(&self.stats.lost, lost);
                tracing::error!(
                    group = %self.settings.group, partition, wanted, start, lost,
                    "records were deleted by retention before they were read; raise retention.ms or add workers"
                );
                let assignment = Assignment { partition, offset: start.max(wanted), metadata: Vec::new() };
                self.slots.remove(&partition);
                self.turn.leave(partition);
                if let Err(error) = self.open(vec![assignment], &BTreeMap::new()) {
                    tracing::error!(group = %self.settings.group, partition, %error, "partition cannot be resumed");
                }
            }
            Err(error) => tracing::error!(group = %self.settings.group, partition, %error, "log start unknown"),
        }
    }
}
