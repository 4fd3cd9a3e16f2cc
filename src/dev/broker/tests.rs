//! The pure parts, and every version of every request.

mod group;
mod log;
mod offsets;
mod requests;
mod txn;
