//! The development world: what stands around the engine when there is no cluster. Nothing imports it but `cli` and tests.

pub mod broker;
pub mod browsers;
pub mod contacts;
pub mod counted;
pub mod crm;
pub mod demo;
pub mod intent;
pub mod people;
pub mod receiver;
pub mod registry;
mod registry_store;
pub mod salesforce;
pub mod salesforce_login;
pub mod salesforce_record;
mod soql;
pub mod story;
pub mod stub;
pub mod traffic;
pub mod watch;
pub mod world;
