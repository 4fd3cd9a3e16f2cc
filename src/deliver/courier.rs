//! What to do next with each trigger of one destination. Pure: time is an argument, the shell (`destination.rs`) only
//! waits and calls.
//!
//! The rules, in the order in which [`Courier::next`] applies them:
//! 1. Past `expires`: dead letter HW621, before any attempt.
//! 2. The destination is *held* (breaker open, told to wait by Retry-After, or suspended by a 410): triggers wait, and
//!    one older than `give_up` is a dead letter HW622. When a probe is due one trigger goes out.
//! 3. After a failure a trigger waits for its back-off (full jitter) or Retry-After, whichever is later.
//! 4. A slot (concurrency), then a token (rate), then the call.
//!
//! An answer: delivered; refused, HW620 at once; gone, HW623 and the destination is suspended; failed, tried again,
//! until it has been tried for `retry_for` of the time in which the destination was not held: HW620.
//!
//! A trigger that always fails must not stand for its destination. So a trigger that has not been tried yet probes
//! first: while none is in hand and a probe is due, [`Courier::accepting`] lets one in. Those that failed before wait
//! [`Pace::grace`] longer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    breaker::{Breaker, Phase},
    job::{After, Answer, Dead, Job, Meaning, Moment, Next},
    limit::Bucket,
    status::{Change, Snapshot, State, Tally},
};
use crate::{
    event::{Class, Trigger},
    topology::{DestinationSpec, Rate, codes},
};

/// The constants of delivery.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The first back-off is below this; each further one below twice as long.
    pub retry_first: Duration,
    pub retry_longest: Duration,
    /// Retry-After is honoured up to this.
    pub retry_after_longest: Duration,
    /// Failures in a row that open the breaker.
    pub failures: u32,
    pub probe_first: Duration,
    pub probe_longest: Duration,
    /// So much later than a fresh trigger does one that has failed probe.
    pub grace: Duration,
    /// How often a shell that must not call asks whether it may.
    pub ask_again: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            retry_first: Duration::from_millis(500),
            retry_longest: Duration::from_secs(60),
            retry_after_longest: Duration::from_secs(3_600),
            failures: 5,
            probe_first: Duration::from_secs(10),
            probe_longest: Duration::from_secs(300),
            grace: Duration::from_secs(1),
            ask_again: Duration::from_millis(50),
        }
    }
}

/// Longer than any wait: after this a waiting trigger is looked at again, should a clock have jumped.
const FAR: Duration = Duration::from_secs(60);

/// Decides for one destination.
#[derive(Debug)]
pub struct Courier {
    name: String,
    pace: Pace,
    retry_for: Duration,
    give_up: Duration,
    rate: Option<Rate>,
    breaker: Breaker,
    bucket: Bucket,
    paused_until: Option<Instant>,
    suspended: bool,
    /// In hand and not tried yet.
    untried: usize,
    /// When the triggers in hand fired, and how many then.
    fired: BTreeMap<i64, usize>,
    /// Held for so long in all, as of `seen`.
    held: Duration,
    seen: Instant,
    jitter: fastrand::Rng,
    tally: Tally,
}

impl Courier {
    /// For a destination that is taken to be up. `seed` is for the jitter.
    pub fn new(spec: &DestinationSpec, pace: Pace, now: Instant, seed: u64) -> Self {
        Courier {
            name: spec.name.to_string(),
            retry_for: spec.retry_for,
            give_up: spec.give_up,
            rate: spec.rate_limit,
            breaker: Breaker::new(pace.failures, pace.probe_first, pace.probe_longest),
            bucket: Bucket::new(spec.rate_limit, 1.0),
            pace,
            paused_until: None,
            suspended: false,
            untried: 0,
            fired: BTreeMap::new(),
            held: Duration::ZERO,
            seen: now,
            jitter: fastrand::Rng::with_seed(seed),
            tally: Tally::default(),
        }
    }

    /// Whether new triggers are wanted. False while the destination is held, but for the moment in which a probe is
    /// due and no trigger in hand is fit for it.
    pub fn accepting(&mut self, now: Instant) -> bool {
        self.tick(now);
        if self.suspended || self.paused_until.is_some() {
            return false;
        }
        match self.breaker.phase() {
            Phase::Closed { .. } => true,
            Phase::Open { probe_at, .. } => now >= probe_at && self.untried == 0,
            Phase::Probing { .. } => false,
        }
    }

    /// Takes a trigger in hand. It must [`leave`](Self::leave) again, however its story ends.
    pub fn enter(&mut self, trigger: &Trigger) -> Job {
        self.untried += 1;
        *self.fired.entry(trigger.fired_at_ms).or_default() += 1;
        Job::new(trigger)
    }

    /// The trigger is out of hand: done, or its worker went away in the middle.
    pub fn leave(&mut self, job: &Job, now: Instant) -> Option<Change> {
        if job.attempts == 0 {
            self.untried = self.untried.saturating_sub(1);
        }
        if let Some(count) = self.fired.get_mut(&job.fired_at_ms) {
            *count -= 1;
            if *count == 0 {
                self.fired.remove(&job.fired_at_ms);
            }
        }
        self.tick(now);
        let probe = job.probe?;
        self.breaker.probe_abandoned(probe, now).then_some(Change::Probed)
    }

    /// What to do with this trigger. `slot`: whether the shell holds one for it; `may_call`: whether calls may start.
    pub fn next(&mut self, job: &mut Job, now: Moment, slot: bool, may_call: bool) -> Next {
        self.tick(now.at);
        if let Some(expires_at_ms) = job.expires_at_ms
            && now.unix_ms >= expires_at_ms
        {
            let message = format!("expired at {} {}", super::body::rfc3339(expires_at_ms), job.so_far());
            return Next::Dead(self.dead(codes::HW621, Class::Expired, message));
        }
        if let Some(until) = self.gate(job, now.at) {
            let age_ms = now.unix_ms.saturating_sub(job.fired_at_ms);
            // While the probe is out its answer decides.
            if age_ms >= millis(self.give_up) && !matches!(self.breaker.phase(), Phase::Probing { .. }) {
                return Next::Dead(self.given_up(job));
            }
            job.token_at = None;
            return Next::Wait(self.at_most(job, now, until, true));
        }
        if let Some(not_before) = job.not_before.filter(|at| now.at < *at) {
            return Next::Wait(self.at_most(job, now, not_before, false));
        }
        if !may_call {
            job.token_at = None;
            return Next::Wait(now.at + self.pace.ask_again);
        }
        if !slot {
            return Next::Slot(self.at_most(job, now, now.at + FAR, false));
        }
        // The right to probe comes before the token: others must not book tokens for calls that will not be.
        job.probe = self.breaker.probe().or(job.probe);
        let token_at = *job.token_at.get_or_insert_with(|| self.bucket.book(now.at));
        if now.at < token_at {
            return Next::Token(self.at_most(job, now, token_at, false));
        }
        self.start(job, now.at);
        Next::Call
    }

    /// Takes in the answer to a call.
    pub fn answer(&mut self, job: &mut Job, answer: &Answer, now: Moment) -> (After, Option<Change>) {
        self.tick(now.at);
        let probe = std::mem::take(&mut job.probe);
        let meaning = answer.meaning();
        self.tally.answered(answer, matches!(meaning, Meaning::Delivered | Meaning::Refused), now);
        job.last.clone_from(&self.tally.last);
        match meaning {
            Meaning::Delivered => {
                self.tally.delivered += 1;
                (After::Delivered, self.breaker.success().then_some(Change::Closed))
            }
            Meaning::Refused => {
                // It refuses this trigger, and so it is at work.
                let change = self.breaker.success().then_some(Change::Closed);
                let message = format!("{} answered {}", self.name, job.last);
                (After::Dead(self.dead(codes::HW620, Class::Delivery, message)), change)
            }
            Meaning::Gone => {
                self.suspended = true;
                if let Some(probe) = probe {
                    self.breaker.probe_abandoned(probe, now.at);
                }
                let message = format!(
                    "{} answered {} and is suspended: nothing is sent until it is resumed or the process restarts",
                    self.name, job.last
                );
                (After::Dead(self.dead(codes::HW623, Class::Delivery, message)), Some(Change::Suspended))
            }
            Meaning::Failed => self.failed(job, answer, probe, now),
        }
    }

    /// Lifts a suspension.
    pub fn resume(&mut self, now: Instant) -> Option<Change> {
        self.tick(now);
        std::mem::take(&mut self.suspended).then_some(Change::Resumed)
    }

    /// This process's part of the destination's rate, in (0, 1].
    pub fn set_share(&mut self, share: f64) {
        self.bucket.set(self.rate, share);
    }

    /// For status lines.
    pub fn snapshot(&mut self, now: Instant) -> Snapshot {
        self.tick(now);
        Snapshot {
            state: self.state(now),
            delivered: self.tally.delivered,
            retried: self.tally.retried,
            dead: self.tally.dead,
            in_hand: self.fired.values().sum(),
            oldest_fired_at_ms: self.fired.keys().next().copied(),
            last: self.tally.last.clone(),
            last_status: self.tally.last_status,
            failing_since_ms: self.tally.failing_since_ms,
        }
    }

    fn state(&self, now: Instant) -> State {
        match (self.suspended, self.breaker.phase(), self.paused_until) {
            (true, ..) => State::Suspended,
            (_, Phase::Open { probe_at, .. }, _) => State::Down { probe_in: probe_at.saturating_duration_since(now) },
            (_, Phase::Probing { .. }, _) => State::Down { probe_in: Duration::ZERO },
            (.., Some(until)) => State::Paused { left: until.saturating_duration_since(now) },
            (.., None) => State::Ok,
        }
    }

    /// `None`: this trigger may go, and probes if the breaker is not closed. Otherwise it waits, until then or a change.
    fn gate(&self, job: &Job, now: Instant) -> Option<Instant> {
        match (self.suspended, self.paused_until, self.breaker.phase()) {
            (true, ..) => Some(now + FAR),
            (_, Some(until), _) => Some(until),
            (_, None, Phase::Probing { .. }) => {
                let probes = job.probe.is_some_and(|probe| self.breaker.is_probe(probe));
                (!probes).then_some(now + FAR)
            }
            (_, None, Phase::Closed { .. }) => None,
            (_, None, Phase::Open { probe_at, .. }) => {
                let due = if job.attempts == 0 { probe_at } else { probe_at + self.pace.grace };
                (now < due).then_some(due)
            }
        }
    }

    /// The time to look at a waiting trigger again: `until`, its expiry, or its giving up, whichever comes first.
    fn at_most(&self, job: &Job, now: Moment, until: Instant, held: bool) -> Instant {
        let give_up_at_ms = held.then(|| job.fired_at_ms.saturating_add(millis(self.give_up)));
        [job.expires_at_ms, give_up_at_ms.filter(|at_ms| *at_ms > now.unix_ms)]
            .into_iter()
            .flatten()
            .map(|at_ms| now.at + Duration::from_millis(at_ms.saturating_sub(now.unix_ms).max(0) as u64).min(FAR))
            .fold(until.min(now.at + FAR), Instant::min)
    }

    fn start(&mut self, job: &mut Job, now: Instant) {
        job.token_at = None;
        if job.attempts == 0 {
            self.untried = self.untried.saturating_sub(1);
            job.first = Some((now, self.held));
        } else {
            self.tally.retried += 1;
        }
        job.attempts += 1;
    }

    fn failed(&mut self, job: &mut Job, answer: &Answer, probe: Option<u64>, now: Moment) -> (After, Option<Change>) {
        let probed = probe.is_some_and(|probe| self.breaker.is_probe(probe));
        let opened = self.breaker.failure(now.at, probe);
        let asked = answer.retry_after().map(|asked| asked.min(self.pace.retry_after_longest)).unwrap_or_default();
        job.not_before = Some(now.at + self.backoff(job.attempts).max(asked));
        // 429 and 503 speak for the whole destination, other answers for this trigger only.
        let pauses = !asked.is_zero() && matches!(answer.status(), Some(429 | 503));
        let paused = pauses && self.paused_until.is_none();
        if pauses {
            let until = now.at + asked;
            self.paused_until = Some(self.paused_until.map_or(until, |at| at.max(until)));
        }
        let change = match (opened, paused, probed) {
            (true, ..) => Some(Change::Opened),
            (_, true, _) => Some(Change::Paused),
            (.., true) => Some(Change::Probed),
            _ => None,
        };
        let tried = job.first.map_or(Duration::ZERO, |(first, held)| {
            now.at.saturating_duration_since(first).saturating_sub(self.held.saturating_sub(held))
        });
        // While the destination is held its triggers wait, however often this one has been tried.
        let at_work = self.breaker.is_closed() && self.paused_until.is_none() && !self.suspended;
        if tried >= self.retry_for && at_work {
            let message = format!("{} did not take it {}, over {tried:.0?}", self.name, job.so_far());
            return (After::Dead(self.dead(codes::HW620, Class::Delivery, message)), change);
        }
        (After::Again, change)
    }

    /// Exponential, with full jitter: anything up to the ceiling.
    fn backoff(&mut self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(20);
        let ceiling = self.pace.retry_first.saturating_mul(1 << doublings).min(self.pace.retry_longest);
        ceiling.mul_f64(self.jitter.f64())
    }

    /// Brings `held` and a pause up to date. State changes only inside calls that tick first, so the sum is exact.
    fn tick(&mut self, now: Instant) {
        let held_until = if self.suspended || !self.breaker.is_closed() {
            now
        } else {
            self.paused_until.map_or(self.seen, |until| until.min(now))
        };
        self.held += held_until.saturating_duration_since(self.seen);
        self.seen = self.seen.max(now);
        self.paused_until = self.paused_until.filter(|until| *until > now);
    }

    fn given_up(&mut self, job: &Job) -> Dead {
        let state = match (self.suspended, self.paused_until) {
            (true, _) => "is suspended",
            (_, Some(_)) => "asks us to wait",
            _ => "is down",
        };
        let message =
            format!("{} {state} and the trigger older than give_up ({:?}), {}", self.name, self.give_up, job.so_far());
        self.dead(codes::HW622, Class::Delivery, message)
    }

    fn dead(&mut self, code: &'static str, class: Class, message: String) -> Dead {
        self.tally.dead += 1;
        Dead { code, class, message }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
