//! A destination's rate: never more than the declared number of calls in any window of the declared length.
//!
//! Not the quota of `policy`: a trigger books its place ahead and keeps it, where a request asks again for a token and
//! the service's own words lower the pace.

use std::time::{Duration, Instant};

use crate::topology::Rate;

/// A token bucket, kept as the time when it will be full (the generic cell rate algorithm, ITU-T I.371).
///
/// The bucket holds a twentieth of the rate's count (at least one) and refills with the rest plus one per window: so a
/// full bucket and a window's refill together never exceed the count, and the receiver has no cause for a 429.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// One token's worth of time; zero means no limit.
    interval: Duration,
    /// How far into the future bookings may reach before they wait: the bucket's depth less one token.
    slack: Duration,
    full_at: Option<Instant>,
}

impl Bucket {
    /// A full bucket; no rate, no limit. `share` in (0, 1] is this process's part of the rate.
    pub fn new(rate: Option<Rate>, share: f64) -> Self {
        let mut bucket = Bucket { interval: Duration::ZERO, slack: Duration::ZERO, full_at: None };
        bucket.set(rate, share);
        bucket
    }

    /// Changes rate and share; what is booked stays booked.
    pub fn set(&mut self, rate: Option<Rate>, share: f64) {
        let Some(rate) = rate else {
            (self.interval, self.slack) = (Duration::ZERO, Duration::ZERO);
            return;
        };
        // A share of less than one call per window stretches the window.
        let count = (f64::from(rate.count.max(1)) * share.clamp(1e-6, 1.0)).max(1e-6);
        let depth = (count / 20.0).floor().max(1.0);
        let refill = if count > 1.0 { count.floor() - depth + 1.0 } else { count };
        self.interval = rate.per.div_f64(refill);
        self.slack = self.interval.mul_f64(depth - 1.0);
    }

    /// Books one call and says when it may start; now, or later. A booking that is not used is lost: too few calls
    /// rather than too many.
    pub fn book(&mut self, now: Instant) -> Instant {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = Some(full_at + self.interval);
        full_at.checked_sub(self.slack).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    proptest! {
        #[test]
        fn no_window_ever_holds_more_calls_than_the_rate(
            count in 1u32..300, per_ms in 10u64..20_000, share in 0.05f64..1.0,
            gaps in proptest::collection::vec(0u64..200, 1..400),
        ) {
            let rate = Rate { count, per: Duration::from_millis(per_ms) };
            let mut bucket = Bucket::new(Some(rate), share);
            let mut now = clock::now();
            let mut calls = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                calls.push(bucket.book(now));
            }
            let allowed = ((f64::from(count) * share).floor() as usize).max(1);
            for window in calls.windows(allowed + 1) {
                // A nanosecond is lost in rounding now and then.
                prop_assert!(window[allowed] + Duration::from_micros(1) >= window[0] + rate.per);
            }
        }
    }

    #[test]
    fn a_steady_stream_is_not_slowed_much_below_the_rate() {
        let mut bucket = Bucket::new(Some(Rate { count: 100, per: Duration::from_secs(1) }), 1.0);
        let start = clock::now();
        let last = (0..1000).map(|_| bucket.book(start)).last().unwrap();
        assert!(last - start < Duration::from_millis(10_500), "{:?}", last - start);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut bucket = Bucket::new(None, 1.0);
        let now = clock::now();
        assert!((0..1000).all(|_| bucket.book(now) == now));
    }
}
