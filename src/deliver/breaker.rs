//! Whether a destination is up, judged by its answers. Pure: time is an argument.
//!
//! ```text
//!            5 failures in a row            probe_at has come, one asks
//!   closed ────────────────────────▶ open ─────────────────────────────▶ probing
//!     ▲                               ▲  the probe failed: twice as long     │
//!     │                               └──────────────────────────────────────┤
//!     └──────────────────────────────────────── any success ─────────────────┘
//! ```
//!
//! Not the breaker of `policy`: there a stale success says nothing, a lost probe is given up after a time, and whoever
//! asks first probes. Here any success closes, a probe is numbered and handed back, and the courier says who is due.

use std::time::{Duration, Instant};

/// The breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Calls go through; so many failed in a row.
    Closed { failures: u32 },
    /// No call goes out until then.
    Open { probe_at: Instant, pause: Duration },
    /// One call is out to see; `pause` is how long we waited for it.
    Probing { pause: Duration },
}

/// Opens after `limit` failures in a row; probes after `first`, doubling up to `longest`.
#[derive(Debug, Clone)]
pub struct Breaker {
    limit: u32,
    first: Duration,
    longest: Duration,
    phase: Phase,
    /// Probes so far: the number of the one that is out, if one is.
    probes: u64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(limit: u32, first: Duration, longest: Duration) -> Self {
        let phase = Phase::Closed { failures: 0 };
        Breaker { limit: limit.max(1), first, longest: longest.max(first), phase, probes: 0 }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether calls go through.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    /// Takes the right to the one probe, if the breaker is open; the caller must have seen that it is due. The number
    /// names this probe: what happens to others must not be taken for its fate.
    pub fn probe(&mut self) -> Option<u64> {
        let Phase::Open { pause, .. } = self.phase else { return None };
        self.phase = Phase::Probing { pause };
        self.probes += 1;
        Some(self.probes)
    }

    /// Whether this is the probe that is out.
    pub fn is_probe(&self, number: u64) -> bool {
        matches!(self.phase, Phase::Probing { .. }) && number == self.probes
    }

    /// The prober went away without an answer: another may probe at once. Says whether it was the prober.
    pub fn probe_abandoned(&mut self, number: u64, now: Instant) -> bool {
        match self.phase {
            Phase::Probing { pause } if number == self.probes => {
                self.phase = Phase::Open { probe_at: now, pause };
                true
            }
            _ => false,
        }
    }

    /// A call found the destination at work. Says whether that closed the breaker.
    pub fn success(&mut self) -> bool {
        let closed = !self.is_closed();
        self.phase = Phase::Closed { failures: 0 };
        closed
    }

    /// A call failed; `probe` is its number if it was one. Says whether that opened the breaker.
    pub fn failure(&mut self, now: Instant, probe: Option<u64>) -> bool {
        match self.phase {
            Phase::Closed { failures } if failures + 1 >= self.limit => {
                self.phase = Phase::Open { probe_at: now + self.first, pause: self.first };
                true
            }
            Phase::Closed { failures } => {
                self.phase = Phase::Closed { failures: failures + 1 };
                false
            }
            Phase::Probing { pause } if probe == Some(self.probes) => {
                let pause = (pause * 2).min(self.longest);
                self.phase = Phase::Open { probe_at: now + pause, pause };
                false
            }
            // A straggler of the time before: it tells nothing new.
            Phase::Open { .. } | Phase::Probing { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const S: Duration = Duration::from_secs(1);

    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(5, 10 * S, 300 * S);
        assert!((0..4).all(|_| !breaker.failure(now, None)));
        assert!(breaker.failure(now, None));
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_between_does_not_let_them() {
        let now = clock::now();
        let mut breaker = Breaker::new(5, 10 * S, 300 * S);
        for _ in 0..4 {
            breaker.failure(now, None);
        }
        assert!(!breaker.success());
        for _ in 0..4 {
            assert!(!breaker.failure(now, None));
        }
        assert!(breaker.is_closed());
        assert_eq!(open(now).phase(), Phase::Open { probe_at: now + 10 * S, pause: 10 * S });
    }

    #[test]
    fn failed_probes_double_the_pause_up_to_the_longest() {
        let now = clock::now();
        let mut breaker = open(now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let probe = breaker.probe();
            breaker.failure(now, probe);
            let Phase::Open { pause, .. } = breaker.phase() else { panic!("open") };
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn stragglers_neither_lengthen_the_pause_nor_take_the_probe_s_place() {
        let now = clock::now();
        let mut breaker = open(now);
        breaker.failure(now + S, None);
        assert_eq!(breaker.phase(), Phase::Open { probe_at: now + 10 * S, pause: 10 * S });
        breaker.probe();
        breaker.failure(now + 11 * S, None);
        assert_eq!(breaker.phase(), Phase::Probing { pause: 10 * S });
    }

    #[test]
    fn an_abandoned_probe_is_due_again_at_once() {
        let now = clock::now();
        let mut breaker = open(now);
        let probe = breaker.probe().unwrap();
        assert!(breaker.probe_abandoned(probe, now + 12 * S));
        assert_eq!(breaker.phase(), Phase::Open { probe_at: now + 12 * S, pause: 10 * S });
        breaker.probe();
        assert!(breaker.success());
        assert!(breaker.is_closed());
    }
    #[test]
    fn a_probe_of_an_earlier_outage_has_no_say_in_a_later_one() {
        let now = clock::now();
        let mut breaker = open(now);
        let first = breaker.probe().unwrap();
        assert!(breaker.success(), "a straggler's answer closes it while the probe is out");
        for _ in 0..5 {
            breaker.failure(now, None);
        }
        let second = breaker.probe().unwrap();
        breaker.failure(now, Some(first));
        assert!(!breaker.is_probe(first) && breaker.is_probe(second));
        assert!(!breaker.probe_abandoned(first, now));
        assert_eq!(breaker.phase(), Phase::Probing { pause: 10 * S });
    }
}
