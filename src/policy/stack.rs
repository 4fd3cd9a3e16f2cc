//! The policy of an agent, outermost first. This file is the order:
//!
//! | layer | why here | where |
//! |---|---|---|
//! | deadline | a slow service holds its key's output for that long and no longer | [`Stack::wait`] |
//! | cache | a fresh value costs nothing and no thread changes hands | [`Stack::start`] |
//! | remembered failure | what has just failed is not sent again for `failure_ttl` | [`Stack::start`] |
//! | refusal at once | an open breaker, or a queue longer than the deadline: known before queueing | [`Stack::start`] |
//! | single flight | a thousand events of one person ask once | `flight.rs` |
//! | retry | exponential back-off, full jitter, `Retry-After`; never past the deadline | `line.rs`, `backoff.rs` |
//! | batch | misses share a request | `outbox.rs` |
//! | slot, rate limit | every request on the wire costs one token, a retry or a batch too | `outbox.rs`, `quota.rs` |
//! | breaker | asked last before the wire, so that a probe is one request | `outbox.rs`, `breaker.rs` |
//! | timeout | per attempt; the wait for quota does not count | `outbox.rs` |
//! | the service | | `crate::service` |
//!
//! Then the fallbacks, in the order of the topology: cache (stale, with its age), values; none left: failed.
//!
//! Rate limit and breaker stand inside retry and batch, not outside: outside, a batch of a hundred would cost a
//! hundred tokens, a retry none, and a service that is down would have to fail `retry` times as often to be noticed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

use crate::{
    event::{Outcome, Part, Provenance, Reason, Source},
    topology::AgentSpec,
};

use super::{Answer, Fallbacks, Key, Line, cache::Hit, line::Terms, stats::count};

const LONGEST_DEADLINE: Duration = Duration::from_secs(86_400);

/// What asking gives.
pub enum Reply {
    /// The part, at once.
    Now(Part),
    /// The part comes later, within the deadline; to run on the I/O runtime.
    Later(BoxFuture<'static, Part>),
}

/// One agent's way to its service.
pub struct Stack {
    line: Arc<Line>,
    /// For each field of the part, the column of the service's answer.
    columns: Box<[usize]>,
    fallbacks: Fallbacks,
    deadline: Duration,
    timeout: Duration,
    retry: u32,
}

impl Stack {
    /// The way of that agent over that line; `columns` names, for each field, the column of the answer.
    pub fn new(spec: &AgentSpec, line: Arc<Line>, columns: impl Into<Box<[usize]>>) -> Arc<Self> {
        Arc::new(Stack {
            line,
            columns: columns.into(),
            fallbacks: Fallbacks::new(spec),
            // An instant that far ahead can still be reckoned with.
            deadline: spec.deadline.min(LONGEST_DEADLINE),
            timeout: spec.timeout,
            retry: spec.retry,
        })
    }

    /// The line it asks over.
    pub fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Asks. Everything that can be known without waiting is answered at once.
    pub fn start(self: &Arc<Self>, key: Key) -> Reply {
        let (line, started) = (&self.line, self.line.now());
        if let Some(hit) = line.cached(&key, started).filter(|hit| hit.fresh) {
            return Reply::Now(self.hit(&hit));
        }
        if let Some((error, counter)) = line.hopeless(&key, started, self.deadline) {
            count(counter);
            return Reply::Now(self.fall_back(&key, error.reason(), 0, started));
        }
        Reply::Later(Box::pin(self.clone().wait(key, started)))
    }

    /// Waits for the call, for as long as the deadline.
    async fn wait(self: Arc<Self>, key: Key, started: Instant) -> Part {
        let deadline = started + self.deadline;
        let terms = Terms { deadline, timeout: self.timeout, retry: self.retry };
        let flight = match self.line.board(&key, terms) {
            Ok(flight) => flight,
            Err(hit) => return self.hit(&hit),
        };
        let result = tokio::time::timeout_at(deadline.into(), flight.result).await;
        let attempts = flight.progress.sent();
        match result {
            Ok(Ok(Ok(Some(answer)))) => self.live(&answer, attempts, started),
            Ok(Ok(Ok(None))) => self.finish(self.fallbacks.not_found(Source::Live), attempts, started),
            Ok(Ok(Err(error))) => self.fall_back(&key, error.reason(), attempts, started),
            Ok(Err(_lost)) => self.fall_back(&key, Reason::Unavailable, attempts, started),
            // Never sent: it was the quota or the queue, not the service, that took too long.
            Err(_elapsed) if attempts == 0 => self.fall_back(&key, Reason::RateLimited, attempts, started),
            Err(_elapsed) => self.fall_back(&key, Reason::Timeout, attempts, started),
        }
    }

    /// A part from a fresh answer of the service.
    fn live(&self, answer: &Answer, attempts: u32, started: Instant) -> Part {
        let provenance = Provenance { outcome: Outcome::Ok, source: Some(Source::Live), ..Provenance::default() };
        self.finish(self.part(answer, provenance), attempts, started)
    }

    /// A part from a fresh entry of the cache.
    fn hit(&self, hit: &Hit) -> Part {
        count(&self.line.stats().hits);
        let mut part = match &hit.found {
            Some(answer) => {
                let source = Some(Source::Cache);
                self.part(answer, Provenance { outcome: Outcome::Ok, source, ..Provenance::default() })
            }
            None => self.fallbacks.not_found(Source::Cache),
        };
        part.provenance.age_ms = Some(hit.age.as_millis() as i64);
        part
    }

    /// A part from what stands in.
    fn fall_back(&self, key: &Key, reason: Reason, attempts: u32, started: Instant) -> Part {
        let part = self.fallbacks.failed(reason, || {
            let hit = self.line.cached(key, self.line.now())?;
            let answer = hit.found.as_ref()?;
            if hit.fresh {
                // Another call filled it meanwhile.
                return Some(self.hit(&hit));
            }
            count(&self.line.stats().stale);
            let mut part = self.part(answer, Provenance { outcome: Outcome::Stale, ..Provenance::default() });
            part.provenance.reason = Some(reason);
            part.provenance.source = Some(Source::Cache);
            part.provenance.age_ms = Some(hit.age.as_millis() as i64);
            Some(part)
        });
        self.finish(part, attempts, started)
    }

    fn part(&self, answer: &Answer, provenance: Provenance) -> Part {
        let fields = self.columns.iter().map(|column| answer.get(*column).cloned().unwrap_or_default());
        Part { fields: fields.collect(), provenance }
    }

    fn finish(&self, mut part: Part, attempts: u32, started: Instant) -> Part {
        part.provenance.attempts = attempts;
        part.provenance.latency_ms = u32::try_from((self.line.now() - started).as_millis()).unwrap_or(u32::MAX);
        part
    }
}
