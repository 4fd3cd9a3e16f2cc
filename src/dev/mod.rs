//! The development world: what stands around the engine when there is no cluster. Nothing imports it but `cli` and tests.

pub mod broker;
pub mod registry;
mod registry_store;
//! The development world: stand-ins for what Headwater talks to, and made-up traffic. Only `cli/dev` and tests use it.

pub mod contacts;
pub mod crm;
pub mod receiver;
pub mod stub;
