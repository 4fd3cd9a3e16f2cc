//! Every integration test, linked once. One module per subject.
// A test fails by panicking; clippy's own exception covers only the functions marked as tests.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod agents;
mod apache_kafka;
mod attribution;
mod broker;
mod command;
mod deliver;
mod e2e;
mod golden;
mod house;
mod node;
mod plan;
mod proxy;
mod python;
mod registry;
mod restore;
mod sentiment;
mod simulation;
mod stubs;
// Each suite uses its own part of it.
mod help;
#[allow(dead_code)]
mod support;
mod topology_tests;
mod user_agents;
mod verifier;
mod worker;
