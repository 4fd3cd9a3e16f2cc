//! Who is not a person.
//!
//! woothee's data is of 2021 and looks at browsers first: AI crawlers and headless browsers pass for Chrome there.

/// What to look for beside the words below, and what it is.
const MARKS: &[(&str, &str)] = &[
    ("ChatGPT-User", "ai_agent"),
    ("Claude-User", "ai_agent"),
    ("Perplexity-User", "ai_agent"),
    ("MistralAI-User", "ai_agent"),
    ("meta-externalagent", "crawler"),
    ("facebookexternalhit", "crawler"),
    ("Google-InspectionTool", "crawler"),
    ("GoogleOther", "crawler"),
    ("Google-Ads-Conversions", "crawler"),
    ("NewRelicSynthetics", "crawler"),
    ("Chrome-Lighthouse", "crawler"),
    ("Slurp", "crawler"),
    ("HeadlessChrome", "headless"),
    ("PhantomJS", "headless"),
];

/// Programs that name themselves first.
const LIBRARIES: &[&str] = &[
    "curl/",
    "Wget/",
    "python-requests/",
    "python-httpx/",
    "Python-urllib/",
    "aiohttp/",
    "Go-http-client/",
    "Apache-HttpClient/",
    "Java/",
    "axios/",
    "node-fetch/",
    "undici",
    "libwww-perl/",
    "Ruby",
    "PHP/",
    "Scrapy/",
];

/// What only a bot says of itself, in any case: no person's browser tells where to read about it.
const SAYINGS: &[&str] = &["http://", "https://", "crawl", "spider", "scrap", "archiver", "linkcheck"];

/// Why a user agent is a bot, if it is: `crawler`, `ai_agent`, `headless` or `http_library`.
pub(super) fn reason(user_agent: &str) -> Option<&'static str> {
    if LIBRARIES.iter().any(|library| user_agent.starts_with(library)) {
        return Some("http_library");
    }
    if let Some((_, reason)) = MARKS.iter().find(|(mark, _)| user_agent.contains(mark)) {
        return Some(reason);
    }
    // Lower case once, on the stack: callers bound the length, and what matters stands in front.
    let mut buffer = [0; super::MAX_HEADER];
    let text = &user_agent[..user_agent.floor_char_boundary(buffer.len())];
    let lower = &mut buffer[..text.len()];
    lower.copy_from_slice(text.as_bytes());
    lower.make_ascii_lowercase();
    let lower = std::str::from_utf8(lower).unwrap_or_default();
    let bot = SAYINGS.iter().any(|saying| lower.contains(saying)) || is_called_bot(lower) || is_only_compatible(lower);
    bot.then_some("crawler")
}

/// Whether some word ends in "bot" or "bots": "Googlebot/2.1", "GPTBot". A CUBOT is a telephone.
fn is_called_bot(lower: &str) -> bool {
    lower.match_indices("bot").any(|(at, bot)| {
        let after = &lower[at + bot.len()..];
        let after = after.strip_prefix('s').unwrap_or(after);
        !after.starts_with(|next: char| next.is_ascii_alphanumeric()) && !lower[..at].ends_with("cu")
    })
}

/// Whether it is "compatible" without being one of the browsers that said so.
fn is_only_compatible(lower: &str) -> bool {
    lower.contains("compatible;") && !["msie", "konqueror", "opera"].iter().any(|browser| lower.contains(browser))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bots_are_told_by_what_they_call_themselves() {
        for (user_agent, expected) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Some("crawler")),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
                Some("crawler"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
                Some("crawler"),
            ),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
                Some("ai_agent"),
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
                Some("headless"),
            ),
            ("curl/8.5.0", Some("http_library")),
            ("python-requests/2.31.0", Some("http_library")),
            (
                "Mozilla/5.0 (Linux; Android 11; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
                None,
            ),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", None),
            ("Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)", None),
            ("Mozilla/5.0 (compatible; YandexMetrika/4.0)", Some("crawler")),
            ("Mozilla/5.0 (Macintosh) Robotics/1.0 Bottle/2", None),
        ] {
            assert_eq!(reason(user_agent), expected, "{user_agent}");
        }
    }
}
