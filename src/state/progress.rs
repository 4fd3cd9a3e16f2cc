//! How far a restore is, and how long it will take. Pure.

use std::{fmt, time::Duration};

/// One changelog partition's progress. Counts are offsets: compacted ones are passed over in no time, so that the end
/// may come sooner than estimated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub topic: String,
    pub partition: i32,
    pub restored: u64,
    pub total: u64,
    /// Since it began.
    pub elapsed: Duration,
    /// Everything up to a transaction that is still open has been read; its end is waited for.
    pub is_waiting: bool,
}

impl Progress {
    /// Offsets that are still to come.
    pub fn remaining(&self) -> u64 {
        self.total.saturating_sub(self.restored)
    }

    /// Offsets a second, on the average.
    pub fn per_second(&self) -> u64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { (self.restored as f64 / seconds) as u64 } else { 0 }
    }

    /// How long it will take at that rate; `None` before there is one.
    pub fn left(&self) -> Option<Duration> {
        match self.per_second() {
            0 => None,
            rate => Some(Duration::from_secs(self.remaining().div_ceil(rate))),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { topic, partition, restored, total, .. } = self;
        write!(f, "restoring {topic}-{partition}: {} of {}", grouped(*restored), grouped(*total))?;
        match self.left() {
            _ if self.is_waiting => f.write_str(" (waits for a transaction that is still open)"),
            None => f.write_str(" (nothing yet)"),
            Some(left) => write!(f, " ({}/s, {} s left)", grouped(self.per_second()), left.as_secs()),
        }
    }
}

/// Digits in groups of three: `9,987`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(restored: u64, seconds: u64) -> Progress {
        Progress {
            topic: "campaign.state.session".to_owned(),
            partition: 3,
            restored,
            total: 400_000,
            elapsed: Duration::from_secs(seconds),
            is_waiting: false,
        }
    }

    #[test]
    fn it_reads_like_a_sentence() {
        let line = |progress: Progress| progress.to_string();
        assert_eq!(
            line(progress(126_000, 2)),
            "restoring campaign.state.session-3: 126,000 of 400,000 (63,000/s, 5 s left)"
        );
        assert_eq!(line(progress(0, 5)), "restoring campaign.state.session-3: 0 of 400,000 (nothing yet)");
        assert_eq!(
            line(Progress { is_waiting: true, ..progress(399_999, 5) }),
            "restoring campaign.state.session-3: 399,999 of 400,000 (waits for a transaction that is still open)"
        );
    }

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!([0, 999, 1_000, 9_987, 1_234_567].map(grouped), ["0", "999", "1,000", "9,987", "1,234,567"]);
    }

    #[test]
    fn what_is_past_its_end_has_nothing_left() {
        assert_eq!(progress(400_001, 1).remaining(), 0);
        assert_eq!(progress(400_001, 1).left(), Some(Duration::ZERO));
    }
}
