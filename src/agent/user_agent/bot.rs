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

/// Words that a bot carries in its name: "Googlebot/2.1", "GPTBot", "Bytespider", "commoncrawler".
const WORDS: &[&[u8]] = &[b"bot", b"crawler", b"spider"];

/// Why a user agent is a bot, if it is: `crawler`, `ai_agent`, `headless` or `http_library`.
pub(super) fn reason(user_agent: &str) -> Option<&'static str> {
    if LIBRARIES.iter().any(|library| user_agent.starts_with(library)) {
        return Some("http_library");
    }
    if let Some((_, reason)) = MARKS.iter().find(|(mark, _)| user_agent.contains(mark)) {
        return Some(reason);
    }
    WORDS.iter().any(|word| has_word(user_agent.as_bytes(), word)).then_some("crawler")
}

/// Whether a word ends there that ends so, in any case. A CUBOT is a telephone.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).enumerate().any(|(at, window)| {
        let ends = text.get(at + word.len()).is_none_or(|next| !next.is_ascii_alphanumeric());
        let telephone = at >= 2 && text[at - 2..at].eq_ignore_ascii_case(b"cu");
        ends && window.eq_ignore_ascii_case(word) && !telephone
    })
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
            ("Mozilla/5.0 (Macintosh) Robotics/1.0 Bottle/2", None),
        ] {
            assert_eq!(reason(user_agent), expected, "{user_agent}");
        }
    }
}
