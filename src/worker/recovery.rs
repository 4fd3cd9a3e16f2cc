//! What a worker does when the ground moves: rebalances, doubt, a log that was cut.

use std::{collections::BTreeMap, time::Duration};

use super::{Stage, Stats, Worker, slot::Slot};
use crate::{
    clock,
    engine::{Batch, Stamp, Task, partition_tag},
    kafka::{Assignment, Change, KafkaError, RdError, StageConsumer, Written, is_fatal, is_out_of_range},
};

/// Committed offsets that could not be read are asked for again after so long.
const UNREAD_AGAIN: Duration = Duration::from_secs(1);

impl<S: Stage> Worker<S> {
    /// Serves the consumer's callbacks and applies what rebalances did.
    pub(super) fn poll_consumer(&mut self) -> Result<bool, KafkaError> {
        let mut busy = false;
        loop {
            let Some(consumer) = &self.consumer else { return Ok(false) };
            let polled = consumer.poll().map(|polled| polled.map(|message| (message.partition, message.offset)));
            let changes = consumer.changes();
            if !changes.is_empty() {
                busy = true;
                for change in changes {
                    self.apply(change)?;
                }
                self.tell_stage();
            }
            match polled {
                None => return Ok(busy),
                // Partitions are split off before they are assigned; beside its queue a record would lose its order.
                Some(Ok((partition, offset))) => {
                    let what = format!("keep {}-{partition}@{offset} in its queue", self.settings.topic);
                    return Err(KafkaError::Refused { what, message: "it came beside it".to_owned() });
                }
                Some(Err(error)) => self.poll_failed(None, &error)?,
            }
        }
    }

    fn apply(&mut self, change: Change) -> Result<(), KafkaError> {
        Stats::count(&self.stats.rebalances);
        let group = &self.settings.group;
        match change {
            Change::Failed(error) => return Err(error),
            Change::Revoked(partitions) => {
                tracing::info!(%group, ?partitions, "partitions given up");
                for partition in &partitions {
                    self.slots.remove(partition);
                    self.turn.leave(*partition);
                }
                self.unread.0.retain(|partition| !partitions.contains(partition));
                let slots = &self.slots;
                self.gathered.retain_partitions(|partition| slots.contains_key(&partition));
                self.suspects.retain_partitions(|partition| slots.contains_key(&partition));
            }
            Change::Assigned(assignments) => {
                let partitions: Vec<i32> = assignments.iter().map(|assignment| assignment.partition).collect();
                tracing::info!(%group, ?partitions, "partitions assigned");
                self.open(assignments, &BTreeMap::new())?;
            }
            Change::Unread(partitions, error) => {
                tracing::warn!(%group, ?partitions, %error, "partitions assigned, but what is committed for them cannot be read yet");
                self.unread.0.extend(partitions);
                self.unread.1 = clock::now() + UNREAD_AGAIN;
            }
        }
        Ok(())
    }

    fn tell_stage(&mut self) {
        let partitions: Vec<i32> = self.slots.keys().copied().collect();
        self.stage.assigned(&partitions);
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
            let partition = assignment.partition;
            let tag = partition_tag(&cluster, &topic_id, partition);
            let fresh = Stamp { tag, chain: self.settings.chain, epoch: 0, takeovers: 0 };
            let (task, error) = Task::resume(
                partition,
                assignment.offset,
                &assignment.metadata,
                fresh,
                began_with.get(&partition).copied(),
                self.settings.max_in_flight,
            );
            if let Some(error) = error {
                Stats::count(&self.stats.foreign_ledgers);
                tracing::warn!(
                    group = %self.settings.group, partition, %error,
                    "work beyond the committed offset is repeated"
                );
            }
            self.epochs += 1;
            let thread = self.thread.clone();
            let slot = Slot {
                task,
                queue: consumer.queue(partition, move || thread.unpark()),
                held: None,
                hold: self.stage.opening(partition, tag),
                epoch: self.epochs,
                calls: tokio::task::JoinSet::new(),
                kept: 0,
            };
            self.slots.insert(partition, slot);
        }
        Ok(())
    }

    /// The producer is there: joins the group, or resumes after doubt.
    pub(super) fn producer_is_ready(&mut self) -> Result<(), KafkaError> {
        if self.consumer.is_some() {
            // The queues go before the partitions are split anew.
            let slots = std::mem::take(&mut self.slots);
            let mut partitions: Vec<i32> = slots.keys().copied().collect();
            let began_with = slots.into_iter().map(|(partition, slot)| (partition, slot.task.began_with())).collect();
            partitions.append(&mut self.unread.0);
            return self.resume(partitions, &began_with);
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

    /// Starts partitions of ours again from what is committed. What cannot be read yet is asked for later.
    fn resume(&mut self, partitions: Vec<i32>, began_with: &BTreeMap<i32, u32>) -> Result<(), KafkaError> {
        let Some(consumer) = self.consumer.as_ref().filter(|_| !partitions.is_empty()) else { return Ok(()) };
        match consumer.resume(&partitions) {
            Ok(assignments) => {
                self.open(assignments, began_with)?;
                self.tell_stage();
                Ok(())
            }
            Err(error @ KafkaError::NoCommittedOffset { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(group = %self.settings.group, ?partitions, %error, "partitions cannot be resumed yet");
                self.unread = (partitions, clock::now() + UNREAD_AGAIN);
                Ok(())
            }
        }
    }

    /// Tries again to open what could not be opened.
    pub(super) fn reopen_unread(&mut self) -> Result<(), KafkaError> {
        if self.unread.0.is_empty() || self.unread.1 > clock::now() || !self.commit.takes_work() {
            return Ok(());
        }
        let partitions = std::mem::take(&mut self.unread.0);
        self.resume(partitions, &BTreeMap::new())
    }

    /// Forgets everything uncommitted: the path a crash takes. The slots stay as a list of what is ours until the
    /// producer has been made anew; nothing is taken in meanwhile, and their calls are ended.
    pub(super) fn forget(&mut self) {
        self.gathered.clear();
        self.since.clear();
        self.again = None;
        self.released = 0;
        self.turn.clear();
        for slot in self.slots.values_mut() {
            self.epochs += 1;
            slot.epoch = self.epochs; // What is still on its way to us is not ours any more.
            slot.held = None;
            slot.calls.abort_all();
        }
    }

    /// Leaves in a batch only what belongs to assignments that we still have. A partition that went and came back while
    /// the batch was under way has begun again from what is committed: its part of the batch would come twice.
    pub(super) fn keep_ours(&self, batch: &mut Batch) {
        let (slots, assignments) = (&self.slots, &self.flying.assignments);
        batch.retain_partitions(|partition| {
            slots.get(&partition).is_some_and(|slot| assignments.contains(&(partition, slot.epoch)))
        });
    }

    /// A batch was committed: tells the tasks, and what the next owner is to be told should we leave now.
    pub(super) fn note_committed(&mut self, batch: &Batch, written: &[Written], assignments: &[(i32, u64)]) {
        let slots = &self.slots;
        let ours =
            |partition: i32| slots.get(&partition).is_some_and(|slot| assignments.contains(&(partition, slot.epoch)));
        self.stage.committed(batch, written, &ours);

        for ledger in &batch.ledgers {
            let slot = self.slots.get_mut(&ledger.partition);
            let Some(slot) = slot.filter(|slot| assignments.contains(&(ledger.partition, slot.epoch))) else {
                continue;
            };
            slot.task.committed(&mut self.turn);
            if let Some(consumer) = &self.consumer {
                consumer.set_farewell(ledger.partition, slot.task.farewell(ledger));
            }
        }
    }

    pub(super) fn poll_failed(&mut self, partition: Option<i32>, error: &RdError) -> Result<(), KafkaError> {
        let group = &self.settings.group;
        if is_fatal(error) {
            return Err(KafkaError::Refused { what: format!("consume as {group}"), message: error.to_string() });
        }
        match partition {
            Some(partition) if is_out_of_range(error) => return self.log_was_cut(partition),
            _ => tracing::warn!(%group, ?partition, %error, "poll"),
        }
        // Its queue was dropped on the way here.
        if let Some(partition) = partition
            && let (Some(consumer), Some(slot)) = (&self.consumer, self.slots.get_mut(&partition))
        {
            let thread = self.thread.clone();
            slot.queue = consumer.queue(partition, move || thread.unpark());
        }
        Ok(())
    }

    /// The partition begins anew: what it has gathered lost its ledger with its task, and is not to be written without.
    fn leave_behind(&mut self, partition: i32) {
        self.slots.remove(&partition);
        self.turn.leave(partition);
        self.gathered.retain_partitions(|of| of != partition);
    }

    /// The next offset lies outside the log: retention deleted what was not read yet, or the log is another one.
    fn log_was_cut(&mut self, partition: i32) -> Result<(), KafkaError> {
        let (Some(consumer), Some(slot)) = (&self.consumer, self.slots.get_mut(&partition)) else { return Ok(()) };
        let group = &self.settings.group;
        let wanted = slot.task.next();
        let (start, end) = match consumer.move_to_start(partition) {
            Ok(bounds) => bounds,
            Err(error) => {
                tracing::error!(%group, partition, %error, "the log's start cannot be found yet");
                self.leave_behind(partition);
                self.unread.0.push(partition);
                self.unread.1 = clock::now() + UNREAD_AGAIN;
                return Ok(());
            }
        };
        if wanted > end {
            tracing::error!(
                %group, partition, wanted, end,
                "the topic ends before the committed offset: it was recreated, or an unclean leader lost records; \
                 starting at its beginning"
            );
            self.leave_behind(partition);
            let assignment = Assignment { partition, offset: start, metadata: Vec::new() };
            self.open(vec![assignment], &BTreeMap::new())?;
            self.tell_stage();
            return Ok(());
        }
        // What is under way stays under way; only what was never read is lost.
        let lost = (start - wanted).max(0) as u64;
        Stats::add(&self.stats.lost, lost);
        tracing::error!(
            %group, partition, wanted, start, lost,
            "records were deleted by retention before they were read; raise retention.ms or add workers"
        );
        slot.task.advance(start);
        let thread = self.thread.clone();
        slot.queue = consumer.queue(partition, move || thread.unpark());
        Ok(())
    }
}
