//! The stand-ins of the development world behave as what they stand for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod crm;
mod judges;
mod salesforce;
