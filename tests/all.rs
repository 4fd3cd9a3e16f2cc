//! Every integration test, linked once. One module per subject.
// A test fails by panicking; clippy's own exception covers only the functions marked as tests.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod golden;
mod help;
