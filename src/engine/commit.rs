//! The committer's state machine: when to begin a transaction, and what its outcome means.
//!
//! ```text
//!              initialised                       gathered, rest over
//! Initialise ──────────────▶ Resting ───────────────────────────────▶ Committing
//!     ▲                        ▲  ▲                                     │  │  │
//!     │ back-off over          │  └────────────── clean ────────────────┘  │  │
//!     │                        │      again (a few times)                  │  │
//!  Recovering ◀── doubtful ────┼──────────────────── definite abort ───────┘  │
//!     ▲                        │                                              │
//!     └────────────────────────┴────────────── doubtful ──────────────────────┘
//! ```
//!
//! One transaction is under way at a time; the next gathers meanwhile. Two alternating producers would change this
//! file and the commit thread only.

use std::time::{Duration, Instant};

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Committed, and no doubt about it.
    Clean,
    /// The broker answered that it must be aborted, it was, and nothing timed out meanwhile: nothing of it is visible.
    DefiniteAbort,
    /// Anything else. It may be visible or not, or become so; only fencing settles it.
    Doubtful,
}

/// What the worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something happens.
    Nothing,
    /// Ask again then.
    At(Instant),
    /// Make a producer (anew) under the same transactional id: fences every straggler.
    Initialise,
    /// Commit what was gathered.
    Commit,
    /// Commit the aborted batch again, from memory, without the partitions that are no longer ours.
    CommitAgain,
}

/// What a verdict means for the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It is done: the batch can go.
    Applied,
    /// Keep the batch; [`Next::CommitAgain`] follows.
    Again,
    /// Forget everything uncommitted; after [`Next::Initialise`] resume from the committed ledgers.
    Forget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { until: Instant, then: Step },
    Busy(Step),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Initialise,
    Commit,
    CommitAgain,
}

/// The committer's state.
#[derive(Debug)]
pub struct Commit {
    state: State,
    /// From one transaction's end to the next one's begin: lets the markers land.
    min_interval: Duration,
    /// Failures in a row.
    failures: u32,
    /// Definite aborts in a row before the path of a crash is taken.
    again_limit: u32,
}

/// Definite aborts of a transaction before the path of a crash is taken.
pub const AGAIN_LIMIT: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_LIMIT: Duration = Duration::from_secs(5);

impl Commit {
    /// Begins with [`Next::Initialise`]. `again_limit`: [`AGAIN_LIMIT`] for transactions; without end for ordinary
    /// commits, where forgetting would repeat effects outside Kafka.
    pub fn new(now: Instant, min_interval: Duration, again_limit: u32) -> Self {
        let state = State::Waiting { until: now, then: Step::Initialise };
        Commit { state, min_interval, failures: 0, again_limit }
    }

    /// Whether [`Commit::next`] would commit something now.
    pub fn is_due(&self, now: Instant, gathered: bool) -> bool {
        match self.state {
            State::Waiting { until, then: Step::Commit } => gathered && until <= now,
            State::Waiting { until, then: Step::CommitAgain } => until <= now,
            _ => false,
        }
    }

    /// What to do now. `gathered`: whether there is something to commit. After [`Next::Initialise`],
    /// [`Next::Commit`] and [`Next::CommitAgain`] nothing follows until the outcome is told.
    pub fn next(&mut self, now: Instant, gathered: bool) -> Next {
        match self.state {
            State::Busy(_) => Next::Nothing,
            State::Waiting { then: Step::Commit, .. } if !gathered => Next::Nothing,
            State::Waiting { until, .. } if until > now => Next::At(until),
            State::Waiting { then, .. } => {
                self.state = State::Busy(then);
                match then {
                    Step::Initialise => Next::Initialise,
                    Step::Commit => Next::Commit,
                    Step::CommitAgain => Next::CommitAgain,
                }
            }
        }
    }

    /// The producer was made, or not. `jitter` in 0..1 spreads the next attempt.
    pub fn initialised(&mut self, now: Instant, ok: bool, jitter: f64) {
        if ok {
            self.state = State::Waiting { until: now, then: Step::Commit };
        } else {
            self.failures += 1;
            self.state = State::Waiting { until: now + self.backoff(jitter), then: Step::Initialise };
        }
    }

    /// The transaction ended.
    pub fn finished(&mut self, now: Instant, verdict: Verdict, jitter: f64) -> After {
        let (after, until, then) = match verdict {
            Verdict::Clean => {
                self.failures = 0;
                (After::Applied, now + self.min_interval, Step::Commit)
            }
            Verdict::DefiniteAbort if self.failures < self.again_limit => {
                self.failures += 1;
                (After::Again, now + self.backoff(jitter), Step::CommitAgain)
            }
            Verdict::DefiniteAbort | Verdict::Doubtful => {
                self.failures += 1;
                (After::Forget, now + self.backoff(jitter), Step::Initialise)
            }
        };
        self.state = State::Waiting { until, then };
        after
    }

    /// The batch that was to be committed again has nothing left in it.
    pub fn dropped(&mut self, now: Instant) {
        self.state = State::Waiting { until: now, then: Step::Commit };
    }

    /// Whether a transaction or an initialisation is under way.
    pub fn is_busy(&self) -> bool {
        matches!(self.state, State::Busy(_))
    }

    /// Whether the next step is to make a producer.
    pub fn needs_producer(&self) -> bool {
        matches!(self.state, State::Waiting { then: Step::Initialise, .. })
    }

    /// Whether work may be taken in: not between doubt and the resumption from what is committed.
    pub fn takes_work(&self) -> bool {
        !matches!(self.state, State::Waiting { then: Step::Initialise, .. } | State::Busy(Step::Initialise))
    }

    /// Exponential with full jitter.
    fn backoff(&self, jitter: f64) -> Duration {
        let ceiling = BACKOFF.saturating_mul(1 << (self.failures.clamp(1, 8) - 1)).min(BACKOFF_LIMIT);
        ceiling.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(now: Instant) -> Commit {
        let mut commit = Commit::new(now, Duration::from_millis(5), AGAIN_LIMIT);
        assert_eq!(commit.next(now, true), Next::Initialise);
        assert_eq!(commit.next(now, true), Next::Nothing, "not before the producer is there");
        commit.initialised(now, true, 1.0);
        commit
    }

    #[test]
    fn a_record_after_a_rest_commits_at_once_and_the_next_after_the_interval() {
        let now = crate::clock::now();
        let mut commit = ready(now);
        assert_eq!(commit.next(now, false), Next::Nothing);
        assert_eq!(commit.next(now, true), Next::Commit);
        assert_eq!(commit.next(now, true), Next::Nothing, "one at a time");
        assert_eq!(commit.finished(now, Verdict::Clean, 1.0), After::Applied);
        let later = now + Duration::from_millis(5);
        assert_eq!(commit.next(now, true), Next::At(later));
        assert_eq!(commit.next(later, true), Next::Commit);
    }

    #[test]
    fn a_definite_abort_is_committed_again_and_after_too_many_takes_the_path_of_a_crash() {
        let mut now = crate::clock::now();
        let mut commit = ready(now);
        assert_eq!(commit.next(now, true), Next::Commit);
        for _ in 0..AGAIN_LIMIT {
            assert_eq!(commit.finished(now, Verdict::DefiniteAbort, 1.0), After::Again);
            now += BACKOFF_LIMIT;
            assert_eq!(commit.next(now, true), Next::CommitAgain);
        }
        assert_eq!(commit.finished(now, Verdict::DefiniteAbort, 1.0), After::Forget);
        now += BACKOFF_LIMIT;
        assert_eq!(commit.next(now, true), Next::Initialise);
    }

    #[test]
    fn doubt_always_fences_before_anything_is_committed_again() {
        let mut now = crate::clock::now();
        let mut commit = ready(now);
        assert_eq!(commit.next(now, true), Next::Commit);
        assert_eq!(commit.finished(now, Verdict::Doubtful, 0.5), After::Forget);
        for _ in 0..20 {
            now += BACKOFF_LIMIT;
            assert_eq!(commit.next(now, true), Next::Initialise);
            commit.initialised(now, false, 0.5);
            assert!(!commit.takes_work());
        }
        now += BACKOFF_LIMIT;
        assert_eq!(commit.next(now, true), Next::Initialise);
        commit.initialised(now, true, 0.5);
        assert_eq!(commit.next(now, true), Next::Commit);
    }
}
