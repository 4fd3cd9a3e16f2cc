//! The only place that reads a clock (clippy bans it elsewhere), so that pure parts are given time and tests own it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A monotonic instant.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970 UTC.
#[allow(clippy::disallowed_methods)]
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as i64
}
