//! What can go wrong with Kafka, by what the operator should do.

/// An error of the cluster or of our use of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KafkaError {
    /// A librdkafka property that it refuses. Mend the `HEADWATER_KAFKA_…` variable it names.
    #[error("HW501 Kafka setting refused: {0}")]
    Setting(String),
    /// The cluster cannot be reached or does not answer in time. Check the address, the network and the brokers.
    #[error("HW501 Kafka at {servers} {what}: {message}")]
    Unreachable { servers: String, what: &'static str, message: String },
    /// The cluster answered, and refused. The message is its own; ACLs and quotas are the usual causes.
    #[error("HW501 Kafka refused to {what}: {message}")]
    Refused { what: String, message: String },
    /// Run `headwater apply` first: it commits the first offsets of each new group.
    #[error(
        "HW502 group {group} has no committed offset for {topic}-{partition}. Run `headwater apply`; if the group's \
         offsets expired, set them with kafka-consumer-groups --reset-offsets"
    )]
    NoCommittedOffset { group: String, topic: String, partition: i32 },
    /// The stage's state cannot be read or written; the message says where and what to do. Nothing is lost: what is
    /// committed lies in the changelog topics.
    #[error("{0}")]
    State(String),
    /// Another process runs under the same transactional id. Give each pod a stable name of its own (HEADWATER_POD).
    #[error("HW501 another process uses the transactional id {0}: is HEADWATER_POD the same in two places?")]
    Fenced(String),
}
