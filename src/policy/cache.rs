//! What a service said: fresh for a while, then stale but better than nothing. Errors are never kept as values.

use std::time::{Duration, Instant};

use crate::topology::CacheSpec;

use super::{CallError, Found, Key};

/// How many failed requests are remembered.
const FAILURES: u64 = 10_000;

/// The longest that anything is kept; moka knows no time beyond a thousand years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

#[derive(Debug, Clone)]
struct Entry {
    found: Found,
    stored: Instant,
}

/// A remembered answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hit {
    /// `None`: the service said that it has nothing under this key.
    pub found: Found,
    pub age: Duration,
    /// Within its time to live; otherwise within its stale bound.
    pub fresh: bool,
}

/// The cache of one service. Freshness is judged by the time given; moka's own clock only frees memory.
#[derive(Debug)]
pub(super) struct Cache {
    spec: Option<CacheSpec>,
    values: moka::sync::Cache<Key, Entry>,
    failures: moka::sync::Cache<Key, (CallError, Instant)>,
    failure_ttl: Duration,
}

impl Cache {
    /// `spec` `None` keeps no values; failures are remembered all the same.
    pub fn new(spec: Option<CacheSpec>, failure_ttl: Duration) -> Self {
        let bounded = |time: Duration| time.clamp(Duration::from_secs(1), LONGEST);
        let (entries, keep) = spec.map_or((0, Duration::ZERO), |spec| (spec.entries, serves_for(&spec)));
        let failures = moka::sync::Cache::builder().max_capacity(FAILURES).time_to_live(bounded(failure_ttl));
        Cache {
            spec,
            values: moka::sync::Cache::builder().max_capacity(entries).time_to_live(bounded(keep)).build(),
            failures: failures.build(),
            failure_ttl,
        }
    }

    /// What is known under that key, if it may still serve.
    pub fn get(&self, key: &str, now: Instant) -> Option<Hit> {
        let spec = self.spec?;
        let entry = self.values.get(key)?;
        let age = now.saturating_duration_since(entry.stored);
        let (fresh_for, useful_for) = match entry.found {
            Some(_) => (spec.ttl, serves_for(&spec)),
            // That something is not there is believed briefly and never served past that.
            None => (spec.not_found, spec.not_found),
        };
        (age < useful_for).then_some(Hit { found: entry.found, age, fresh: age < fresh_for })
    }

    /// Keeps what the service said.
    pub fn keep(&self, key: &Key, found: Found, now: Instant) {
        if self.spec.is_some() {
            self.values.insert(key.clone(), Entry { found, stored: now });
        }
    }

    /// Why this request failed, if that was within the last `failure_ttl`.
    pub fn failure(&self, key: &str, now: Instant) -> Option<CallError> {
        let (error, failed_at) = self.failures.get(key)?;
        (now.saturating_duration_since(failed_at) < self.failure_ttl).then_some(error)
    }

    /// Remembers that a request was sent and failed.
    pub fn keep_failure(&self, key: &Key, error: &CallError, now: Instant) {
        if !self.failure_ttl.is_zero() {
            self.failures.insert(key.clone(), (error.clone(), now));
        }
    }

    /// How many values it holds, about.
    pub fn entries(&self) -> u64 {
        self.values.entry_count()
    }
}

/// How long a value may serve, fresh and stale.
fn serves_for(spec: &CacheSpec) -> Duration {
    spec.ttl.saturating_add(spec.stale)
}
