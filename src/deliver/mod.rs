//! From a committed trigger to an answered webhook: signed, retried, bounded, and never to an address it must not reach.
//!
//! - [`Destination`] is what the stage holds: [`Destination::accepting`] says whether to poll, [`Destination::deliver`]
//!   takes one trigger to its [`Verdict`].
//! - [`courier`] decides (pure, given time) about a [`job`], [`breaker`] and [`limit`] are its parts; [`webhook`] makes one attempt,
//!   [`signature`] signs it, [`address`] guards where it may go, [`body`] is what it says.

pub mod address;
pub mod body;
pub mod breaker;
pub mod courier;
mod destination;
pub mod job;
pub mod limit;
pub mod signature;
mod status;
#[cfg(test)]
mod tests;
pub mod webhook;

use std::{net::IpAddr, sync::Arc};

pub use body::PayloadTypes;
pub use courier::Pace;
pub use destination::{Destination, MayCall};
pub use status::{Change, Snapshot, State};

use crate::event::Class;

/// What became of a trigger. There is no third way: a trigger that is not delivered is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The destination answered 2xx.
    Delivered {
        /// Calls made, the first included.
        attempts: u32,
        /// From the start of the last call to its answer, in milliseconds.
        latency_ms: u64,
    },
    /// It is to go to the dead letters, with this reason. Holds no secret.
    DeadLetter {
        /// `HW620` to `HW623`.
        code: &'static str,
        class: Class,
        message: String,
        /// Calls made; 0 when it was too late for the first.
        attempts: u32,
    },
}

/// Why a destination cannot be built. All are faults of the topology, found at start; no text holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// Write an absolute `http://` or `https://` URL.
    #[error("destination \"{destination}\": its url is not one that can be called: {message}")]
    Url { destination: Arc<str>, message: String },
    /// Call a public address, or set `allow_private: true` if the receiver is your own. Link-local, multicast and
    /// reserved addresses are never called.
    #[error(
        "HW402 destination \"{destination}\": {address} is {kind}; only public addresses are called (allow_private: true admits private and loopback ones)"
    )]
    Address { destination: Arc<str>, address: IpAddr, kind: &'static str },
    /// Use `whsec_` and base64, or plain text that is not empty.
    #[error("destination \"{destination}\": its secret is not usable: {message}")]
    Secret { destination: Arc<str>, message: String },
    /// Remove or correct the header.
    #[error("destination \"{destination}\": header \"{header}\" {message}")]
    Header { destination: Arc<str>, header: String, message: &'static str },
    /// The HTTP client could not be built; most likely the system's certificates cannot be read.
    #[error("destination \"{destination}\": no HTTP client: {message}")]
    Client { destination: Arc<str>, message: String },
    /// Use `type: webhook`, or a later version.
    #[error("HW505 destination \"{destination}\": type {kind} is not in this version")]
    NotInThisVersion { destination: Arc<str>, kind: Arc<str> },
}
