//! How long to wait before the next attempt. Pure.

use std::time::Duration;

/// The bound of the first wait.
pub const BASE: Duration = Duration::from_millis(100);
/// The bound of every wait.
pub const CAP: Duration = Duration::from_secs(2);

/// The wait before retry number `retry` (1 is the first): a random share of an exponentially growing bound, but
/// never less than the service asked for. `random` lies in [0, 1).
///
/// "Full jitter" of Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): of the variants
/// compared there it spreads a crowd of callers best for the least work.
pub fn delay(retry: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let bound = BASE.saturating_mul(1_u32 << retry.saturating_sub(1).min(16)).min(CAP);
    bound.mul_f64(random.clamp(0.0, 1.0)).max(retry_after.unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_stays_within_its_bound_and_honours_retry_after(
            retry in 1_u32..100, random in 0.0_f64..1.0, asked_ms in proptest::option::of(0_u64..10_000)
        ) {
            let asked = asked_ms.map(Duration::from_millis);
            let wait = delay(retry, asked, random);
            prop_assert!(wait >= asked.unwrap_or_default());
            prop_assert!(wait <= CAP.max(asked.unwrap_or_default()));
            prop_assert!(delay(retry, None, random) <= BASE * 2_u32.pow(retry.min(20) - 1));
        }
    }

    #[test]
    fn the_bound_doubles_until_the_cap() {
        let bounds: Vec<_> = (1..=7).map(|retry| delay(retry, None, 1.0).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 2000, 2000]);
    }
}
