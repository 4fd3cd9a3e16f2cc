//! Headwater: real-time enrichment of marketing events on Kafka. One record that grows from topic to topic.
//!
//! # Layout
//!
//! See the modules, bottom to top.

pub mod agent;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod config;
pub mod deliver;
pub mod dev;
pub mod engine;
pub mod event;
pub mod expr;
pub mod kafka;
pub mod ops;
pub mod policy;
pub mod secret;
pub mod service;
pub mod stage;
pub mod topology;
pub mod worker;
