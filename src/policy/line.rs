//! The line to one service, shared by all agents that call it: retry → batch → slot → rate limit → breaker →
//! timeout → the service.
//!
//! Requests are gathered late. A *carrier* first waits for a slot and a token of the quota and only then takes
//! whatever has gathered, up to the batch's size. So a scarce quota is spent on full batches, every request on the
//! wire (retries too) costs exactly one token, and whoever has stopped waiting is not asked for.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::topology::ServiceSpec;

use super::{
    Call, CallError, Found, Key, Kind, Phase, Response, Snapshot, backoff,
    breaker::Breaker,
    cache::{Cache, Hit},
    flight::{Boarded, Flight, Flights, Landing, Progress},
    quota::Quota,
    stats::{Stats, count},
};

/// The pause after a 429 that does not say for how long.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a service can ask for: one wrong header must not silence it for a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// A carrier looks again at least so often whether anybody still waits, and whether the quota has changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

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

/// One key that waits to be asked for.
struct Item {
    key: Key,
    timeout: Duration,
    progress: Arc<Progress>,
    reply: oneshot::Sender<Result<Found, CallError>>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Tasks that will each take up to one batch: always enough for all items.
    carriers: usize,
}

/// The line to one service.
pub struct Line {
    name: Arc<str>,
    call: Arc<dyn Call>,
    batch_max: usize,
    batch_wait: Duration,
    concurrency: usize,
    cache: Cache,
    flights: Flights,
    queue: Mutex<Queue>,
    /// A batch is full: its carrier need not wait for more.
    full: Notify,
    /// Requests under way at once.
    slots: Semaphore,
    /// Who may wait for the next token: first come, first served.
    turn: Semaphore,
    quota: Mutex<Quota>,
    breaker: Mutex<Breaker>,
    stats: Stats,
    /// Moving average of a request's duration in microseconds.
    usual_us: AtomicU64,
    now: fn() -> Instant,
}

impl Line {
    /// The line to a service. `now` is `clock::now`, or a test's.
    pub fn new(spec: &ServiceSpec, call: Arc<dyn Call>, now: fn() -> Instant) -> Arc<Self> {
        let (batch_max, batch_wait) = spec.batch.map_or((1, Duration::ZERO), |batch| (batch.max.max(1), batch.wait));
        Arc::new(Line {
            name: spec.name.clone(),
            call,
            batch_max,
            batch_wait,
            concurrency: spec.concurrency.max(1),
            cache: Cache::new(spec.cache, spec.failure_ttl),
            flights: Flights::default(),
            queue: Mutex::default(),
            full: Notify::new(),
            slots: Semaphore::new(spec.concurrency.max(1)),
            turn: Semaphore::new(1),
            quota: Mutex::new(Quota::new(spec.rate_limit, now())),
            breaker: Mutex::new(Breaker::new(spec.breaker)),
            stats: Stats::default(),
            usual_us: AtomicU64::new(0),
            now,
        })
    }

    /// This process's share of the service's quota: assigned partitions / all partitions.
    pub fn set_share(&self, share: f64) {
        self.quota.lock().set_share(share, self.now());
    }

    /// The service's state now, for status lines and metrics.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.now();
        let (breaker, opens_at) = {
            let breaker = self.breaker.lock();
            (breaker.phase(), breaker.refuses(now))
        };
        Snapshot {
            breaker,
            next_probe_ms: opens_at.map_or(0, |at| at.saturating_duration_since(now).as_millis() as u64),
            entries: self.cache.entries(),
            rate_limit_remaining: self.quota.lock().remaining(now),
            ..self.stats.snapshot()
        }
    }

    pub(super) fn now(&self) -> Instant {
        (self.now)()
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(super) fn under_way(&self, key: &str) -> Option<Flight> {
        self.flights.get(key)
    }

    /// Why a call that begins now would not be answered within `patience`: known before it queues.
    pub(super) fn refusal(&self, now: Instant, patience: Duration) -> Option<CallError> {
        if self.breaker.lock().refuses(now).is_some() {
            return Some(CallError::new(Kind::BreakerOpen, "the breaker is open"));
        }
        let ahead = self.queue.lock().items.len() / self.batch_max;
        let quota = self.quota.lock().wait(now, ahead);
        let usual = Duration::from_micros(self.usual_us.load(Relaxed));
        let slots = match self.slots.available_permits() {
            0 => usual.mul_f64((ahead as f64 + 1.0) / self.concurrency as f64),
            _ => Duration::ZERO,
        };
        (quota.max(slots) > patience)
            .then(|| CallError::new(Kind::Limited, "the quota or the queue does not reach before the deadline"))
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
            Err(error) if progress.sent() > 0 && error.kind != Kind::BreakerOpen => {
                self.cache.keep_failure(&key, error, self.now());
            }
            // Nothing was sent: the next one may fare better.
            Err(_) => {}
        }
        landing.land(result);
    }

    /// Retry: as often as the terms grant, while it can help and fits into the deadline.
    async fn retry(self: &Arc<Self>, key: &Key, terms: Terms, progress: &Arc<Progress>) -> Result<Found, CallError> {
        let mut retries = 0;
        loop {
            let error = match self.attempt(key, terms, progress).await {
                Err(error) if error.may_pass() && retries < terms.retry => error,
                result => return result,
            };
            retries += 1;
            let wait = backoff::delay(retries, error.retry_after, fastrand::f64());
            let again_at = self.now() + wait;
            if again_at >= terms.deadline || self.refusal(again_at, terms.deadline - again_at).is_some() {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// One attempt: queues the key and waits for its answer. Once it is on the wire it has its timeout, even if
    /// the deadline passes meanwhile: the cache gains.
    async fn attempt(self: &Arc<Self>, key: &Key, terms: Terms, progress: &Arc<Progress>) -> Result<Found, CallError> {
        let sent_before = progress.sent();
        let (reply, mut answer) = oneshot::channel();
        self.enqueue(Item { key: key.clone(), timeout: terms.timeout, progress: progress.clone(), reply });
        let lost = || CallError::new(Kind::Transient, "the request was lost");
        tokio::select! {
            biased;
            result = &mut answer => return result.unwrap_or_else(|_| Err(lost())),
            () = tokio::time::sleep_until(terms.deadline.into()) => {}
        }
        if progress.sent() > sent_before {
            return answer.await.unwrap_or_else(|_| Err(lost()));
        }
        // Not left to the carrier: whoever comes next would reckon with a queue of the departed.
        drop(answer);
        self.queue.lock().items.retain(|item| !item.reply.is_closed());
        Err(CallError::new(Kind::Limited, "waited for quota or a slot until the deadline"))
    }

    /// Batch: puts an item into the queue and sees to it that somebody carries it.
    fn enqueue(self: &Arc<Self>, item: Item) {
        let mut queue = self.queue.lock();
        queue.items.push_back(item);
        let waiting = queue.items.len();
        if waiting > queue.carriers * self.batch_max {
            queue.carriers += 1;
            tokio::spawn(self.clone().carry());
        }
        if self.batch_max > 1 && waiting.is_multiple_of(self.batch_max) {
            self.full.notify_one();
        }
    }

    /// Carries one batch to the service.
    async fn carry(self: Arc<Self>) {
        if !self.batch_wait.is_zero() && self.batch_max > 1 {
            tokio::select! {
                () = tokio::time::sleep(self.batch_wait) => {}
                () = self.full.notified() => {}
            }
        }
        // Never closed, so the error cannot be; without a slot there is still the quota to hold us back.
        let _slot = self.slots.acquire().await.ok();
        if !self.token().await {
            return;
        }
        let items = self.take();
        if items.is_empty() {
            self.quota.lock().give_back();
            return;
        }
        let Some(permit) = self.breaker.lock().admit(self.now()) else {
            self.quota.lock().give_back();
            let error = CallError::new(Kind::BreakerOpen, "the breaker is open");
            return answer(items, |_| Err(error.clone()));
        };
        let started = self.now();
        self.stats.in_flight.fetch_add(1, Relaxed);
        let response = self.send(&items).await;
        self.stats.in_flight.fetch_sub(1, Relaxed);
        let ended = self.now();
        self.learn_duration(ended - started);
        for limit in response.limits {
            self.quota.lock().observe(limit, ended);
        }
        self.settle(permit, response.answers.as_ref().err(), ended);
        match response.answers {
            Err(error) => answer(items, |_| Err(error.clone())),
            Ok(mut answers) => {
                let missing = || CallError::new(Kind::BadResponse, "the answer leaves out what was asked");
                answer(items, |index| {
                    answers.get_mut(index).map_or_else(|| Err(missing()), |answer| std::mem::replace(answer, Ok(None)))
                });
            }
        }
    }

    /// Rate limit: waits for a token. False when nobody waits for this carrier any more; it is dismissed then.
    async fn token(&self) -> bool {
        let asked_at = self.now();
        let Ok(_turn) = self.turn.acquire().await else { return true };
        loop {
            let now = self.now();
            // Bound first, so that the lock is not held while waiting.
            let taken = self.quota.lock().take(now);
            let Err(at) = taken else {
                self.stats.wait_us.fetch_add((now - asked_at).as_micros() as u64, Relaxed);
                return true;
            };
            if self.dismiss() {
                return false;
            }
            tokio::time::sleep_until(at.min(now + LOOK_AGAIN).into()).await;
        }
    }

    /// Takes a carrier off duty if nobody waits.
    fn dismiss(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.items.retain(|item| !item.reply.is_closed());
        let needless = queue.items.len() <= (queue.carriers - 1) * self.batch_max;
        if needless {
            queue.carriers -= 1;
        }
        needless
    }

    /// The next batch: the first that still wait.
    fn take(&self) -> Vec<Item> {
        let mut queue = self.queue.lock();
        queue.carriers -= 1;
        let mut items = Vec::with_capacity(self.batch_max.min(queue.items.len()));
        while items.len() < self.batch_max {
            let Some(item) = queue.items.pop_front() else { break };
            if !item.reply.is_closed() {
                items.push(item);
            }
        }
        items
    }

    /// Timeout per attempt, around the service.
    async fn send(&self, items: &[Item]) -> Response {
        let timeout = items.iter().map(|item| item.timeout).max().unwrap_or_default();
        items.iter().for_each(|item| item.progress.count());
        let keys = items.iter().map(|item| item.key.clone()).collect();
        match tokio::time::timeout(timeout, self.call.call(keys)).await {
            Ok(response) => response,
            Err(_) => Err(CallError::new(Kind::Timeout, format!("no answer within {timeout:?}"))).into(),
        }
    }

    /// What a request's result means for breaker and quota.
    fn settle(&self, permit: super::breaker::Permit, error: Option<&CallError>, now: Instant) {
        self.stats.attempt(error.map(|error| error.kind));
        if let Some(error) = error.filter(|error| error.kind == Kind::Limited) {
            let pause = error.retry_after.unwrap_or(DEFAULT_PAUSE).min(LONGEST_PAUSE);
            self.quota.lock().pause(now + pause, now);
        }
        let failed = error.is_some_and(CallError::counts_for_breaker);
        let changed = self.breaker.lock().record(permit, failed, now);
        let (service, reason) = (&*self.name, error.map_or("", |error| &*error.message));
        match changed {
            Some(Phase::Open) => tracing::warn!(service, reason, "breaker open: the service keeps failing"),
            Some(_) => tracing::info!(service, "breaker closed: the service answers again"),
            None if !reason.is_empty() => tracing::debug!(service, reason, "request failed"),
            None => {}
        }
    }

    /// Moving average over about eight requests.
    fn learn_duration(&self, took: Duration) {
        let (took, usual) = (took.as_micros() as u64, self.usual_us.load(Relaxed));
        let next = if usual == 0 { took } else { (usual * 7 + took) / 8 };
        self.usual_us.store(next, Relaxed);
    }
}

/// Gives each item its result.
fn answer(items: Vec<Item>, mut result: impl FnMut(usize) -> Result<Found, CallError>) {
    for (index, item) in items.into_iter().enumerate() {
        // Whoever has stopped waiting misses it.
        let _ = item.reply.send(result(index));
    }
}
