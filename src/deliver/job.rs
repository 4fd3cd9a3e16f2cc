//! A trigger in hand: what it has been through, what is to be done with it, what an attempt brought.

use std::time::{Duration, Instant};

use crate::event::{Class, Trigger};

/// The one moment, on both clocks: monotonic for pauses, the calendar's for `expires` and `give_up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub at: Instant,
    /// Milliseconds since 1970 UTC.
    pub unix_ms: i64,
}

/// What one attempt brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Status {
        status: u16,
        retry_after: Option<Duration>,
        /// Start of the body, fit for a log line.
        preview: String,
    },
    Timeout,
    /// No connection, or it ended before the answer.
    Unreachable {
        message: String,
    },
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// 2xx.
    Delivered,
    /// Another 4xx: this trigger will not be taken, ever.
    Refused,
    /// 410: nothing will, ever.
    Gone,
    /// 408, 425, 429, 3xx, 5xx, no answer: it may be taken later. A redirect is a fault of the topology's url, to be
    /// mended while the triggers wait.
    Failed,
}

impl Answer {
    /// What it says.
    pub fn meaning(&self) -> Meaning {
        match self.status() {
            Some(200..=299) => Meaning::Delivered,
            Some(410) => Meaning::Gone,
            Some(408 | 425 | 429) => Meaning::Failed,
            Some(400..=499) => Meaning::Refused,
            _ => Meaning::Failed,
        }
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Answer::Status { status, .. } => Some(*status),
            Answer::Timeout | Answer::Unreachable { .. } => None,
        }
    }

    /// What the destination asked for by `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Answer::Status { retry_after, .. } => *retry_after,
            Answer::Timeout | Answer::Unreachable { .. } => None,
        }
    }
}

/// A trigger in hand.
#[derive(Debug, Clone)]
pub struct Job {
    pub(super) fired_at_ms: i64,
    pub(super) expires_at_ms: Option<i64>,
    pub(super) attempts: u32,
    /// Back-off: not before.
    pub(super) not_before: Option<Instant>,
    /// A token of the rate is booked for then.
    pub(super) token_at: Option<Instant>,
    /// First call, and how long the destination had been held by then.
    pub(super) first: Option<(Instant, Duration)>,
    /// The number of the probe that it is, or was.
    pub(super) probe: Option<u64>,
    pub(super) last: String,
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Give back the slot, wait until then or until the destination's state changes, ask again.
    Wait(Instant),
    /// Get a slot, at the latest until then, and ask again.
    Slot(Instant),
    /// Keep the slot, wait until then, ask again.
    Token(Instant),
    /// Call now, and report the answer.
    Call,
    Dead(Dead),
}

/// Why a trigger is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    pub code: &'static str,
    pub class: Class,
    pub message: String,
}

/// What an answer means for its trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    Delivered,
    Again,
    Dead(Dead),
}

impl Job {
    /// A trigger that has just come in hand.
    pub fn new(trigger: &Trigger) -> Self {
        Job {
            fired_at_ms: trigger.fired_at_ms,
            expires_at_ms: trigger.expires_at_ms,
            attempts: 0,
            not_before: None,
            token_at: None,
            first: None,
            probe: None,
            last: String::new(),
        }
    }

    /// Calls made.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Its story for a dead letter.
    pub(super) fn so_far(&self) -> String {
        match self.attempts {
            0 => "before the first attempt".to_owned(),
            1 => format!("after 1 attempt; last answer: {}", self.last),
            n => format!("after {n} attempts; last answer: {}", self.last),
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Status { status, preview, .. } if preview.is_empty() => write!(f, "{status}"),
            Answer::Status { status, preview, .. } => write!(f, "{status} {preview}"),
            Answer::Timeout => f.write_str("no answer in time"),
            Answer::Unreachable { message } => f.write_str(message),
        }
    }
}
