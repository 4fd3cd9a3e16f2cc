//! What is left of a service's quota, from the headers of its answers. Pure.
//!
//! Formats: IETF draft-ietf-httpapi-ratelimit-headers (`RateLimit` and `RateLimit-Policy` as lists since revision 08,
//! as a dictionary in 07, as three headers before), the `X-RateLimit-*` of older APIs, and HubSpot's "API usage
//! guidelines" (`X-HubSpot-RateLimit-*`). A header that makes no sense says nothing; the quota only ever falls by them.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap};

use crate::policy::Limit;

/// Longer headers are not read.
const LONGEST_HEADER: usize = 2_048;
/// Quotas of one answer that are read.
const MOST_LIMITS: usize = 8;
/// From here on a number is a time in seconds since 1970 (2001-09-09), not a wait.
const EPOCH_SECONDS: f64 = 1e9;
/// From here on it is milliseconds since 1970 (the same day).
const EPOCH_MILLISECONDS: f64 = 1e12;

/// What the headers say is left. `now_ms` is now, in milliseconds since 1970 UTC; a `Date` among the headers is
/// preferred, for their times are of the same clock.
pub(super) fn limits(headers: &HeaderMap, now_ms: i64) -> Vec<Limit> {
    let now_ms = date(headers).unwrap_or(now_ms);
    [hubspot(headers), standard(headers, now_ms), older(headers, now_ms)]
        .into_iter()
        .find(|limits| !limits.is_empty())
        .unwrap_or_default()
}

/// HubSpot: for the interval and, where sent, for the second.
fn hubspot(headers: &HeaderMap) -> Vec<Limit> {
    let number = |name: &str| whole(text(headers, name)?);
    let interval = number("x-hubspot-ratelimit-remaining")
        .zip(number("x-hubspot-ratelimit-interval-milliseconds"))
        .map(|(remaining, ms)| Limit { remaining, window: Duration::from_millis(ms.into()), resets_in: None });
    let second = number("x-hubspot-ratelimit-secondly-remaining").map(|remaining| Limit {
        remaining,
        window: Duration::from_secs(1),
        resets_in: None,
    });
    interval.into_iter().chain(second).collect()
}

/// `RateLimit` with `RateLimit-Policy`, as list or dictionary.
fn standard(headers: &HeaderMap, now_ms: i64) -> Vec<Limit> {
    let Some(said) = joined(headers, "ratelimit") else { return Vec::new() };
    let policies = joined(headers, "ratelimit-policy").unwrap_or_default();
    let policies: Vec<Member> = members(&policies).collect();
    let window_of = |name: &str| {
        let policy = policies.iter().find(|policy| policy.head == name)?;
        seconds(policy.parameter("w")?)
    };
    let unquoted = members(&said).filter(|member| !member.head.starts_with('"'));
    let dictionary: Vec<(&str, &str)> = unquoted.filter_map(|member| member.head.split_once('=')).collect();
    if !dictionary.is_empty() {
        let value = |name| dictionary.iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
        let Some(remaining) = value("remaining").and_then(whole) else { return Vec::new() };
        let window = value("limit").and_then(window_of).unwrap_or_default();
        let resets_in = value("reset").and_then(|reset| wait(reset, now_ms));
        return usable([Limit { remaining, window, resets_in }]);
    }
    usable(members(&said).filter_map(|member| {
        let remaining = whole(member.parameter("r")?)?;
        let window = window_of(member.head).unwrap_or_default();
        Some(Limit { remaining, window, resets_in: member.parameter("t").and_then(seconds) })
    }))
}

/// `RateLimit-Remaining` and `RateLimit-Reset`, or the same with `X-`, in either spelling.
fn older(headers: &HeaderMap, now_ms: i64) -> Vec<Limit> {
    for prefix in ["ratelimit", "x-ratelimit", "x-rate-limit"] {
        let value = |end: &str| text(headers, &format!("{prefix}-{end}"));
        let Some(remaining) = value("remaining").and_then(whole) else { continue };
        let resets_in = value("reset").and_then(|reset| wait(reset, now_ms));
        return usable([Limit { remaining, window: Duration::ZERO, resets_in }]);
    }
    Vec::new()
}

/// Those that say when they end. Of several without a length, which nothing tells apart, the tightest.
fn usable(limits: impl IntoIterator<Item = Limit>) -> Vec<Limit> {
    let mut usable: Vec<Limit> = Vec::new();
    for limit in limits.into_iter().take(MOST_LIMITS) {
        if limit.window.is_zero() && limit.resets_in.is_none_or(|wait| wait.is_zero()) {
            continue;
        }
        match usable.iter_mut().find(|known| known.window == limit.window) {
            Some(known) if limit.remaining < known.remaining => *known = limit,
            Some(_) => {}
            None => usable.push(limit),
        }
    }
    usable
}

/// One member of a list: `"daily";r=50;t=30`.
struct Member<'a> {
    head: &'a str,
    parameters: &'a str,
}

impl<'a> Member<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        let named = pieces(self.parameters, b';').filter_map(|parameter| parameter.split_once('='));
        named.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    }
}

fn members(text: &str) -> impl Iterator<Item = Member<'_>> {
    pieces(text, b',').take(MOST_LIMITS).map(|member| {
        let end = pieces(member, b';').next().map_or(0, str::len);
        Member { head: member[..end].trim(), parameters: member.get(end + 1..).unwrap_or_default() }
    })
}

/// The pieces of a text between separators that do not stand in quotes.
fn pieces(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character: char| {
        quoted ^= character == '"';
        !quoted && character == char::from(separator)
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| text.len() <= LONGEST_HEADER)
}

/// A list header, which may come in several lines.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<&str> =
        headers.get_all(name).iter().take(MOST_LIMITS).filter_map(|line| line.to_str().ok()).collect();
    let joined = lines.join(",");
    (!joined.is_empty() && joined.len() <= LONGEST_HEADER).then_some(joined)
}

fn date(headers: &HeaderMap) -> Option<i64> {
    let at = httpdate::parse_http_date(text(headers, DATE.as_str())?).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(at.as_millis()).ok()
}

/// A count; below zero it is zero, as APIs that let a few too many pass write it.
fn whole(text: &str) -> Option<u32> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    Some(number.clamp(0.0, u32::MAX.into()) as u32)
}

fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    Duration::try_from_secs_f64(number.clamp(0.0, u32::MAX.into())).ok()
}

/// How long until a reset that is written as a wait in seconds, or as a time in seconds or milliseconds since 1970,
/// or as a date.
fn wait(text: &str, now_ms: i64) -> Option<Duration> {
    let until =
        |at_ms: f64| Duration::try_from_secs_f64(((at_ms - now_ms as f64) / 1e3).clamp(0.0, u32::MAX.into())).ok();
    match text.parse::<f64>() {
        Ok(number) if !number.is_finite() => None,
        Ok(ms) if ms >= EPOCH_MILLISECONDS => until(ms),
        Ok(s) if s >= EPOCH_SECONDS => until(s * 1e3),
        Ok(_) => seconds(text),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            until(at.as_millis() as f64)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2024-05-06 07:08:09 UTC.
    const NOW_MS: i64 = 1_714_979_289_000;

    fn read(headers: &[(&str, &str)]) -> Vec<Limit> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        limits(&map, NOW_MS)
    }

    fn limit(remaining: u32, window_s: u64, resets_in_s: Option<u64>) -> Limit {
        let resets_in = resets_in_s.map(Duration::from_secs);
        Limit { remaining, window: Duration::from_secs(window_s), resets_in }
    }

    #[test]
    fn the_draft_s_lists_are_read_with_their_policies() {
        let policy = ("RateLimit-Policy", "\"burst\";q=100;w=60,\"daily\";q=1000;w=86400");
        assert_eq!(
            read(&[policy, ("RateLimit", "\"burst\";r=50;t=30, \"daily\";r=900")]),
            [limit(50, 60, Some(30)), limit(900, 86_400, None)]
        );
        assert_eq!(read(&[("RateLimit", "\"default\";r=50;t=30")]), [limit(50, 0, Some(30))]);
        assert_eq!(
            read(&[("RateLimit", "\"a, b;r=1\";r=7;t=3"), ("RateLimit", "\"c\";r=5;t=9")]),
            [limit(5, 0, Some(9))],
            "quotes hold a name together; of two that nothing tells apart the tighter counts"
        );
        assert_eq!(read(&[("RateLimit", "\"default\";r=50")]), [], "it does not say until when");
    }

    #[test]
    fn the_draft_s_older_forms_are_read() {
        assert_eq!(
            read(&[("RateLimit", "limit=100, remaining=50, reset=5"), ("RateLimit-Policy", "100;w=10, 1000;w=60")]),
            [limit(50, 10, Some(5))]
        );
        let separate = [("RateLimit-Limit", "100, 100;w=60"), ("RateLimit-Remaining", "42"), ("RateLimit-Reset", "17")];
        assert_eq!(read(&separate), [limit(42, 0, Some(17))]);
    }

    #[test]
    fn a_reset_is_told_apart_as_wait_time_or_date() {
        let reset = |text| read(&[("X-RateLimit-Remaining", "3"), ("X-RateLimit-Reset", text)]);
        assert_eq!(reset("60"), [limit(3, 0, Some(60))]);
        assert_eq!(reset("1714979349"), [limit(3, 0, Some(60))]);
        assert_eq!(reset("1714979349000"), [limit(3, 0, Some(60))]);
        assert_eq!(reset("Mon, 06 May 2024 07:09:09 GMT"), [limit(3, 0, Some(60))]);
        assert_eq!(reset("1714979229"), [], "it has ended");
        let twitter = [("X-Rate-Limit-Remaining", "0"), ("X-Rate-Limit-Reset", "900")];
        assert_eq!(read(&twitter), [limit(0, 0, Some(900))]);
    }

    #[test]
    fn the_service_s_own_clock_counts() {
        let headers = [
            ("Date", "Mon, 06 May 2024 06:00:00 GMT"),
            ("X-RateLimit-Remaining", "3"),
            ("X-RateLimit-Reset", "1714975210"),
        ];
        assert_eq!(read(&headers), [limit(3, 0, Some(10))], "an hour apart from ours");
    }

    #[test]
    fn hubspot_s_windows_are_read() {
        let headers = [
            ("X-HubSpot-RateLimit-Remaining", "120"),
            ("X-HubSpot-RateLimit-Interval-Milliseconds", "10000"),
            ("X-HubSpot-RateLimit-Secondly-Remaining", "18"),
        ];
        assert_eq!(read(&headers), [limit(120, 10, None), limit(18, 1, None)]);
    }

    #[test]
    fn absurd_values_say_nothing_or_next_to_nothing() {
        let read = |remaining, reset| read(&[("X-RateLimit-Remaining", remaining), ("X-RateLimit-Reset", reset)]);
        assert_eq!(read("-7", "60"), [limit(0, 0, Some(60))]);
        assert_eq!(read("1e300", "60"), [limit(u32::MAX, 0, Some(60))]);
        for (remaining, reset) in [
            ("many", "60"),
            ("NaN", "60"),
            ("inf", "60"),
            ("", "60"),
            ("3", ""),
            ("3", "soon"),
            ("3", "NaN"),
            ("3", "-60"),
            ("3", "0"),
        ] {
            assert_eq!(read(remaining, reset), [], "{remaining} {reset}");
        }
        assert_eq!(read("3", "1e300").len(), 1);
        let long = "\"x\";r=1;t=1,".repeat(1_000);
        assert_eq!(super::tests::read(&[("RateLimit", &long)]), []);
    }

    proptest! {
        #[test]
        fn no_header_is_too_much(rate in "[ -~]{0,200}", policy in "[ -~]{0,200}", reset in "[ -~]{0,40}") {
            let read = read(&[("RateLimit", &rate), ("RateLimit-Policy", &policy), ("X-RateLimit-Remaining", "1"),
                ("X-RateLimit-Reset", &reset)]);
            prop_assert!(read.len() <= MOST_LIMITS);
        }

        #[test]
        fn what_looks_like_the_draft_is_read_without_falling(list in "(\"[a-c]?\"?;?[rtw]?=?-?[0-9]{0,22},?){0,9}") {
            prop_assert!(read(&[("RateLimit", &list), ("RateLimit-Policy", &list)]).len() <= MOST_LIMITS);
        }
    }
}
