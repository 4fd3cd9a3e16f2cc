//! Everything the broker holds, behind one lock that is never held across an await.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::batch::BatchHeader;
use super::group::{Group, GroupState};
use super::log::Appended;
use super::offsets::GroupOffsets;
use super::topic::{Partition, Topic, is_valid_name};
use super::txn::{Coordinator, ProducerRef};

/// Partitions the broker may have in all.
const MAX_PARTITIONS: usize = 20_000;
/// Groups the broker may have.
const MAX_GROUPS: usize = 10_000;

/// A refusal with a sentence for people.
pub type Refusal = (ResponseError, String);

/// A group and its offsets.
#[derive(Debug, Default)]
pub struct GroupEntry {
    /// Members.
    pub group: Group,
    /// Commits.
    pub offsets: GroupOffsets,
}

/// The broker's contents.
#[derive(Debug)]
pub struct State {
    /// By name.
    pub topics: BTreeMap<String, Topic>,
    /// By name.
    pub groups: BTreeMap<String, GroupEntry>,
    /// Transactional ids.
    pub txns: Coordinator,
    held_bytes: usize,
    max_bytes: usize,
}

impl State {
    /// An empty broker that keeps at most about `max_bytes` of records.
    pub fn new(max_bytes: usize) -> Self {
        let (topics, groups, txns) = Default::default();
        Self { topics, groups, txns, held_bytes: 0, max_bytes }
    }

    /// Creates a topic (or only says whether it could).
    ///
    /// # Errors
    /// As Kafka: name, number of partitions, settings, existing already.
    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: usize,
        configs: BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        if !is_valid_name(name) {
            let text = "a topic name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'";
            return Err((ResponseError::InvalidTopicException, text.into()));
        }
        if self.topics.contains_key(name) {
            return Err((ResponseError::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        self.has_room(partitions)?;
        let topic = Topic::new(partitions, configs).map_err(|text| (ResponseError::InvalidConfig, text))?;
        if !validate_only {
            self.topics.insert(name.to_owned(), topic);
        }
        Ok(())
    }

    /// Adds partitions until there are `count`.
    ///
    /// # Errors
    /// No such topic, or not more than it has.
    pub fn create_partitions(&mut self, name: &str, count: i32, validate_only: bool) -> Result<(), Refusal> {
        let unknown = || (ResponseError::UnknownTopicOrPartition, "This server does not host this topic.".to_owned());
        let has = self.topics.get(name).ok_or_else(unknown)?.partitions.len();
        let count = usize::try_from(count).unwrap_or(0);
        if count <= has {
            let text = format!("The topic {name} has {has} partitions; {count} would not be an increase.");
            return Err((ResponseError::InvalidPartitions, text));
        }
        self.has_room(count - has)?;
        if let (Some(topic), false) = (self.topics.get_mut(name), validate_only) {
            topic.partitions.resize_with(count, Partition::default);
        }
        Ok(())
    }

    fn has_room(&self, partitions: usize) -> Result<(), Refusal> {
        let all: usize = self.topics.values().map(|topic| topic.partitions.len()).sum();
        if partitions == 0 || all + partitions > MAX_PARTITIONS {
            let text =
                format!("between 1 and {MAX_PARTITIONS} partitions in all; there are {all}, asked for {partitions}");
            return Err((ResponseError::InvalidPartitions, text));
        }
        Ok(())
    }

    /// Deletes a topic, its records and the offsets committed for it. False if there was none.
    pub fn delete_topic(&mut self, name: &str) -> bool {
        let Some(mut topic) = self.topics.remove(name) else { return false };
        for partition in &mut topic.partitions {
            self.held_bytes -= partition.log.memory_bytes();
            partition.wake();
        }
        self.groups.values_mut().for_each(|entry| entry.offsets.delete_topic(name));
        true
    }

    /// Forgets the records below `offset` (−1: all). Gives the log's new start.
    ///
    /// # Errors
    /// `UnknownTopicOrPartition`, `OffsetOutOfRange`.
    pub fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> Result<i64, ResponseError> {
        let partition = self.partition(topic, partition)?;
        let before = partition.log.memory_bytes();
        let offset = if offset == -1 { partition.log.end_offset() } else { offset };
        partition.log.delete_before(offset)?;
        partition.wake();
        let (after, start) = (partition.log.memory_bytes(), partition.log.start_offset());
        self.held_bytes = self.held_bytes + after - before;
        Ok(start)
    }

    /// One partition.
    ///
    /// # Errors
    /// `UnknownTopicOrPartition`.
    pub fn partition(&mut self, topic: &str, partition: i32) -> Result<&mut Partition, ResponseError> {
        let topic = self.topics.get_mut(topic);
        let partitions = topic.map(|topic| &mut topic.partitions).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let index = usize::try_from(partition).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        partitions.get_mut(index).ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// Appends a verified batch of a producer. Gives its place and, where the topic stamps records itself, the time.
    ///
    /// # Errors
    /// Those of Kafka's produce path.
    pub fn append(
        &mut self,
        at: (&str, i32),
        bytes: &Bytes,
        header: &BatchHeader,
        transactional_id: Option<&str>,
        now_ms: i64,
    ) -> Result<(Appended, Option<i64>), ResponseError> {
        let settings = self.topics.get(at.0).map(|topic| topic.settings.clone());
        let settings = settings.ok_or(ResponseError::UnknownTopicOrPartition)?;
        if bytes.len() > settings.max_message_bytes {
            return Err(ResponseError::MessageTooLarge);
        }
        if header.control() {
            return Err(ResponseError::InvalidRecord); // only the broker writes these
        }
        if header.transactional() {
            let id = transactional_id.ok_or(ResponseError::InvalidRecord)?;
            let producer = ProducerRef { id: header.producer_id, epoch: header.producer_epoch };
            self.txns.may_write(id, producer, at.0, at.1)?;
        }
        let time = settings.append_time.then_some(now_ms);
        let partition = self.partition(at.0, at.1)?;
        let before = partition.log.memory_bytes();
        let appended = partition.log.append(bytes, header, time)?;
        let mut after = partition.log.memory_bytes();
        while settings.retention_bytes.is_some_and(|most| after > most) && partition.log.drop_oldest() > 0 {
            after = partition.log.memory_bytes();
        }
        partition.wake();
        self.held_bytes = self.held_bytes + after - before;
        self.trim();
        Ok((appended, time))
    }

    /// Above the limit, drops the oldest batches of the largest partitions until an eighth is free. What transactions
    /// still hold open stays, so the limit may be passed for as long as they last.
    fn trim(&mut self) {
        if self.held_bytes <= self.max_bytes {
            return;
        }
        let goal = self.max_bytes - self.max_bytes / 8;
        for compacted in [false, true] {
            while self.held_bytes > goal {
                let topics = self.topics.values_mut().filter(|topic| topic.settings.compacted == compacted);
                let logs = topics.flat_map(|topic| &mut topic.partitions).map(|partition| &mut partition.log);
                let largest = logs.filter(|log| log.can_drop()).max_by_key(|log| log.memory_bytes());
                let Some(largest) = largest else { break };
                // A share at once, so that the search for the largest is rare.
                let until = largest.memory_bytes() / 8 * 7;
                while largest.memory_bytes() > until && largest.can_drop() {
                    self.held_bytes -= largest.drop_oldest();
                }
            }
        }
    }

    /// A group, made if need be.
    ///
    /// # Errors
    /// `InvalidGroupId`; `GroupMaxSizeReached` when there are too many groups.
    pub fn group(&mut self, name: &str) -> Result<&mut GroupEntry, ResponseError> {
        if name.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if !self.groups.contains_key(name) && self.groups.len() >= MAX_GROUPS {
            self.groups.retain(|_, entry| entry.group.state != GroupState::Empty || !entry.offsets.is_empty());
            if self.groups.len() >= MAX_GROUPS {
                return Err(ResponseError::GroupMaxSizeReached);
            }
        }
        Ok(self.groups.entry(name.to_owned()).or_default())
    }

    /// Writes the markers of a decided transaction and settles its offsets.
    pub fn finish_transaction(&mut self, transactional_id: &str, now: Instant, now_ms: i64) {
        let Some(markers) = self.txns.complete(transactional_id, now) else { return };
        for (topic, partition) in &markers.partitions {
            let Ok(partition) = self.partition(topic, *partition) else { continue }; // deleted meanwhile
            let before = partition.log.memory_bytes();
            partition.log.append_marker(markers.producer.id, markers.producer.epoch, markers.commit, now_ms);
            partition.wake();
            let after = partition.log.memory_bytes();
            self.held_bytes = self.held_bytes + after - before;
        }
        for group in &markers.groups {
            if let Some(entry) = self.groups.get_mut(group) {
                entry.offsets.finish(markers.producer.id, markers.commit);
            }
        }
    }
}
