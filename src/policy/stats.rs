//! What a service's status line and metrics say: plain atomics, no label built per record.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Kind, Phase};

/// Counters of one service.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub hits: AtomicU64,
    pub stale: AtomicU64,
    pub misses: AtomicU64,
    pub coalesced: AtomicU64,
    pub remembered: AtomicU64,
    pub refused: AtomicU64,
    pub wait_us: AtomicU64,
    in_flight: AtomicU64,
    ok: AtomicU64,
    timeout: AtomicU64,
    limited: AtomicU64,
    transient: AtomicU64,
    permanent: AtomicU64,
}

/// Requests sent, by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    pub ok: u64,
    pub timeout: u64,
    pub limited: u64,
    pub transient: u64,
    /// Refused or answered with what is not an answer.
    pub permanent: u64,
}

/// A service's state at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Snapshot {
    pub breaker: Phase,
    /// Until the next probe, in milliseconds; 0 when closed.
    pub next_probe_ms: u64,
    /// Probes since the start.
    pub probes: u64,
    /// Served from the cache within its time to live.
    pub hits: u64,
    /// Served from the cache past its time to live, as a fallback.
    pub stale: u64,
    /// Had to ask.
    pub misses: u64,
    /// Joined a request that was under way.
    pub coalesced: u64,
    /// Not asked because the same request has just failed.
    pub remembered: u64,
    /// Not asked because breaker, quota or queue would not answer in time.
    pub refused: u64,
    pub entries: u64,
    pub attempts: Attempts,
    /// Time spent waiting for quota, all requests together, in microseconds.
    pub rate_limit_wait_us: u64,
    /// Tokens in the bucket.
    pub rate_limit_remaining: f64,
    /// Requests under way.
    pub in_flight: u64,
}

/// A request under way.
pub(super) struct UnderWay<'a>(&'a Stats);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Stats {
    /// Counts a request by its result.
    pub fn attempt(&self, failed: Option<Kind>) {
        count(match failed {
            None => &self.ok,
            Some(Kind::Timeout) => &self.timeout,
            Some(Kind::Limited) => &self.limited,
            Some(Kind::Transient | Kind::BreakerOpen) => &self.transient,
            Some(Kind::Rejected | Kind::BadResponse) => &self.permanent,
        });
    }

    /// Counts a request as under way until what this gives is dropped, however that happens.
    pub fn under_way(&self) -> UnderWay<'_> {
        count(&self.in_flight);
        UnderWay(self)
    }

    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Snapshot {
            hits: read(&self.hits),
            stale: read(&self.stale),
            misses: read(&self.misses),
            coalesced: read(&self.coalesced),
            remembered: read(&self.remembered),
            refused: read(&self.refused),
            rate_limit_wait_us: read(&self.wait_us),
            in_flight: read(&self.in_flight),
            attempts: Attempts {
                ok: read(&self.ok),
                timeout: read(&self.timeout),
                limited: read(&self.limited),
                transient: read(&self.transient),
                permanent: read(&self.permanent),
            },
            ..Snapshot::default()
        }
    }
}
