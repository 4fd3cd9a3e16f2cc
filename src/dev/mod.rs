//! The development world: stand-ins for what Headwater talks to, and made-up traffic. Only `cli/dev` and tests use it.

pub mod browsers;
pub mod contacts;
pub mod counted;
pub mod crm;
pub mod people;
pub mod receiver;
pub mod story;
pub mod stub;
pub mod traffic;
