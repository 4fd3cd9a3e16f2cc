//! Every integration test, linked once. One module per subject.

mod apache_kafka;
mod house;
mod proxy;
// Each suite uses its own part of it.
#[allow(dead_code)]
mod support;
mod verifier;
