//! What people browse with: user agents as they were seen in November 2026 with about their shares, the client hints
//! that such browsers send along, and a few crawlers.
//!
//! Browsers' strings: the weighted sample of the npm package `user-agents` (BSD-2-Clause), its most frequent ones and one
//! or two of each rarer kind. Crawlers': as their operators document them. Hints: the User-Agent Client Hints draft of
//! the WICG; only Chromium sends them.

use std::{collections::BTreeMap, sync::Arc};

/// A browser or a crawler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browser {
    /// Share among people, in no particular unit. 0 for crawlers.
    pub weight: u32,
    pub user_agent: Arc<str>,
    /// By lower-case header name; empty where none are sent.
    pub hints: BTreeMap<Arc<str>, Arc<str>>,
}

/// Brand, version, platform, its version, model (empty on desktops).
type Hints = (&'static str, u32, &'static str, &'static str, &'static str);

const CHROME: &str = "Google Chrome";
const EDGE: &str = "Microsoft Edge";
const SAMSUNG: &str = "Samsung Internet";

#[rustfmt::skip]
const PEOPLE: &[(u32, &str, Option<Hints>)] = &[
    (180, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/154.0.0.0 Safari/537.36", Some((CHROME, 154, "Windows", "19.0.0", ""))),
    (120, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Safari/537.36", Some((CHROME, 153, "Windows", "10.0.0", ""))),
    (110, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/154.0.0.0 Safari/537.36", Some((CHROME, 154, "macOS", "26.1.0", ""))),
    (60, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Safari/537.36", Some((CHROME, 153, "macOS", "15.7.1", ""))),
    (90, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/154.0.0.0 Safari/537.36 Edg/154.0.0.0", Some((EDGE, 154, "Windows", "19.0.0", ""))),
    (30, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Safari/537.36 Edg/153.0.0.0", Some((EDGE, 153, "Windows", "15.0.0", ""))),
    (20, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/154.0.0.0 Safari/537.36", Some((CHROME, 154, "Linux", "6.17.0", ""))),
    (12, "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/152.0.0.0 Safari/537.36", Some((CHROME, 152, "Chrome OS", "16433.0.0", ""))),
    (100, "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/154.0.0.0 Mobile Safari/537.36", Some((CHROME, 154, "Android", "16.0.0", "Pixel 9"))),
    (80, "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Mobile Safari/537.36", Some((CHROME, 153, "Android", "15.0.0", "SM-S938B"))),
    (14, "Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Mobile Safari/537.36", None),
    (12, "Mozilla/5.0 (Linux; Android 15; CPH2653) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Mobile Safari/537.36", None),
    (40, "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/30.0 Chrome/143.0.0.0 Mobile Safari/537.36", Some((SAMSUNG, 30, "Android", "16.0.0", "SM-S931B"))),
    (160, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.6.1 Mobile/15E148 Safari/604.1", None),
    (50, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/27.0 Mobile/15E148 Safari/604.1", None),
    (25, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1", None),
    (28, "Mozilla/5.0 (iPhone; CPU iPhone OS 26_6_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/154.0.8037.55 Mobile/15E148 Safari/604.1", None),
    (16, "Mozilla/5.0 (iPhone; CPU iPhone OS 26_6_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/439.4.980558000 Mobile/15E148 Safari/604.1", None),
    (45, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.6.2 Safari/605.1.15", None),
    (10, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15", None),
    (30, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:156.0) Gecko/20100101 Firefox/156.0", None),
    (12, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:156.0) Gecko/20100101 Firefox/156.0", None),
    (10, "Mozilla/5.0 (X11; Linux x86_64; rv:156.0) Gecko/20100101 Firefox/156.0", None),
];

const CRAWLERS: &[&str] = &[
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/154.0.0.0 Safari/537.36",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/136.0.0.0 Safari/537.36",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
];

/// What people use.
pub fn browsers() -> Vec<Browser> {
    PEOPLE
        .iter()
        .map(|(weight, user_agent, sent)| Browser {
            weight: *weight,
            user_agent: (*user_agent).into(),
            hints: sent.map(hints).unwrap_or_default(),
        })
        .collect()
}

/// What comes without people.
pub fn crawlers() -> Vec<Browser> {
    CRAWLERS
        .iter()
        .map(|user_agent| Browser { weight: 0, user_agent: (*user_agent).into(), hints: BTreeMap::new() })
        .collect()
}

/// The headers, quoted as on the wire, with the meaningless brand that Chromium mixes in.
fn hints((brand, version, platform, platform_version, model): Hints) -> BTreeMap<Arc<str>, Arc<str>> {
    let engine = if brand == SAMSUNG { 143 } else { version };
    let mobile = if model.is_empty() { "?0" } else { "?1" };
    [
        ("sec-ch-ua", format!("\"Chromium\";v=\"{engine}\", \"{brand}\";v=\"{version}\", \"Not_A Brand\";v=\"99\"")),
        ("sec-ch-ua-mobile", mobile.to_owned()),
        ("sec-ch-ua-platform", format!("\"{platform}\"")),
        ("sec-ch-ua-platform-version", format!("\"{platform_version}\"")),
        ("sec-ch-ua-model", format!("\"{model}\"")),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}
