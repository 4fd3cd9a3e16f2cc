//! Taking in: from a partition's queue into its task, as far as the bounds allow.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Accept, Burial, Stage, Stats, Worker, flights::panic_text, slot::InFlight};
use crate::{
    engine::{Room, hash_key},
    kafka::{Input, KafkaError, Queue, RdError},
};

/// Records taken from one partition before the next has its turn.
const BURST: usize = 128;
/// What may wait for a commit. At the limit intake stops.
const MAX_GATHERED_RECORDS: usize = 10_000;
const MAX_GATHERED_BYTES: usize = 8 << 20;
/// Originals of one partition's events under way, in bytes. At the limit intake of that partition stops.
const MAX_KEPT_BYTES: usize = 16 << 20;

impl<S: Stage> Worker<S> {
    fn is_full(&self, partition: i32) -> bool {
        self.slots.get(&partition).is_some_and(|slot| slot.kept >= MAX_KEPT_BYTES)
            || self.gathered.outputs.len() >= MAX_GATHERED_RECORDS
            || self.gathered.outputs.bytes() >= MAX_GATHERED_BYTES
    }

    /// Takes records from each partition in turn. Says whether there may be more at once.
    pub(super) fn take_in(&mut self) -> Result<bool, KafkaError> {
        // Between doubt and resumption nothing may begin, and what was aborted goes before anything new.
        if !self.commit.takes_work() || self.again.is_some() {
            return Ok(false);
        }
        let on_trial = self.turn.holder();
        let solitude = self.suspects.ask_for_solitude() || on_trial.is_some();
        // A stage with effects outside has calls that last as long as a destination is ill, and that kill nobody.
        if solitude && !S::SERIAL && !self.is_at_rest() {
            return Ok(false);
        }
        let mut partitions = std::mem::take(&mut self.partitions);
        partitions.clear();
        partitions.extend(self.slots.keys().filter(|partition| on_trial.is_none_or(|holder| holder == **partition)));
        let mut busy = false;
        for partition in &partitions {
            busy |= self.take_burst(*partition, if solitude { 1 } else { BURST })?;
            if self.turn.holder() != on_trial || (solitude && !self.is_at_rest()) {
                break;
            }
        }
        self.partitions = partitions;
        Ok(busy)
    }

    /// Whether nothing is under way, gathered or being committed.
    fn is_at_rest(&self) -> bool {
        self.released == 0
            && self.gathered.is_empty()
            && !self.commit.is_busy()
            && self.slots.values().all(|slot| slot.task.open() == 0)
    }

    /// Takes up to `burst` records from one partition.
    fn take_burst(&mut self, partition: i32, burst: usize) -> Result<bool, KafkaError> {
        let Some(queue) = self.slots.get_mut(&partition).and_then(|slot| slot.queue.take()) else { return Ok(false) };
        let mut busy = false;
        let mut failure = None;
        for _ in 0..burst {
            if self.is_full(partition) {
                Stats::count(&self.stats.backpressure);
                break;
            }
            match self.take_one(partition, &queue) {
                Ok(true) => busy = true,
                Ok(false) => break,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        match (failure, self.slots.get_mut(&partition)) {
            (Some(error), _) => {
                drop(queue); // Its successor shares the same queue in librdkafka, callback and all.
                self.poll_failed(Some(partition), &error)?;
            }
            (None, Some(slot)) => slot.queue = Some(queue),
            (None, None) => {}
        }
        Ok(busy)
    }

    /// Takes one record, if there is one and it may be taken.
    fn take_one(&mut self, partition: i32, queue: &Queue) -> Result<bool, RdError> {
        let Some(slot) = self.slots.get_mut(&partition) else { return Ok(false) };
        if let Some(hold) = &slot.hold {
            if !self.stage.is_lifted(hold) {
                return Ok(false);
            }
            slot.hold = None;
            slot.task.set_epoch(self.stage.epoch());
        }
        if let Some(kept) = slot.held.take() {
            let taken = self.offer(&kept.view());
            if !taken && let Some(slot) = self.slots.get_mut(&partition) {
                slot.held = Some(kept);
            }
            return Ok(taken);
        }
        let Some(message) = queue.poll() else { return Ok(false) };
        let message = message?;
        let input = Input::borrow(&message);
        let taken = self.offer(&input);
        if !taken && let Some(slot) = self.slots.get_mut(&partition) {
            slot.held = Some(input.keep());
        }
        Ok(taken)
    }

    /// Takes in a record, or says that it must wait.
    fn offer(&mut self, input: &Input<'_>) -> bool {
        let place = (input.partition, input.offset);
        let Some(slot) = self.slots.get_mut(&input.partition) else { return true };
        let (key, work) = match slot.task.admit(input.offset, &mut self.turn) {
            Room::Known => {
                slot.task.pass(input.offset);
                return true;
            }
            Room::Wait => return false,
            Room::Condemned => (key_hash(input), self.stage.bury(input, Burial::Killed)),
            Room::Go => match self.suspects.guilty(place) {
                Some(message) => (key_hash(input), self.stage.bury(input, Burial::Refused(message.clone()))),
                None => match catch_unwind(AssertUnwindSafe(|| self.stage.accept(input))) {
                    Ok(Accept::Work { key, work }) => (key, work),
                    Ok(Accept::Hold(hold)) => {
                        tracing::info!(group = %self.settings.group, partition = place.0, offset = place.1, ?hold, "partition waits");
                        slot.hold = Some(hold);
                        slot.task.decline(&mut self.turn);
                        return false;
                    }
                    Err(panic) => (key_hash(input), self.stage.bury(input, Burial::Panicked(panic_text(&*panic)))),
                },
            },
        };
        Stats::count(&self.stats.taken);
        let Some(slot) = self.slots.get_mut(&input.partition) else { return true };
        let flight = InFlight { work, original: None, since: self.now, clear: 0 };
        let (flight, first) = slot.task.push(input.offset, key, flight);
        if !S::SERIAL || first {
            self.start(input.partition, flight, Some(input));
        }
        self.release(input.partition, Some(input));
        // What did not leave at once may need its original later.
        if let Some(slot) = self.slots.get_mut(&input.partition)
            && let Some(work) = slot.task.get_mut(flight)
        {
            work.original = Some(input.keep());
            slot.kept += input.bytes();
        }
        true
    }
}

/// The key's hash where the stage could not read the record: by the bytes of the Kafka key, as the stages do.
fn key_hash(input: &Input<'_>) -> u64 {
    hash_key(input.key.unwrap_or_default())
}
