//! One partition's restore: all its tables, in small steps.

use std::time::{Duration, Instant};

use rdkafka::message::{BorrowedMessage, Message};

use super::{
    RestoreError,
    changelogs::{Blind, Changelogs, Look, Polled, Reader},
};
use crate::{
    clock,
    policy::backoff,
    state::{Mark, PartitionStore, Plan, Position, Progress, Store, StoreError, Write, plan},
};

/// Records of one batch.
const BATCH: usize = 1_000;
/// A topic that was created a moment ago may not be known everywhere: it is missing after so long.
const MISSING: Duration = Duration::from_secs(5);
/// Between two looks whether an open transaction has ended.
const SETTLE: Duration = Duration::from_millis(100);

/// What a step came to.
pub(super) enum Step {
    Busy,
    Idle,
    Done,
}

/// A partition that is being restored.
pub(super) struct Job {
    partition: i32,
    epoch: u64,
    store: Option<PartitionStore>,
    tables: Vec<Table>,
    /// While there are no tables: when to look at the changelogs again.
    look_at: Instant,
    looks: u32,
    missing_since: Option<Instant>,
    /// Damage was found once, and the partition was made anew.
    was_dropped: bool,
}

/// One of its tables.
struct Table {
    index: usize,
    topic: String,
    look: Look,
    from: i64,
    next: i64,
    /// What the store's time is at least: what it had was all there was then.
    least_ms: i64,
    began: Instant,
    /// `None`: done.
    reader: Option<Reader>,
    /// The reader came to the last stable offset before the end: when to look whether that has gone on.
    settle_at: Option<Instant>,
    /// No transaction is open before the end any more: the last stable offset that the reader comes to lies behind it.
    is_settled: bool,
}

impl Job {
    pub fn new(partition: i32, epoch: u64, now: Instant) -> Self {
        Job {
            partition,
            epoch,
            store: None,
            tables: Vec::new(),
            look_at: now,
            looks: 0,
            missing_since: None,
            was_dropped: false,
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How far the tables are that still read.
    pub fn progress(&self, now: Instant) -> Vec<Progress> {
        let reading = self.tables.iter().filter(|table| table.reader.is_some());
        reading
            .map(|table| Progress {
                topic: table.topic.clone(),
                partition: self.partition,
                restored: (table.next - table.from).max(0) as u64,
                total: (table.look.bounds.end - table.from).max(0) as u64,
                elapsed: now.saturating_duration_since(table.began),
                is_waiting: table.settle_at.is_some(),
            })
            .collect()
    }

    /// Does a little, blocking for some seconds at most.
    pub fn step(&mut self, store: &Store, clients: &Changelogs, now: Instant) -> Result<Step, RestoreError> {
        match self.try_step(store, clients, now) {
            Err(RestoreError::Store(error)) if error.is_corrupt() && !self.was_dropped => {
                tracing::warn!("partition {} is read again from the beginning: {error}", self.partition);
                self.release(clients);
                self.store = None;
                store.drop_partition(self.partition)?;
                self.was_dropped = true;
                Ok(Step::Busy)
            }
            done => done,
        }
    }

    /// Reads nothing any more.
    pub fn release(&mut self, clients: &Changelogs) {
        for mut table in self.tables.drain(..) {
            if table.reader.take().is_some() {
                clients.release(&table.topic, self.partition);
            }
        }
    }

    fn try_step(&mut self, store: &Store, clients: &Changelogs, now: Instant) -> Result<Step, RestoreError> {
        let Some(partition) = &self.store else {
            let partition = store.partition(self.partition)?;
            let strangers = partition.wipe_strangers()?;
            if !strangers.is_empty() {
                tracing::info!("partition {}: forgot {}", self.partition, strangers.join(", "));
            }
            self.store = Some(partition);
            return Ok(Step::Busy);
        };
        if self.tables.is_empty() {
            if now < self.look_at {
                return Ok(Step::Idle);
            }
            let partition = partition.clone();
            return self.prepare(&partition, clients, now);
        }
        let mut was_busy = false;
        for table in &mut self.tables {
            match table.step(partition, clients, now)? {
                Progressed::Some => was_busy = true,
                Progressed::None => {}
                Progressed::Lost => {
                    tracing::info!("{}-{} changed while it was read", table.topic, self.partition);
                    self.release(clients);
                    self.look_at = now + backoff::BASE;
                    return Ok(Step::Idle);
                }
            }
        }
        Ok(match self.tables.iter().all(|table| table.reader.is_none()) {
            true => Step::Done,
            false if was_busy => Step::Busy,
            false => Step::Idle,
        })
    }

    /// Finds out what there is to read.
    fn prepare(
        &mut self,
        partition: &PartitionStore,
        clients: &Changelogs,
        now: Instant,
    ) -> Result<Step, RestoreError> {
        let looks: Result<Vec<_>, Blind> = clients
            .tables()
            .map(|(index, changelog)| Ok((index, changelog, clients.look(&changelog.topic, self.partition)?)))
            .collect();
        let looks = match looks {
            Ok(looks) => looks,
            Err(Blind::Missing(error)) if self.is_missing_for_good(now) => return Err(error),
            Err(Blind::Missing(error)) => return Ok(self.look_again(&error.to_string())),
            Err(Blind::Again(message)) => {
                self.missing_since = None;
                return Ok(self.look_again(&message));
            }
        };
        (self.looks, self.missing_since) = (0, None);
        for (index, changelog, look) in looks {
            let stored = partition.position(index);
            let plan = plan(stored, look.tag, look.bounds, clock::unix_ms(), changelog.delete_retention_ms);
            let mut table = Table {
                index,
                topic: changelog.topic.clone(),
                look,
                from: plan.from(),
                next: plan.from(),
                least_ms: i64::MIN,
                began: now,
                reader: None,
                settle_at: None,
                is_settled: false,
            };
            match (plan, stored) {
                (Plan::Resume(_), Some(stored)) => table.least_ms = stored.at_ms,
                (Plan::Rebuild(_, why), _) => {
                    tracing::info!("{}-{} is read from its beginning: {why}", table.topic, self.partition);
                    partition.wipe(index)?;
                    table.adopt(partition, look.asked_ms)?;
                }
                (Plan::Resume(_), None) => {}
            }
            if table.from >= look.bounds.end {
                table.finish(partition)?;
            } else {
                match clients.read(&table.topic, self.partition, table.from) {
                    Ok(reader) => table.reader = Some(reader),
                    Err(error) => {
                        self.release(clients);
                        return Ok(self.look_again(&error.to_string()));
                    }
                }
            }
            self.tables.push(table);
        }
        // Without tables there is nothing to restore.
        Ok(if self.tables.is_empty() { Step::Done } else { Step::Busy })
    }

    fn is_missing_for_good(&mut self, now: Instant) -> bool {
        now.saturating_duration_since(*self.missing_since.get_or_insert(now)) >= MISSING
    }

    fn look_again(&mut self, why: &str) -> Step {
        self.looks = self.looks.saturating_add(1);
        let wait = backoff::delay(self.looks, Some(backoff::BASE), fastrand::f64());
        tracing::warn!("partition {} is not restored yet: {why}; again in {} ms", self.partition, wait.as_millis());
        // What was asked took its time.
        self.look_at = clock::now() + wait;
        Step::Idle
    }
}

enum Progressed {
    Some,
    None,
    /// The log is no longer as it was looked at.
    Lost,
}

impl Table {
    fn step(
        &mut self,
        partition: &PartitionStore,
        clients: &Changelogs,
        now: Instant,
    ) -> Result<Progressed, StoreError> {
        let Some(reader) = &self.reader else { return Ok(Progressed::None) };
        let mut records = Vec::new();
        let mut is_at_end = false;
        while records.len() < BATCH {
            match reader.poll() {
                Polled::Record(record) => records.push(record),
                Polled::End => {
                    is_at_end = true;
                    break;
                }
                Polled::Lost => return Ok(Progressed::Lost),
                Polled::Nothing => break,
            }
        }
        let was_busy = !records.is_empty();
        if let Some(next) = self.apply(partition, &records)? {
            drop(records);
            self.next = next;
            self.settle_at = None;
        }
        let end = self.look.bounds.end;
        let is_past_end =
            || clients.position(&self.topic, partition.partition()).is_some_and(|position| position >= end);
        if self.next >= end || (is_at_end && (self.is_settled || is_past_end())) {
            self.release(partition, clients)?;
            return Ok(Progressed::Some);
        }
        if is_at_end {
            self.settle_at = Some(now);
        }
        if self.settle_at.is_some_and(|at| now >= at) {
            return Ok(self.settle(partition.partition(), clients));
        }
        Ok(if was_busy { Progressed::Some } else { Progressed::None })
    }

    /// Writes records in one batch with the position behind them, which is given.
    fn apply(&self, partition: &PartitionStore, records: &[BorrowedMessage<'_>]) -> Result<Option<i64>, StoreError> {
        let Some(last) = records.last() else { return Ok(None) };
        let at_ms = |record: &BorrowedMessage<'_>| {
            record.timestamp().to_millis().unwrap_or(self.look.asked_ms).min(self.look.asked_ms)
        };
        // A record without a key is none of ours.
        let writes = records.iter().filter_map(|record| {
            Some(Write { table: self.index, key: record.key()?, value: record.payload(), at_ms: at_ms(record) })
        });
        let next_offset = last.offset() + 1;
        let mark = Mark { table: self.index, next_offset, at_ms: at_ms(last).max(self.least_ms) };
        partition.apply(writes, &[mark])?;
        Ok(Some(next_offset))
    }

    /// The reader came to a last stable offset before the end: a transaction is open there, or nothing but holes that
    /// compaction left lies behind. Once none is open, what is left is read again: librdkafka tells an end once, and
    /// the next one that it tells is far enough.
    fn settle(&mut self, partition: i32, clients: &Changelogs) -> Progressed {
        self.settle_at = Some(clock::now() + SETTLE);
        match clients.stable(&self.topic, partition) {
            Ok(stable) if stable < self.look.bounds.end => return Progressed::None,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "{}-{partition}: where it ends cannot be asked", self.topic);
                return Progressed::None;
            }
        }
        self.reader = None;
        clients.release(&self.topic, partition);
        match clients.read(&self.topic, partition, self.next) {
            Ok(reader) => self.reader = Some(reader),
            Err(error) => {
                tracing::warn!(%error, "{}-{partition} cannot be read", self.topic);
                return Progressed::Lost;
            }
        }
        (self.is_settled, self.settle_at) = (true, None);
        Progressed::Some
    }

    fn release(&mut self, partition: &PartitionStore, clients: &Changelogs) -> Result<(), StoreError> {
        self.reader = None;
        clients.release(&self.topic, partition.partition());
        self.finish(partition)
    }

    /// All there was when the end was asked for is in the store.
    fn finish(&mut self, partition: &PartitionStore) -> Result<(), StoreError> {
        self.next = self.next.max(self.look.bounds.end);
        self.adopt(partition, self.look.asked_ms)
    }

    fn adopt(&self, partition: &PartitionStore, at_ms: i64) -> Result<(), StoreError> {
        partition.adopt(self.index, Position { offset: self.next, tag: self.look.tag, at_ms })
    }
}
