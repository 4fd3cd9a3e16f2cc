//! How a destination is: its state, its counts, what changed.

use std::time::Duration;

use super::job::{Answer, Moment};

/// A change of the destination's state that others wait for and the log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Opened,
    Closed,
    Paused,
    Suspended,
    Resumed,
    /// A failed or abandoned probe: another is to come.
    Probed,
}

/// How a destination is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ok,
    /// Told to wait.
    Paused {
        left: Duration,
    },
    /// The breaker is open; the next probe is due in so long.
    Down {
        probe_in: Duration,
    },
    /// It answered 410.
    Suspended,
}

/// What a status line shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub state: State,
    pub delivered: u64,
    /// Calls after a trigger's first.
    pub retried: u64,
    pub dead: u64,
    pub in_hand: usize,
    /// When the oldest trigger in hand fired. Milliseconds since 1970 UTC.
    pub oldest_fired_at_ms: Option<i64>,
    /// The last answer in words: `200`, `503 …`, `no answer in time`.
    pub last: String,
    /// The last HTTP status, if the last attempt got one.
    pub last_status: Option<u16>,
    /// Since when no call has succeeded though some were made. Milliseconds since 1970 UTC.
    pub failing_since_ms: Option<i64>,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub delivered: u64,
    pub retried: u64,
    pub dead: u64,
    pub last: String,
    pub last_status: Option<u16>,
    pub failing_since_ms: Option<i64>,
}

impl Tally {
    /// Counts an answer; `at_work` if it shows the destination at work.
    pub fn answered(&mut self, answer: &Answer, at_work: bool, now: Moment) {
        self.last = answer.to_string();
        self.last_status = answer.status();
        if at_work {
            self.failing_since_ms = None;
        } else {
            self.failing_since_ms.get_or_insert(now.unix_ms);
        }
    }
}
