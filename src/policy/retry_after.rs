//! How long a service asks us to wait. Pure.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// `Retry-After` in either form of RFC 9110, 10.2.3: seconds, or a date; `unix_ms` is now, a date in the past no wait.
/// Never more than 136 years, so that it can be added to a time; what is sensible is for the caller to say.
pub fn retry_after(headers: &HeaderMap, unix_ms: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(u32::MAX.into())));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let wait = at.saturating_sub(Duration::from_millis(unix_ms.max(0).unsigned_abs()));
    Some(wait.min(Duration::from_secs(u32::MAX.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_MS: i64 = 1_445_412_480_000; // 21 Oct 2015 07:28:00 GMT

    fn after(text: &str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), AT_MS)
    }

    #[test]
    fn is_read_as_seconds_and_as_a_date() {
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Wed, 21 Oct 2015 08:28:00 GMT"), Some(Duration::from_secs(3_600)));
        assert_eq!(after("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO), "a date in the past is now");
        assert_eq!(after("soon"), None);
        assert_eq!(after("-5"), None);
        assert_eq!(retry_after(&HeaderMap::new(), AT_MS), None);
    }

    #[test]
    fn an_absurd_wait_can_still_be_added_to_a_time() {
        for text in ["18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert!(crate::clock::now().checked_add(after(text).unwrap()).is_some(), "{text}");
        }
    }
}
