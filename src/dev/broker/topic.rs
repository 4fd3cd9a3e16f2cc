//! A topic: its partitions and its settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use uuid::Uuid;

use super::log::PartitionLog;

/// Topic settings that Kafka 4 knows, with their defaults. Those marked in [`Settings`] have an effect here; the others
/// are kept and described.
pub const TOPIC_CONFIGS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("delete.retention.ms", "86400000"),
    ("file.delete.delay.ms", "60000"),
    ("flush.messages", "9223372036854775807"),
    ("flush.ms", "9223372036854775807"),
    ("index.interval.bytes", "4096"),
    ("max.compaction.lag.ms", "9223372036854775807"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.after.max.ms", "3600000"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.type", "CreateTime"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("min.compaction.lag.ms", "0"),
    ("min.insync.replicas", "1"),
    ("preallocate", "false"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("segment.index.bytes", "10485760"),
    ("segment.jitter.ms", "0"),
    ("segment.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

/// What a topic's settings mean to this broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `max.message.bytes`: the largest batch, in bytes.
    pub max_message_bytes: usize,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub append_time: bool,
    /// `cleanup.policy` contains `compact`: nothing is compacted, but such a topic is the last to lose records.
    pub compacted: bool,
    /// `retention.bytes`, if it is limited.
    pub retention_bytes: Option<usize>,
}

impl Settings {
    /// Reads settings.
    ///
    /// # Errors
    /// A sentence naming the setting that is unknown or has an impossible value.
    pub fn read(configs: &BTreeMap<String, String>) -> Result<Self, String> {
        if let Some(name) = configs.keys().find(|name| !TOPIC_CONFIGS.iter().any(|(known, _)| known == name)) {
            return Err(format!("Unknown topic config name: {name}"));
        }
        let value = |name: &str| {
            let default = TOPIC_CONFIGS.iter().find(|(known, _)| *known == name).map_or("", |(_, default)| default);
            configs.get(name).map_or(default, String::as_str)
        };
        let bad = |name: &str| format!("Invalid value {} for configuration {name}", value(name));
        let policies: Vec<_> = value("cleanup.policy").split(',').map(str::trim).collect();
        if !policies.iter().all(|policy| matches!(*policy, "compact" | "delete")) {
            return Err(bad("cleanup.policy"));
        }
        let retention: i64 = value("retention.bytes").parse().map_err(|_| bad("retention.bytes"))?;
        Ok(Self {
            max_message_bytes: value("max.message.bytes").parse().map_err(|_| bad("max.message.bytes"))?,
            append_time: match value("message.timestamp.type") {
                "CreateTime" => false,
                "LogAppendTime" => true,
                _ => return Err(bad("message.timestamp.type")),
            },
            compacted: policies.contains(&"compact"),
            retention_bytes: usize::try_from(retention).ok(),
        })
    }
}

/// Whether Kafka accepts this topic name.
pub fn is_valid_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(legal)
}

/// A partition and who waits for it to grow.
#[derive(Debug, Default)]
pub struct Partition {
    /// The records.
    pub log: PartitionLog,
    waiting: Vec<Arc<Notify>>,
}

impl Partition {
    /// Has `wake` notified at the next change. Each connection has one; those of closed connections are let go here.
    pub fn wait(&mut self, wake: &Arc<Notify>) {
        self.waiting.retain(|waiting| Arc::strong_count(waiting) > 1);
        if !self.waiting.iter().any(|waiting| Arc::ptr_eq(waiting, wake)) {
            self.waiting.push(wake.clone());
        }
    }

    /// Tells everyone who waits.
    pub fn wake(&mut self) {
        self.waiting.drain(..).for_each(|waiting| waiting.notify_one());
    }
}

/// A topic.
#[derive(Debug)]
pub struct Topic {
    /// Given at creation, never reused.
    pub id: Uuid,
    /// As asked for.
    pub configs: BTreeMap<String, String>,
    /// As understood.
    pub settings: Settings,
    /// By number.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// A topic without records.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn new(partitions: usize, configs: BTreeMap<String, String>) -> Result<Self, String> {
        let settings = Settings::read(&configs)?;
        let id = Uuid::from_u128(fastrand::u128(2..));
        Ok(Self { id, configs, settings, partitions: (0..partitions).map(|_| Partition::default()).collect() })
    }

    /// Replaces the settings.
    ///
    /// # Errors
    /// As [`Settings::read`]; nothing is changed then.
    pub fn configure(&mut self, configs: BTreeMap<String, String>) -> Result<(), String> {
        self.settings = Settings::read(&configs)?;
        self.configs = configs;
        Ok(())
    }
}
