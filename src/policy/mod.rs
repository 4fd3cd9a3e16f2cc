//! The policy of an agent: what stands between an event and a service. `stack.rs` is the order; one file per layer.
//!
//! Quota, breaker and backoff are pure state machines given time; `stack`, `line` and `outbox` are the thin asynchronous shell.

pub mod backoff;
mod breaker;
mod cache;
mod call;
mod fallback;
mod flight;
mod line;
mod outbox;
mod quota;
mod retry_after;
mod stack;
mod stats;

pub use breaker::Phase;
pub use call::{Answer, Call, CallError, Found, Key, Kind, Limit, Response};
pub use fallback::Fallbacks;
pub use line::Line;
pub use retry_after::retry_after;
pub use stack::{Reply, Stack};
pub use stats::{Attempts, Snapshot};

#[cfg(test)]
mod tests;
