//! Real user agents.

use super::*;
use crate::{
    agent::tests::{run, spec_with},
    event::{EventField, Type},
    topology::AgentKind,
};

const FIELDS: &[&str] = &["browser", "browser_version", "os", "os_version", "device", "vendor", "bot_reason"];

fn agent() -> UserAgent {
    let fields: Vec<_> = FIELDS.iter().chain(&["bot", "model"]).map(|field| (*field, Type::Text)).collect();
    let mut spec = spec_with(AgentKind::UserAgent, &fields);
    spec.input = vec![
        ("user_agent".into(), Path::Event(EventField::UserAgent)),
        ("hints".into(), Path::Map(EventMap::ClientHints)),
    ];
    UserAgent::new(&spec)
}

fn part(user_agent: &str, hints: &[(&str, &str)]) -> Part {
    let mut record = Record::default();
    record.event.user_agent = Some(user_agent.into()).filter(|text: &Arc<str>| !text.is_empty());
    record.event.client_hints = hints.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    run(&agent(), &record)
}

/// Browser, version, system, version, device, vendor, why a bot.
fn seen(user_agent: &str, hints: &[(&str, &str)]) -> String {
    let part = part(user_agent, hints);
    let fields: Vec<_> = part.fields[..FIELDS.len()].iter().map(ToString::to_string).collect();
    assert_eq!(part.field(7), &Value::Bool(!part.field(6).is_null()));
    fields.join("|")
}

#[test]
fn browsers_are_recognised_by_their_header() {
    for (expected, user_agent) in [
        (
            "Firefox|140.0|Windows|10|desktop|Mozilla|",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "Chrome|124.0.0.0|macOS|10.15.7|desktop|Google|",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
        ),
        (
            "Safari|17.4|macOS|10.15.7|desktop|Apple|",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
        ),
        (
            "Safari|17.4|iOS|17.4|mobile|Apple|",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
        ),
        (
            "Safari|16.6|iOS|16.6|tablet|Apple|",
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
        ),
        (
            "Chrome|124.0.0.0|Android|10|mobile|Google|",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
        ),
        (
            "Chrome|124.0.0.0|Android|13|tablet|Google|",
            "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
        ),
        (
            "Edge|124.0.2478.51|Windows|10|desktop|Microsoft|",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51",
        ),
        (
            "Opera|109.0.0.0|Windows|10|desktop|Opera|",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36 OPR/109.0.0.0",
        ),
        (
            "SamsungBrowser|24.0|Android|13|mobile|Samsung|",
            "Mozilla/5.0 (Linux; Android 13; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36",
        ),
        (
            "Firefox|125.0|Linux||desktop|Mozilla|",
            "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
        ),
        (
            "Chrome|124.0.0.0|ChromeOS|14541.0.0|desktop|Google|",
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
        ),
        (
            "Internet Explorer|11.0|Windows|7|desktop|Microsoft|",
            "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
        ),
    ] {
        assert_eq!(seen(user_agent, &[]), expected, "{user_agent}");
    }
}

#[test]
fn bots_are_bots_whatever_they_pretend() {
    for (reason, user_agent) in [
        (
            "crawler",
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        ),
        ("crawler", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
        (
            "crawler",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
        ),
        (
            "headless",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
        ),
        ("http_library", "curl/8.5.0"),
    ] {
        let part = part(user_agent, &[("sec-ch-ua-mobile", "?0"), ("sec-ch-ua-platform", "\"Windows\"")]);
        assert_eq!(part.field(4), &Value::text("bot"), "{user_agent}");
        assert_eq!(part.field(6), &Value::text(reason), "{user_agent}");
        assert_eq!(part.field(7), &Value::Bool(true));
    }
}

#[test]
fn client_hints_win_over_a_frozen_header() {
    let frozen = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36 Edg/133.0.0.0";
    let windows_11 = [
        ("sec-ch-ua", r#""Not(A:Brand";v="99", "Microsoft Edge";v="133", "Chromium";v="133""#),
        (
            "sec-ch-ua-full-version-list",
            r#""Not(A:Brand";v="99.0.0.0", "Microsoft Edge";v="133.0.3065.59", "Chromium";v="133.0.6943.60""#,
        ),
        ("sec-ch-ua-mobile", "?0"),
        ("sec-ch-ua-platform", r#""Windows""#),
        ("sec-ch-ua-platform-version", r#""15.0.0""#),
    ];
    assert_eq!(seen(frozen, &windows_11), "Edge|133.0.3065.59|Windows|11|desktop|Microsoft|");
    // Without its version, the header's "10" may as well be 11.
    assert_eq!(seen(frozen, &windows_11[..1]), "Edge|133|Windows||desktop|Microsoft|");
}

#[test]
fn client_hints_know_a_telephone_and_its_model() {
    let hints = [
        ("sec-ch-ua", r#""Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99""#),
        ("sec-ch-ua-mobile", "?1"),
        ("sec-ch-ua-platform", r#""Android""#),
        ("sec-ch-ua-platform-version", r#""14.0.0""#),
        ("sec-ch-ua-model", r#""Pixel 8""#),
    ];
    let frozen = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36";
    assert_eq!(seen(frozen, &hints), "Chrome|124|Android|14.0.0|mobile|Google|");
    assert_eq!(part(frozen, &hints).field(8), &Value::text("Pixel 8"));
    assert_eq!(seen("", &hints), "Chrome|124|Android|14.0.0|mobile|Google|", "hints alone suffice");
}

#[test]
fn nothing_to_go_by_is_skipped_and_nonsense_is_unknown() {
    let skipped = part("", &[("sec-ch-ua", "")]);
    assert_eq!((skipped.provenance.outcome, skipped.provenance.reason), (Outcome::Skipped, Some(Reason::MissingInput)));
    let unknown = part("x", &[]);
    assert_eq!(unknown.provenance.outcome, Outcome::Ok);
    assert_eq!((unknown.field(0), unknown.field(7)), (&Value::Null, &Value::Bool(false)));
}

proptest::proptest! {
    #[test]
    fn whatever_is_sent_is_survived(user_agent in "\\PC{0,200}", hints in "\\PC{0,80}", quoted in "[\",;v= a-z0-9]{0,60}") {
        part(&user_agent, &[("sec-ch-ua", &hints), ("sec-ch-ua-full-version-list", &quoted), ("sec-ch-ua-platform", &quoted)]);
        part(&"ü".repeat(800), &[]);
    }
}
