//! The only home of rdkafka: consumer, producer, transactions, admin, settings.

pub mod admin;
mod consumer;
pub mod control;
mod error;
mod input;
pub mod lookup;
mod producer;
mod raw;
mod rebalance;
mod reports;
mod restore;
pub mod sample;
mod settings;

pub use consumer::{Place, Queue, SESSION_TIMEOUT, StageConsumer, is_fatal, is_out_of_range};
pub use error::KafkaError;
pub use input::{Headers, Input, OwnedInput};
pub use producer::{DeadLetterProducer, Refusal, TransactionOutcome, Transactor};
pub use raw::GroupMember;
pub use rdkafka::{consumer::ConsumerGroupMetadata as GroupMetadata, error::KafkaError as RdError};
pub use rebalance::{Assignment, Change, CommitGate};
pub use reports::Written;
pub use restore::{Changelog, DELETE_RETENTION_MS, RestoreError, Restorer};
pub use settings::client_config;
