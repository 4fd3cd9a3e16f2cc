//! What waits to be asked of one service: batch → slot → rate limit → breaker → timeout → the service.
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
    Call, CallError, Found, Key, Kind, Phase, Response, Snapshot,
    breaker::{Breaker, Permit},
    flight::Progress,
    quota::Quota,
    stats::Stats,
};

/// The pause after a 429 that does not say for how long.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a service can ask for: one wrong header must not silence it for a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// A carrier that waits for quota looks at least so often whether anybody still waits for it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where an item's answer arrives.
type Answer = oneshot::Receiver<Result<Found, CallError>>;

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

/// What became of the wait for a token.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Taken,
    /// Not needed: the breaker has opened.
    Refused,
    /// Nobody waits for this carrier any more; it is off duty.
    Dismissed,
}

/// The outbox of one service.
pub(super) struct Outbox {
    service: Arc<str>,
    call: Arc<dyn Call>,
    batch_max: usize,
    batch_wait: Duration,
    concurrency: usize,
    queue: Mutex<Queue>,
    /// A batch is full: its carrier need not wait for more.
    full: Notify,
    /// Requests under way at once.
    slots: Semaphore,
    /// Who may wait for the next token: first come, first served.
    turn: Semaphore,
    quota: Mutex<Quota>,
    breaker: Mutex<Breaker>,
    /// Moving average of a request's duration in microseconds.
    usual_us: AtomicU64,
    stats: Arc<Stats>,
    now: fn() -> Instant,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(spec: &ServiceSpec, call: Arc<dyn Call>, stats: Arc<Stats>, now: fn() -> Instant) -> Self {
        let (batch_max, batch_wait) = spec.batch.map_or((1, Duration::ZERO), |batch| (batch.max.max(1), batch.wait));
        Outbox {
            service: spec.name.clone(),
            call,
            batch_max,
            batch_wait,
            concurrency: spec.concurrency.max(1),
            queue: Mutex::default(),
            full: Notify::new(),
            slots: Semaphore::new(spec.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            turn: Semaphore::new(1),
            quota: Mutex::new(Quota::new(spec.rate_limit, now())),
            breaker: Mutex::new(Breaker::new(spec.breaker)),
            usual_us: AtomicU64::new(0),
            stats,
            now,
        }
    }

    /// This process's share of the quota.
    pub fn set_share(&self, share: f64) {
        self.quota.lock().set_share(share, (self.now)());
    }

    /// Adds the state of breaker and quota.
    pub fn describe(&self, snapshot: &mut Snapshot) {
        let now = (self.now)();
        {
            let breaker = self.breaker.lock();
            snapshot.breaker = breaker.phase();
            snapshot.probes = breaker.probes();
            let probe_in = breaker.refuses(now).map(|at| at.saturating_duration_since(now));
            snapshot.next_probe_ms = probe_in.map_or(0, |wait| wait.as_millis() as u64);
        }
        snapshot.rate_limit_remaining = self.quota.lock().remaining(now);
    }

    /// Why a request that begins now would not be answered within `patience`: known before it queues.
    pub fn refusal(&self, now: Instant, patience: Duration) -> Option<CallError> {
        if self.breaker.lock().refuses(now).is_some() {
            return Some(breaker_open());
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

    /// Batch: puts a key into the queue and sees to it that somebody carries it.
    pub fn put(self: &Arc<Self>, key: Key, timeout: Duration, progress: Arc<Progress>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let mut queue = self.queue.lock();
        queue.items.push_back(Item { key, timeout, progress, reply });
        let waiting = queue.items.len();
        if waiting > queue.carriers * self.batch_max {
            queue.carriers += 1;
            tokio::spawn(self.clone().carry());
        }
        if self.batch_max > 1 && waiting.is_multiple_of(self.batch_max) {
            self.full.notify_one();
        }
        answer
    }

    /// Takes those off the queue who have stopped waiting: whoever comes next would reckon with a queue of the
    /// departed.
    pub fn forget_departed(&self) {
        self.queue.lock().items.retain(|item| !item.reply.is_closed());
    }

    /// Whether nothing waits, nobody carries, and no slot is taken.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.items.is_empty() && queue.carriers == 0 && self.slots.available_permits() == self.concurrency
    }

    /// Carries one batch to the service.
    async fn carry(self: Arc<Self>) {
        if !self.batch_wait.is_zero() && self.batch_max > 1 {
            tokio::select! {
                () = tokio::time::sleep(self.batch_wait) => {}
                () = self.full.notified() => {}
            }
        }
        // Never closed, so there is always a slot in the end.
        let _slot = self.slots.acquire().await.ok();
        let token = self.token().await;
        if token == Token::Dismissed {
            return;
        }
        let items = self.take();
        let permit = match token {
            Token::Taken if !items.is_empty() => self.breaker.lock().admit((self.now)()),
            _ => None,
        };
        let Some(permit) = permit else {
            if token == Token::Taken {
                self.quota.lock().give_back();
            }
            return answer(items, || Err(breaker_open()));
        };
        let response = self.send(&items, permit).await;
        match response.answers {
            Err(error) => answer(items, || Err(error.clone())),
            Ok(answers) => {
                let mut answers = answers.into_iter();
                let missing = || Err(CallError::new(Kind::BadResponse, "the answer leaves out what was asked"));
                answer(items, || answers.next().unwrap_or_else(missing));
            }
        }
    }

    /// Rate limit: waits for a token.
    async fn token(&self) -> Token {
        let asked_at = (self.now)();
        let _turn = self.turn.acquire().await.ok();
        loop {
            let now = (self.now)();
            if self.breaker.lock().refuses(now).is_some() {
                return Token::Refused;
            }
            // Bound first, so that the lock is not held while waiting.
            let taken = self.quota.lock().take(now);
            let Err(at) = taken else {
                self.stats.wait_us.fetch_add((now - asked_at).as_micros() as u64, Relaxed);
                return Token::Taken;
            };
            if self.dismiss() {
                return Token::Dismissed;
            }
            tokio::time::sleep_until(at.min(now + LOOK_AGAIN).into()).await;
        }
    }

    /// Takes a carrier off duty if the others suffice for those who still wait.
    fn dismiss(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.items.retain(|item| !item.reply.is_closed());
        let needless = queue.items.len() <= (queue.carriers - 1) * self.batch_max;
        if needless {
            queue.carriers -= 1;
        }
        needless
    }

    /// The next batch: the first that still wait. Its carrier is off duty then.
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

    /// Timeout per attempt, around the service; what comes of it teaches quota and breaker.
    async fn send(&self, items: &[Item], permit: Permit) -> Response {
        let timeout = items.iter().map(|item| item.timeout).max().unwrap_or_default();
        let started = (self.now)();
        items.iter().for_each(|item| item.progress.count());
        let keys = items.iter().map(|item| item.key.clone()).collect();
        let response = {
            let _under_way = self.stats.under_way();
            match tokio::time::timeout(timeout, self.call.call(keys)).await {
                Ok(response) => response,
                Err(_) => Err(CallError::new(Kind::Timeout, format!("no answer within {timeout:?}"))).into(),
            }
        };
        let ended = (self.now)();
        self.learn_duration(ended - started);
        for limit in &response.limits {
            self.quota.lock().observe(*limit, ended);
        }
        self.settle(permit, response.answers.as_ref().err(), ended);
        response
    }

    /// What a request's result means for breaker and quota.
    fn settle(&self, permit: Permit, error: Option<&CallError>, now: Instant) {
        self.stats.attempt(error.map(|error| error.kind));
        if let Some(error) = error.filter(|error| error.kind == Kind::Limited) {
            let pause = error.retry_after.unwrap_or(DEFAULT_PAUSE).min(LONGEST_PAUSE);
            self.quota.lock().pause(now + pause, now);
        }
        let failed = error.is_some_and(CallError::counts_for_breaker);
        let changed = self.breaker.lock().record(permit, failed, now);
        let (service, reason) = (&*self.service, error.map_or("", |error| &*error.message));
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

fn breaker_open() -> CallError {
    CallError::new(Kind::BreakerOpen, "the breaker is open")
}

/// Gives each item its result.
fn answer(items: Vec<Item>, mut result: impl FnMut() -> Result<Found, CallError>) {
    for item in items {
        // Whoever has stopped waiting misses it.
        let _ = item.reply.send(result());
    }
}
