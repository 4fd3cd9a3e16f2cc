//! The circuit breaker: stops asking a service that keeps failing, and finds out when it is back. Pure.
//!
//! ```text
//!            failures in a row              time is up
//!  CLOSED ───────────────────────▶ OPEN ───────────────▶ HALF-OPEN: one probe
//!    ▲                              ▲  probe failed: twice as long   │ │
//!    │                              └────────────────────────────────┘ │
//!    └──────────────────────────────────────────── probe answered ─────┘
//! ```

use std::time::{Duration, Instant};

use crate::topology::BreakerSpec;

/// How much longer than `open` the breaker waits at most between two probes.
const LONGEST: u32 = 10;

/// Where the breaker is, for status lines and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

impl Phase {
    /// The name in metrics and status lines.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Closed => "closed",
            Phase::Open => "open",
            Phase::HalfOpen => "half_open",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        wait: Duration,
    },
    /// A probe is under way; should it vanish without a word, another may go after `until`.
    HalfOpen {
        until: Instant,
        wait: Duration,
    },
}

/// Leave to send one request; its result comes back with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    probe: bool,
}

/// The breaker of one service.
#[derive(Debug)]
pub struct Breaker {
    spec: BreakerSpec,
    state: State,
    /// Probes let through since the start.
    probes: u64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(spec: BreakerSpec) -> Self {
        // So long that nobody waits for it, and short enough to reckon with.
        let spec = BreakerSpec { open: spec.open.min(Duration::from_secs(86_400)), ..spec };
        Breaker { spec, state: State::Closed { failures: 0 }, probes: 0 }
    }

    /// Whether a request would be refused now, and until when. Changes nothing.
    pub fn refuses(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } | State::HalfOpen { until, .. } => (now < until).then_some(until),
        }
    }

    /// Leave to send a request now. The first after an open period is the probe.
    pub fn admit(&mut self, now: Instant) -> Option<Permit> {
        match self.state {
            State::Closed { .. } => Some(Permit { probe: false }),
            State::Open { until, .. } | State::HalfOpen { until, .. } if now < until => None,
            State::Open { wait, .. } | State::HalfOpen { wait, .. } => {
                self.state = State::HalfOpen { until: now + wait, wait };
                self.probes += 1;
                Some(Permit { probe: true })
            }
        }
    }

    /// Takes the result of a request. Gives the phase when it changed. Results of requests that were sent before
    /// the breaker opened say nothing about now and are ignored.
    pub fn record(&mut self, permit: Permit, failed: bool, now: Instant) -> Option<Phase> {
        match (self.state, failed) {
            (State::Closed { failures }, true) => {
                let failures = failures + 1;
                if failures < self.spec.failures.max(1) {
                    self.state = State::Closed { failures };
                    return None;
                }
                self.open(self.spec.open, now)
            }
            (State::Closed { .. }, false) => {
                self.state = State::Closed { failures: 0 };
                None
            }
            (State::HalfOpen { .. }, false) if permit.probe => {
                self.state = State::Closed { failures: 0 };
                Some(Phase::Closed)
            }
            (State::HalfOpen { wait, .. }, true) if permit.probe => {
                self.open((wait * 2).min(self.spec.open * LONGEST), now)
            }
            _ => None,
        }
    }

    /// Probes let through since the start.
    pub fn probes(&self) -> u64 {
        self.probes
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Closed { .. } => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    fn open(&mut self, wait: Duration, now: Instant) -> Option<Phase> {
        self.state = State::Open { until: now + wait, wait };
        Some(Phase::Open)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN: Duration = Duration::from_secs(10);

    fn breaker() -> Breaker {
        Breaker::new(BreakerSpec { failures: 3, open: OPEN })
    }

    fn fail(breaker: &mut Breaker, now: Instant) -> Option<Phase> {
        let permit = breaker.admit(now).expect("admitted");
        breaker.record(permit, true, now)
    }

    #[test]
    fn opens_after_failures_in_a_row_and_a_success_starts_the_count_anew() {
        let (mut breaker, now) = (breaker(), crate::clock::now());
        assert_eq!(fail(&mut breaker, now), None);
        assert_eq!(fail(&mut breaker, now), None);
        let permit = breaker.admit(now).unwrap();
        assert_eq!(breaker.record(permit, false, now), None);
        assert_eq!(fail(&mut breaker, now), None);
        assert_eq!(fail(&mut breaker, now), None);
        assert_eq!(fail(&mut breaker, now), Some(Phase::Open));
        assert_eq!(breaker.refuses(now), Some(now + OPEN));
        assert!(breaker.admit(now + OPEN - Duration::from_millis(1)).is_none());
    }

    #[test]
    fn one_probe_decides() {
        let (mut breaker, now) = (breaker(), crate::clock::now());
        for _ in 0..3 {
            fail(&mut breaker, now);
        }
        let later = now + OPEN;
        assert_eq!(breaker.refuses(later), None);
        let probe = breaker.admit(later).unwrap();
        assert_eq!(breaker.phase(), Phase::HalfOpen);
        assert!(breaker.admit(later).is_none(), "a second request while the probe is under way");
        assert_eq!(breaker.record(probe, false, later), Some(Phase::Closed));
        assert!(breaker.admit(later).is_some());
    }

    #[test]
    fn waits_twice_as_long_after_each_failed_probe_up_to_ten_times() {
        let (mut breaker, mut now) = (breaker(), crate::clock::now());
        for _ in 0..3 {
            fail(&mut breaker, now);
        }
        let mut waits = Vec::new();
        for _ in 0..6 {
            let until = breaker.refuses(now).unwrap();
            waits.push((until - now).as_secs());
            now = until;
            assert_eq!(fail(&mut breaker, now), Some(Phase::Open));
        }
        assert_eq!(waits, [10, 20, 40, 80, 100, 100]);
    }

    #[test]
    fn a_late_result_from_before_it_opened_changes_nothing() {
        let (mut breaker, now) = (breaker(), crate::clock::now());
        let late = breaker.admit(now).unwrap();
        for _ in 0..3 {
            fail(&mut breaker, now);
        }
        assert_eq!(breaker.record(late, false, now), None);
        assert_eq!(breaker.phase(), Phase::Open);
    }

    #[test]
    fn a_probe_that_vanishes_does_not_close_the_way_for_ever() {
        let (mut breaker, now) = (breaker(), crate::clock::now());
        for _ in 0..3 {
            fail(&mut breaker, now);
        }
        assert!(breaker.admit(now + OPEN).is_some());
        assert!(breaker.admit(now + OPEN * 2).is_some());
    }

    proptest! {
        #[test]
        fn never_sends_more_than_one_request_per_open_period_while_everything_fails(steps in proptest::collection::vec(1_u64..30_000, 1..200)) {
            let (mut breaker, mut now) = (breaker(), crate::clock::now());
            for _ in 0..3 {
            fail(&mut breaker, now);
        }
            let mut last = now;
            for step in steps {
                now += Duration::from_millis(step);
                if let Some(permit) = breaker.admit(now) {
                    prop_assert!(now - last >= OPEN);
                    last = now;
                    breaker.record(permit, true, now);
                }
            }
        }
    }
}
