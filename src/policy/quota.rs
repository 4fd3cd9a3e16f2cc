//! A service's quota: a token bucket for this process's share of an account's rate. Pure.
//!
//! Sized so that no window of the declared length holds more than the declared count, which is what accounts
//! measure: a burst of one twentieth, and a refill that leaves room for it.

use std::time::{Duration, Instant};

use crate::topology::Rate;

use super::Limit;

/// Requests per second where nothing is declared: in effect no limit, but still pausable.
const UNLIMITED: f64 = 1e9;
/// The part of a window's count that may go at once after a rest.
const BURST_SHARE: f64 = 1.0 / 20.0;
/// Windows of different lengths that a service's headers may speak of (HubSpot: a second, ten seconds).
const WINDOWS: usize = 4;
/// What a wait that does not end is called.
const FOR_EVER: Duration = Duration::from_secs(86_400);
/// The longest window that is reckoned with: a month's quota.
const LONGEST_WINDOW: Duration = Duration::from_secs(31 * 86_400);
/// How long a header is believed that no later answer repeats: one wrong value must not silence a service for a day.
const BELIEVED_FOR: Duration = Duration::from_secs(3_600);

/// What the service itself said is left, until its window ends.
#[derive(Debug, Clone, Copy)]
struct Window {
    length: Duration,
    ends: Instant,
    /// When what is known of it no longer counts: its end, or earlier.
    believed_until: Instant,
    remaining: u32,
    /// Requests per second that spread our share of the rest over the rest of the window.
    pace: f64,
}

/// The token bucket.
#[derive(Debug)]
pub struct Quota {
    rate: Option<Rate>,
    share: f64,
    tokens: f64,
    /// When `tokens` was true.
    at: Instant,
    paused_until: Instant,
    windows: Vec<Window>,
}

impl Quota {
    /// A full bucket; without a rate it never runs dry, but can be paused.
    pub fn new(rate: Option<Rate>, now: Instant) -> Self {
        let mut quota = Quota { rate, share: 1.0, tokens: 0.0, at: now, paused_until: now, windows: Vec::new() };
        quota.tokens = quota.burst();
        quota
    }

    /// This process's share of the account's rate, between 0 and 1.
    pub fn set_share(&mut self, share: f64, now: Instant) {
        self.refill(now);
        let before = self.share;
        self.share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.tokens = self.tokens.min(self.burst());
        // What headers said was left was divided by the old share.
        for window in &mut self.windows {
            window.pace = if before > 0.0 { window.pace * self.share / before } else { 0.0 };
        }
    }

    /// Takes one token, or says when it is worth asking again.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.refill(now);
        if now >= self.paused_until && self.tokens >= 1.0 - 1e-9 {
            self.tokens = (self.tokens - 1.0).max(0.0);
            return Ok(());
        }
        Err(now + self.wait(now, 0))
    }

    /// Gives a token back that was not used.
    pub fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.burst());
    }

    /// How long until a request can go that has `ahead` others before it.
    pub fn wait(&self, now: Instant, ahead: usize) -> Duration {
        let mut missing = ahead as f64 + 1.0 - self.tokens - self.gain(self.at, now);
        let pause = self.paused_until.saturating_duration_since(now);
        if missing <= 1e-9 {
            return pause;
        }
        let mut from = now;
        for to in self.edges(now) {
            let gain = self.gain(from, to);
            if gain >= missing {
                break;
            }
            missing -= gain;
            from = to;
        }
        let pace = self.pace(from);
        let rest = if pace > 0.0 { missing / pace } else { f64::INFINITY };
        let rest = Duration::try_from_secs_f64(rest).unwrap_or(FOR_EVER).min(FOR_EVER);
        // Rounded up: asking a nanosecond early would ask twice.
        ((from - now) + rest + Duration::from_nanos(1)).max(pause)
    }

    /// Nothing goes before then: the service said so (`Retry-After`).
    pub fn pause(&mut self, until: Instant, now: Instant) {
        self.refill(now);
        self.paused_until = self.paused_until.max(until);
    }

    /// What the service said is left of the account's quota. It only ever lowers ours, until the window ends.
    pub fn observe(&mut self, limit: Limit, now: Instant) {
        let length = limit.resets_in.unwrap_or(limit.window).min(LONGEST_WINDOW);
        if length.is_zero() {
            return;
        }
        self.refill(now);
        self.windows.retain(|window| window.ends > now);
        let known = self.windows.iter().position(|window| window.length == limit.window);
        // Many headers do not say when the window ends. It began no later than the first answer seen of it, so this
        // is its latest end; more being left than before means that a new one has begun.
        let ends = match (limit.resets_in, known.map(|index| self.windows[index])) {
            (None, Some(window)) if limit.remaining <= window.remaining => window.ends,
            _ => now + length,
        };
        let left = f64::from(limit.remaining) * self.share;
        self.tokens = self.tokens.min(left);
        let rest = ends.saturating_duration_since(now).as_secs_f64().max(1e-3);
        let pace = (left - self.tokens) / rest;
        let believed_until = ends.min(now + BELIEVED_FOR);
        let window = Window { length: limit.window, ends, believed_until, remaining: limit.remaining, pace };
        match known {
            Some(index) => self.windows[index] = window,
            None if self.windows.len() < WINDOWS => self.windows.push(window),
            // Lengths vary without end: the service makes them up.
            None => {}
        }
    }

    /// Tokens there now, for metrics.
    pub fn remaining(&self, now: Instant) -> f64 {
        (self.tokens + self.gain(self.at, now)).min(self.burst())
    }

    /// Requests of the declared window that are ours.
    fn count(&self) -> f64 {
        self.rate.map_or(UNLIMITED, |rate| f64::from(rate.count)) * self.share
    }

    fn burst(&self) -> f64 {
        (self.count() * BURST_SHARE).floor().max(1.0)
    }

    /// Refill per second when nobody lowers it.
    fn full_pace(&self) -> f64 {
        let per = self.rate.map_or(1.0, |rate| rate.per.as_secs_f64().max(1e-3));
        ((self.count() - (self.burst() - 1.0)) / per).max(0.0)
    }

    /// Refill per second at an instant.
    fn pace(&self, at: Instant) -> f64 {
        if at < self.paused_until {
            return 0.0;
        }
        let lowered = self.windows.iter().filter(|window| at < window.believed_until).map(|window| window.pace);
        lowered.fold(self.full_pace(), f64::min)
    }

    /// The instants after `from` at which the pace changes, ascending.
    fn edges(&self, from: Instant) -> impl Iterator<Item = Instant> + use<> {
        let mut edges = [None; WINDOWS + 1];
        edges[0] = Some(self.paused_until);
        for (edge, window) in edges[1..].iter_mut().zip(&self.windows) {
            *edge = Some(window.believed_until);
        }
        edges.sort_unstable();
        edges.into_iter().flatten().filter(move |edge| *edge > from)
    }

    /// Tokens gained between two instants.
    fn gain(&self, from: Instant, to: Instant) -> f64 {
        let (mut gained, mut at) = (0.0, from);
        for edge in self.edges(from).take_while(|edge| *edge < to).chain([to]) {
            gained += self.pace(at) * edge.saturating_duration_since(at).as_secs_f64();
            at = edge.max(at);
        }
        gained
    }

    fn refill(&mut self, now: Instant) {
        if now > self.at {
            self.tokens = (self.tokens + self.gain(self.at, now)).min(self.burst());
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn left(remaining: u32, window: Duration) -> Limit {
        Limit { remaining, window, resets_in: None }
    }

    const fn rate(count: u32, seconds: u64) -> Option<Rate> {
        Some(Rate { count, per: Duration::from_secs(seconds) })
    }

    /// The instants at which a caller that always wants more gets its tokens.
    fn drain(quota: &mut Quota, from: Instant, length: Duration) -> Vec<Instant> {
        let (mut now, mut taken) = (from, Vec::new());
        while now < from + length {
            match quota.take(now) {
                Ok(()) => taken.push(now),
                Err(at) => {
                    assert!(at > now, "asked to come back at once");
                    now = at;
                }
            }
        }
        taken
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_share_of_the_declared_count(
            count in 1_u32..400, seconds in 1_u64..30, share in 0.05_f64..=1.0,
            rests in proptest::collection::vec(0_u64..20_000, 1..8)
        ) {
            let mut now = crate::clock::now();
            let mut quota = Quota::new(rate(count, seconds), now);
            quota.set_share(share, now);
            let mut taken = Vec::new();
            for rest in rests {
                let part = drain(&mut quota, now, Duration::from_secs(seconds) / 2);
                taken.extend(part);
                now += Duration::from_secs(seconds) / 2 + Duration::from_millis(rest);
            }
            let window = Duration::from_secs(seconds).mul_f64(0.999);
            let most = (f64::from(count) * share).ceil().max(1.0) as usize;
            for (index, start) in taken.iter().enumerate() {
                let inside = taken[index..].iter().take_while(|at| **at - *start < window).count();
                prop_assert!(inside <= most, "{inside} in a window that allows {most}");
            }
        }

        #[test]
        fn the_wait_it_names_is_the_wait_it_takes(count in 1_u32..400, ahead in 0_usize..50) {
            let now = crate::clock::now();
            let mut quota = Quota::new(rate(count, 10), now);
            let wait = quota.wait(now, ahead);
            let mut at = now;
            let mut taken = 0;
            while taken <= ahead {
                match quota.take(at) { Ok(()) => taken += 1, Err(next) => at = next }
            }
            let off = (at - now).abs_diff(wait);
            prop_assert!(off < Duration::from_micros(50), "{off:?}");
        }
    }

    #[test]
    fn uses_nearly_all_of_the_declared_rate() {
        let now = crate::clock::now();
        let taken = drain(&mut Quota::new(rate(100, 10), now), now, Duration::from_secs(100));
        assert!((950..=1000).contains(&taken.len()), "{}", taken.len());
    }

    #[test]
    fn a_share_of_nothing_sends_nothing() {
        let now = crate::clock::now();
        let mut quota = Quota::new(rate(100, 10), now);
        quota.set_share(0.0, now);
        drain(&mut quota, now, Duration::from_secs(1));
        assert!(quota.wait(now + Duration::from_secs(1), 0) > Duration::from_secs(3600));
    }

    #[test]
    fn a_pause_holds_everything_and_ends() {
        let now = crate::clock::now();
        let mut quota = Quota::new(None, now);
        let until = now + Duration::from_secs(7);
        quota.pause(until, now);
        assert_eq!(quota.take(now), Err(until));
        assert_eq!(quota.wait(now, 10), Duration::from_secs(7));
        assert_eq!(quota.take(until), Ok(()));
    }

    #[test]
    fn headers_spread_what_is_left_over_the_rest_of_their_window() {
        let now = crate::clock::now();
        let mut quota = Quota::new(rate(100, 10), now);
        let window = Duration::from_secs(10);
        quota.observe(left(10, window), now);
        assert!(drain(&mut quota, now, window).len() <= 10, "ten are left");
        let after = now + window;
        assert!(drain(&mut quota, after, window).len() > 80, "the window has ended");
    }

    proptest! {
        #[test]
        fn until_its_window_ends_no_more_goes_than_our_share_of_what_the_service_said_is_left(
            remaining in 0_u32..300, share in 0.1_f64..=1.0, rest_ms in 0_u64..10_000
        ) {
            let now = crate::clock::now();
            let mut quota = Quota::new(rate(200, 10), now);
            quota.set_share(share, now);
            let then = now + Duration::from_millis(rest_ms);
            drain(&mut quota, now, Duration::from_millis(rest_ms) / 2);
            quota.observe(left(remaining, Duration::from_secs(10)), then);
            let taken = drain(&mut quota, then, Duration::from_millis(9_999)).len();
            prop_assert!(taken as f64 <= f64::from(remaining) * share + 1e-6, "{taken}");
        }
    }

    #[test]
    fn headers_never_raise_the_rate() {
        let now = crate::clock::now();
        let mut quota = Quota::new(rate(10, 10), now);
        quota.observe(left(1_000_000, Duration::from_secs(10)), now);
        assert!(drain(&mut quota, now, Duration::from_secs(9)).len() <= 10);
    }

    #[test]
    fn nothing_left_means_nothing_until_the_window_ends() {
        let now = crate::clock::now();
        let mut quota = Quota::new(None, now);
        quota.observe(left(3, Duration::from_secs(1)), now);
        let half = now + Duration::from_millis(500);
        quota.observe(left(0, Duration::from_secs(1)), half);
        let at = quota.take(half).unwrap_err();
        assert!(at >= now + Duration::from_secs(1) && at < now + Duration::from_millis(1001), "{:?}", at - now);
    }

    #[test]
    fn a_window_ends_when_the_service_says_so() {
        let now = crate::clock::now();
        let mut quota = Quota::new(rate(100, 10), now);
        let resets_in = Some(Duration::from_secs(3));
        quota.observe(Limit { resets_in, ..left(0, Duration::from_secs(60)) }, now);
        let at = quota.take(now).unwrap_err();
        assert!(at >= now + Duration::from_secs(3) && at < now + Duration::from_secs(4), "{:?}", at - now);
    }

    #[test]
    fn an_absurd_header_silences_a_service_for_an_hour_at_most() {
        let now = crate::clock::now();
        for (window, resets_in) in [(Duration::MAX, None), (Duration::ZERO, Some(Duration::MAX))] {
            let mut quota = Quota::new(rate(100, 10), now);
            quota.observe(Limit { remaining: 0, window, resets_in }, now);
            let wait = quota.wait(now, 0);
            assert!(wait > Duration::from_secs(3_500) && wait < Duration::from_secs(3_700), "{wait:?}");
        }
        let mut quota = Quota::new(rate(100, 10), now);
        quota.observe(Limit { remaining: 0, window: Duration::ZERO, resets_in: None }, now);
        assert_eq!(quota.take(now), Ok(()), "no window at all says nothing");
    }

    #[test]
    fn our_own_steady_use_of_the_whole_quota_does_not_lower_it() {
        let now = crate::clock::now();
        let (mut at, mut quota, window) = (now, Quota::new(rate(100, 10), now), Duration::from_secs(10));
        let mut sent = 0;
        for round in 0..5 {
            let (start, mut remaining) = (now + window * round, 100);
            at = at.max(start);
            while at < start + window {
                match quota.take(at) {
                    Ok(()) => {
                        remaining -= 1;
                        sent += 1;
                        quota.observe(left(remaining, window), at);
                    }
                    Err(next) => at = next,
                }
            }
        }
        assert!(sent > 440, "{sent} of 500");
    }
}
