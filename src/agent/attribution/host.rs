//! Hosts of URLs, and which hosts belong to one owner.

use std::borrow::Cow;

/// The longest host that counts (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;

/// The host of a URL or of a bare `host/path`: lower case, without user, port, leading `www.` and trailing dot. `None`
/// where there is none. The name of an Android app (`android-app://com.slack`) is a host as well.
pub(super) fn host(url: &str) -> Option<Cow<'_, str>> {
    let url = url.trim();
    let after = match url.find("://") {
        // A scheme, rather than a path or query that holds another URL.
        Some(at) if url[..at].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
            &url[at + 3..]
        }
        _ => url.strip_prefix("//").unwrap_or(url),
    };
    let authority = &after[..after.find(['/', '?', '#', '\\']).unwrap_or(after.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => host.split_once(':').map_or(host, |(host, _)| host),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_host = !host.is_empty()
        && host.len() <= MAX_HOST
        && host.contains(['.', ':'])
        && !host.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    if !is_host {
        return None;
    }
    let lower = if host.contains(|letter: char| letter.is_uppercase()) {
        Cow::Owned(host.to_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    Some(match (lower.strip_prefix("www.").is_some_and(|rest| rest.contains('.')), lower) {
        (true, Cow::Borrowed(host)) => Cow::Borrowed(&host[4..]),
        (true, Cow::Owned(host)) => Cow::Owned(host[4..].to_owned()),
        (false, host) => host,
    })
}

/// Second-level names under which country registries sell (`co.uk`, `com.au`).
const SECOND_LEVEL: &[&str] =
    &["co", "com", "net", "org", "gov", "edu", "ac", "or", "ne", "go", "gob", "gouv", "ltd", "plc", "me"];

/// The part of a host that somebody registered: `acme.co.uk` of `shop.acme.co.uk`; an IP address whole. By rule of
/// thumb rather than by the public suffix list: two labels, three under a country's second level or under a domain
/// that `is_shared` says is shared among owners (`github.io`).
pub(super) fn registrable(host: &str, is_shared: impl Fn(&str) -> bool) -> &str {
    if host.contains(':') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return host;
    }
    let from = |labels: usize| host.rmatch_indices('.').nth(labels - 1).map_or(host, |(at, _)| &host[at + 1..]);
    let two = from(2);
    let is_country_level =
        two.split_once('.').is_some_and(|(second, top)| top.len() == 2 && SECOND_LEVEL.contains(&second));
    if is_country_level || is_shared(two) { from(3) } else { two }
}

/// The registered label itself: `acme` of `shop.acme.co.uk`.
pub(super) fn label(registrable: &str) -> &str {
    registrable.split('.').next().unwrap_or(registrable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_host_of_what_browsers_and_apps_send() {
        for (url, expected) in [
            ("https://www.Google.com/search?q=a", Some("google.com")),
            ("https://user:pass@shop.acme.example:8443/x", Some("shop.acme.example")),
            ("//cdn.acme.example/x", Some("cdn.acme.example")),
            ("news.ycombinator.com", Some("news.ycombinator.com")),
            ("android-app://com.google.android.gm/", Some("com.google.android.gm")),
            ("https://[2001:db8::1]:80/", Some("2001:db8::1")),
            ("http://192.0.2.7/", Some("192.0.2.7")),
            ("https://acme.example./a", Some("acme.example")),
            ("https://www.com/", Some("www.com")),
            ("acme.example/?to=https://other.example/", Some("acme.example")),
            ("https://ÜBER.example/", Some("über.example")),
            ("$direct", None),
            ("about:blank", None),
            ("/pricing?x=a.b", None),
            ("", None),
            ("https://", None),
            ("https://[::1", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn one_owner_is_told_from_another() {
        let owner = |host| registrable(host, |shared| shared == "github.io");
        assert_eq!(owner("shop.acme.com"), "acme.com");
        assert_eq!(owner("acme.com"), "acme.com");
        assert_eq!(owner("a.b.acme.co.uk"), "acme.co.uk");
        assert_eq!(owner("co.uk"), "co.uk");
        assert_eq!(owner("docs.acme.github.io"), "acme.github.io");
        assert_eq!(owner("192.0.2.7"), "192.0.2.7");
        assert_eq!(owner("2001:db8::1"), "2001:db8::1");
        assert_eq!(label("acme.co.uk"), "acme");
    }

    proptest! {
        #[test]
        fn any_text_has_a_host_or_none(text in ".{0,80}") {
            if let Some(host) = host(&text) {
                prop_assert!(host.ends_with(registrable(&host, |_| false)));
                prop_assert!(!host.is_empty() && host.len() <= 2 * MAX_HOST);
            }
        }
    }
}
