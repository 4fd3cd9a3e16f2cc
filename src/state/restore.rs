//! Whether a table goes on from where the store stopped or is read again from the beginning. Pure.

use std::fmt;

use super::Position;

/// Where a changelog partition begins and ends, records that are not yet committed included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    pub begin: i64,
    /// The offset after the last.
    pub end: i64,
}

/// What a restore does with one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Keep what the store has and read on from this offset.
    Resume(i64),
    /// Wipe the table and read from this offset, the log's begin.
    Rebuild(i64, Rebuild),
}

impl Plan {
    /// The first offset to read.
    pub fn from(self) -> i64 {
        match self {
            Plan::Resume(from) | Plan::Rebuild(from, _) => from,
        }
    }
}

/// Why what the store has is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    /// It has nothing of this table.
    New,
    /// It belongs to another cluster, or the topic was recreated.
    OtherTopic,
    /// Deletions that it has not seen may have gone from the log.
    TooOld,
    /// It stopped before the log's first record.
    BehindLog,
    /// It holds more than the log: the log was cut.
    AheadOfLog,
}

impl fmt::Display for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rebuild::New => "nothing of it is here",
            Rebuild::OtherTopic => "the topic was recreated or is another cluster's",
            Rebuild::TooOld => "the copy is older than the topic's deletions are kept",
            Rebuild::BehindLog => "the copy ends before the topic begins",
            Rebuild::AheadOfLog => "the copy ends after the topic does",
        })
    }
}

/// Decides for one table. `tag` is the changelog partition's now; `retention_ms` is how long the topic keeps the
/// records that delete a key after its cleaner saw them (`delete.retention.ms`).
///
/// A copy is good only where every deletion since its time is still in the log: one that has gone would leave its key
/// here for ever. A time in the future (a clock that was set back) says nothing, and is taken for too old.
pub fn plan(stored: Option<Position>, tag: u32, bounds: LogBounds, now_ms: i64, retention_ms: i64) -> Plan {
    let rebuild = |why| Plan::Rebuild(bounds.begin, why);
    let Some(stored) = stored else { return rebuild(Rebuild::New) };
    if stored.tag != tag {
        return rebuild(Rebuild::OtherTopic);
    }
    if stored.offset < bounds.begin {
        return rebuild(Rebuild::BehindLog);
    }
    if stored.offset > bounds.end {
        return rebuild(Rebuild::AheadOfLog);
    }
    let age_ms = now_ms.saturating_sub(stored.at_ms);
    if age_ms >= retention_ms || age_ms < -CLOCKS_DIFFER_MS {
        return rebuild(Rebuild::TooOld);
    }
    Plan::Resume(stored.offset)
}

/// Machines' clocks differ by less than this.
const CLOCKS_DIFFER_MS: i64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_800_000_000_000;
    const LOG: LogBounds = LogBounds { begin: 100, end: 900 };

    fn planned(offset: i64, tag: u32, age_ms: i64) -> Plan {
        plan(Some(Position { offset, tag, at_ms: NOW - age_ms }), 7, LOG, NOW, 24 * HOUR)
    }

    #[test]
    fn a_fresh_copy_of_the_same_topic_within_the_log_goes_on() {
        assert_eq!(planned(500, 7, HOUR), Plan::Resume(500));
        assert_eq!(planned(900, 7, HOUR), Plan::Resume(900), "nothing is missing");
        assert_eq!(planned(100, 7, HOUR), Plan::Resume(100), "the first record is the next");
        assert_eq!(planned(500, 7, -1_000), Plan::Resume(500), "another machine's clock");
    }

    #[test]
    fn no_copy_is_built_from_the_begin() {
        assert_eq!(plan(None, 7, LOG, NOW, HOUR), Plan::Rebuild(100, Rebuild::New));
    }

    #[test]
    fn a_recreated_topic_is_rebuilt_wherever_the_copy_ends() {
        assert_eq!(planned(500, 8, 0), Plan::Rebuild(100, Rebuild::OtherTopic));
    }

    #[test]
    fn a_copy_outside_the_log_is_rebuilt() {
        assert_eq!(planned(99, 7, 0), Plan::Rebuild(100, Rebuild::BehindLog));
        assert_eq!(planned(901, 7, 0), Plan::Rebuild(100, Rebuild::AheadOfLog));
    }

    #[test]
    fn a_copy_older_than_deletions_are_kept_is_rebuilt() {
        assert_eq!(planned(500, 7, 24 * HOUR - 1), Plan::Resume(500));
        assert_eq!(planned(500, 7, 24 * HOUR), Plan::Rebuild(100, Rebuild::TooOld));
        assert_eq!(planned(500, 7, -HOUR), Plan::Rebuild(100, Rebuild::TooOld), "from the future");
    }
}
