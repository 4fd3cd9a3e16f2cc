//! Kafka: the only place that knows rdkafka.

pub mod admin;
pub mod control;
pub mod sample;
pub mod settings;
