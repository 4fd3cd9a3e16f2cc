//! A small world in played time: a worker that polls while the courier accepts, slots, and a destination that answers
//! as told. No clock, no network.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    clock,
    deliver::{
        Pace, State,
        courier::Courier,
        job::{After, Answer, Dead, Job, Moment, Next},
    },
    event::Trigger,
    secret::Secret,
    topology::{DestinationKind, DestinationSpec},
};

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
/// The calendar at the world's start.
pub const EPOCH_MS: i64 = 1_772_000_000_000;

pub fn spec() -> DestinationSpec {
    DestinationSpec {
        name: "ops".into(),
        kind: DestinationKind::Webhook { url: Secret::new("http://127.0.0.1/"), secret: None, headers: Vec::new() },
        rate_limit: None,
        timeout: Duration::from_secs(10),
        concurrency: 4,
        retry_for: Duration::from_secs(3_600),
        give_up: Duration::from_secs(3 * 86_400),
        allow_private: true,
    }
}

pub fn status(status: u16) -> Answer {
    Answer::Status { status, retry_after: None, preview: String::new() }
}

pub fn wait_for(status: u16, seconds: u64) -> Answer {
    Answer::Status { status, retry_after: Some(Duration::from_secs(seconds)), preview: String::new() }
}

#[derive(Debug)]
pub enum Doing {
    Asking,
    /// Waiting until then; whether a slot is held or wanted.
    Waiting(i64),
    Queueing(i64),
    Calling(i64),
    Done(Option<Dead>),
}

pub struct Case {
    pub job: Job,
    pub doing: Doing,
    pub slot: bool,
    pub ended_ms: i64,
}

impl Case {
    /// The dead letter's code, `None` when delivered.
    pub fn code(&self) -> Option<&'static str> {
        match &self.doing {
            Doing::Done(dead) => dead.as_ref().map(|dead| dead.code),
            other => panic!("not done: {other:?}"),
        }
    }
}

pub struct World<F> {
    pub courier: Courier,
    pub start: Instant,
    pub now_ms: i64,
    pub free: usize,
    /// Not polled yet: when each arrives at the topic, and its expiry.
    pub topic: VecDeque<(i64, Option<i64>)>,
    pub poll_ms: i64,
    pub cases: Vec<Case>,
    /// (case, when)
    pub calls: Vec<(usize, i64)>,
    pub answers: F,
    pub may_call: bool,
}

/// `answers` is given case, time and attempt.
pub fn world<F: FnMut(usize, i64, u32) -> Answer>(spec: &DestinationSpec, answers: F) -> World<F> {
    let start = clock::now();
    World {
        courier: Courier::new(spec, Pace::default(), start, 7),
        start,
        now_ms: 0,
        free: spec.concurrency,
        topic: VecDeque::new(),
        poll_ms: 100,
        cases: Vec::new(),
        calls: Vec::new(),
        answers,
        may_call: true,
    }
}

impl<F: FnMut(usize, i64, u32) -> Answer> World<F> {
    pub fn moment(&self) -> Moment {
        Moment { at: self.start + Duration::from_millis(self.now_ms as u64), unix_ms: EPOCH_MS + self.now_ms }
    }

    pub fn ms(&self, at: Instant) -> i64 {
        at.saturating_duration_since(self.start).as_nanos().div_ceil(1_000_000) as i64
    }

    pub fn arrive(&mut self, at_ms: i64) -> &mut Self {
        self.topic.push_back((at_ms, None));
        self
    }

    pub fn wake(&mut self) {
        for case in &mut self.cases {
            if matches!(case.doing, Doing::Waiting(_) | Doing::Queueing(_)) {
                case.doing = Doing::Asking;
            }
        }
    }

    /// One step of one case; whether anything happened.
    fn step(&mut self, index: usize) -> bool {
        let now = self.moment();
        let due = match self.cases[index].doing {
            Doing::Asking => true,
            Doing::Waiting(at) | Doing::Calling(at) => at <= self.now_ms,
            Doing::Queueing(at) => self.free > 0 || at <= self.now_ms,
            Doing::Done(_) => false,
        };
        if !due {
            return false;
        }
        if let Doing::Queueing(_) = self.cases[index].doing
            && self.free > 0
        {
            self.free -= 1;
            self.cases[index].slot = true;
        }
        let case = &mut self.cases[index];
        let mut change = None;
        let doing = if let Doing::Calling(_) = case.doing {
            let answer = (self.answers)(index, self.now_ms, case.job.attempts());
            let (after, changed) = self.courier.answer(&mut case.job, &answer, now);
            change = changed;
            match after {
                After::Delivered => Doing::Done(None),
                After::Dead(dead) => Doing::Done(Some(dead)),
                After::Again => {
                    self.free += 1;
                    case.slot = false;
                    Doing::Asking
                }
            }
        } else {
            match self.courier.next(&mut case.job, now, case.slot, self.may_call) {
                Next::Call => {
                    self.calls.push((index, self.now_ms));
                    Doing::Calling(self.now_ms + 20)
                }
                Next::Dead(dead) => Doing::Done(Some(dead)),
                Next::Slot(until) => Doing::Queueing(self.ms(until)),
                Next::Token(until) => Doing::Waiting(self.ms(until)),
                Next::Wait(until) => {
                    if std::mem::take(&mut case.slot) {
                        self.free += 1;
                    }
                    Doing::Waiting(self.ms(until))
                }
            }
        };
        let mut probes: Vec<_> = self.cases.iter().filter_map(|case| case.job.probe).collect();
        probes.sort_unstable();
        assert!(probes.windows(2).all(|pair| pair[0] != pair[1]), "two with one right to probe");
        let done = matches!(doing, Doing::Done(_));
        self.cases[index].doing = doing;
        if done {
            let case = &mut self.cases[index];
            case.ended_ms = self.now_ms;
            if std::mem::take(&mut case.slot) {
                self.free += 1;
            }
            change = self.courier.leave(&case.job, now.at).or(change);
        }
        if change.is_some() {
            self.wake();
        }
        true
    }

    /// Plays until then, or until everything is done.
    pub fn play(&mut self, until_ms: i64) -> &mut Self {
        loop {
            while let Some((at, expires)) = self.topic.front().copied()
                && at <= self.now_ms
                && self.courier.accepting(self.moment().at)
            {
                self.topic.pop_front();
                let job = self.courier.enter(&Trigger {
                    fired_at_ms: EPOCH_MS + at,
                    expires_at_ms: expires.map(|at| EPOCH_MS + at),
                    ..Trigger::default()
                });
                self.cases.push(Case { job, doing: Doing::Asking, slot: false, ended_ms: -1 });
            }
            let mut busy = true;
            while busy {
                busy = false;
                for index in 0..self.cases.len() {
                    busy |= self.step(index);
                }
            }
            let due = self.cases.iter().filter_map(|case| match case.doing {
                Doing::Waiting(at) | Doing::Queueing(at) | Doing::Calling(at) => Some(at),
                _ => None,
            });
            let poll = self.topic.front().map(|(at, _)| (*at).max(self.now_ms + self.poll_ms));
            match due.chain(poll).min() {
                Some(at) if at <= until_ms => self.now_ms = at.max(self.now_ms + 1),
                Some(_) => {
                    self.now_ms = until_ms;
                    return self;
                }
                None => return self,
            }
        }
    }

    pub fn state(&mut self) -> State {
        let now = self.moment().at;
        self.courier.snapshot(now).state
    }

    pub fn codes(&self) -> Vec<Option<&'static str>> {
        self.cases.iter().map(Case::code).collect()
    }
}
