//! The line to one service, shared by all agents that call it: cache, single flight and retry over the outbox.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use crate::topology::ServiceSpec;

use super::{
    Call, CallError, Found, Key, Kind, Snapshot, backoff,
    cache::{Cache, Hit},
    flight::{Boarded, Flight, Flights, Landing, Progress},
    outbox::Outbox,
    stats::{Stats, count},
};

/// What a caller grants one call: shared by every attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// No attempt is queued past this; one that was sent may still come home and fill the cache.
    pub deadline: Instant,
    /// Per attempt.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retry: u32,
}

/// The line to one service.
pub struct Line {
    cache: Cache,
    flights: Flights,
    outbox: Arc<Outbox>,
    stats: Arc<Stats>,
    now: fn() -> Instant,
}

impl Line {
    /// The line to a service. `now` is `clock::now`, or a test's.
    pub fn new(spec: &ServiceSpec, call: Arc<dyn Call>, now: fn() -> Instant) -> Arc<Self> {
        let stats = Arc::new(Stats::default());
        Arc::new(Line {
            cache: Cache::new(spec.cache, spec.failure_ttl),
            flights: Flights::default(),
            outbox: Arc::new(Outbox::new(spec, call, stats.clone(), now)),
            stats,
            now,
        })
    }

    /// This process's share of the service's quota: assigned partitions / all partitions.
    pub fn set_share(&self, share: f64) {
        self.outbox.set_share(share);
    }

    /// The service's state now, for status lines and metrics.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.stats.snapshot();
        snapshot.entries = self.cache.entries();
        self.outbox.describe(&mut snapshot);
        snapshot
    }

    /// Whether no call is under way and the outbox is at rest.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.outbox.is_idle()
    }

    pub(super) fn now(&self) -> Instant {
        (self.now)()
    }

    /// What the cache knows under that key, if it may still serve.
    pub(super) fn cached(&self, key: &str, now: Instant) -> Option<Hit> {
        self.cache.get(key, now)
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Why a call for that key need not even be begun, and who counts it: it has just failed, or would not be
    /// answered within `patience`. A call that is under way can be joined in any case.
    pub(super) fn hopeless(&self, key: &str, now: Instant, patience: Duration) -> Option<(CallError, &AtomicU64)> {
        if self.flights.under_way(key) {
            return None;
        }
        match self.cache.failure(key, now) {
            Some(error) => Some((error, &self.stats.remembered)),
            None => self.outbox.refusal(now, patience).map(|error| (error, &self.stats.refused)),
        }
    }

    /// The call for that key: the one under way, else a new one; or the answer, if there is one by now. Must run
    /// on the I/O runtime.
    pub(super) fn board(self: &Arc<Self>, key: &Key, terms: Terms) -> Result<Flight, Hit> {
        let known = || self.cache.get(key, self.now()).filter(|hit| hit.fresh);
        match self.flights.board(key, known) {
            Boarded::NotNeeded(hit) => Err(hit),
            Boarded::Joined(flight) => {
                count(&self.stats.coalesced);
                Ok(flight)
            }
            Boarded::Started(flight, landing) => {
                count(&self.stats.misses);
                // A task of its own: whoever stops waiting, the answer still reaches the others and the cache.
                tokio::spawn(self.clone().fly(key.clone(), terms, flight.progress.clone(), landing));
                Ok(flight)
            }
        }
    }

    /// One call from first attempt to landing.
    async fn fly(self: Arc<Self>, key: Key, terms: Terms, progress: Arc<Progress>, landing: Landing) {
        let result = self.retry(&key, terms, &progress).await;
        match &result {
            Ok(found) => self.cache.keep(&key, found.clone(), self.now()),
            Err(error) if progress.sent() > 0 => self.cache.keep_failure(&key, error, self.now()),
            // Nothing was sent: the next one may fare better.
            Err(_) => {}
        }
        landing.land(result);
    }

    /// Retry: as often as the terms grant, while it can help and fits into the deadline.
    async fn retry(&self, key: &Key, terms: Terms, progress: &Arc<Progress>) -> Result<Found, CallError> {
        let mut failed: Option<CallError> = None;
        for retries in 1.. {
            let sent_before = progress.sent();
            let error = match self.attempt(key, terms, progress).await {
                Ok(found) => return Ok(found),
                // An attempt that was not sent says less than the one before it that was.
                Err(error) if progress.sent() == sent_before => return Err(failed.unwrap_or(error)),
                Err(error) => error,
            };
            let wait = backoff::delay(retries, error.retry_after, fastrand::f64());
            let again_at = self.now() + wait;
            let fits = again_at < terms.deadline && self.outbox.refusal(again_at, terms.deadline - again_at).is_none();
            if retries > terms.retry || !error.may_pass() || !fits {
                return Err(error);
            }
            failed = Some(error);
            tokio::time::sleep(wait).await;
        }
        Err(CallError::new(Kind::Transient, "tried for ever"))
    }

    /// One attempt: puts the key into the outbox and waits for its answer. Once it is on the wire it has its
    /// timeout, even if the deadline passes meanwhile: the cache gains.
    async fn attempt(&self, key: &Key, terms: Terms, progress: &Arc<Progress>) -> Result<Found, CallError> {
        let sent_before = progress.sent();
        let mut answer = self.outbox.put(key.clone(), terms.timeout, progress.clone());
        let lost = |_| Err(CallError::new(Kind::Transient, "the request was lost"));
        tokio::select! {
            biased;
            result = &mut answer => return result.unwrap_or_else(lost),
            () = tokio::time::sleep_until(terms.deadline.into()) => {}
        }
        if progress.sent() > sent_before {
            return answer.await.unwrap_or_else(lost);
        }
        drop(answer);
        self.outbox.forget_departed();
        Err(CallError::new(Kind::Limited, "waited for quota or a slot until the deadline"))
    }
}
