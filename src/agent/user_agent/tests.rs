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
    let mut spec = spec_with(AgentKind::UserAgent { bots: None }, &fields);
    spec.input = vec![
        ("user_agent".into(), Path::Event(EventField::UserAgent)),
        ("hints".into(), Path::Map(EventMap::ClientHints)),
    ];
    UserAgent::new(&spec, None).unwrap()
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
            "Firefox|140.0|Windows||desktop|Mozilla|",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "Chrome|124.0.0.0|macOS||desktop|Google|",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
        ),
        (
            "Safari|17.4|macOS||desktop|Apple|",
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
            "Chrome|124.0.0.0|Android||mobile|Google|",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
        ),
        (
            "Chrome|124.0.0.0|Android|13|tablet|Google|",
            "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
        ),
        (
            "Edge|124.0.2478.51|Windows||desktop|Microsoft|",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51",
        ),
        (
            "Opera|109.0.0.0|Windows||desktop|Opera|",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36 OPR/109.0.0.0",
        ),
        (
            "Samsung Internet|24.0|Android|13|mobile|Samsung|",
            "Mozilla/5.0 (Linux; Android 13; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36",
        ),
        (
            "Firefox|125.0|Linux||desktop|Mozilla|",
            "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
        ),
        (
            "Chrome|124.0.0.0|ChromeOS||desktop|Google|",
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
fn apps_consoles_televisions_and_old_telephones_have_names() {
    for (expected, user_agent) in [
        (
            "Facebook|466.1.0.33.107|iOS|17.5.1|mobile|Meta|",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/466.1.0.33.107;FBBV/609000000;FBDV/iPhone14,3;FBMD/iPhone;FBSN/iOS;FBSV/17.5.1]",
        ),
        (
            "Facebook|466.0.0.57.85|Android|14|mobile|Meta|",
            "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/125.0.6422.165 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/466.0.0.57.85;]",
        ),
        (
            "Instagram|333.0.2.28.82|iOS|26.4.1|mobile|Meta|",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 333.0.2.28.82 (iPhone14,5; iOS 26_4_1; en_US; en; scale=3.00; 1170x2532; 604000000)",
        ),
        (
            "TikTok|30.2.3|Android|13|mobile|ByteDance|",
            "Mozilla/5.0 (Linux; Android 13; SM-A536B Build/TP1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0.0.0 Mobile Safari/537.36 musical_ly_2023002030 JsSdk/1.0 AppName/musical_ly app_version/30.2.3 BytedanceWebview/d8a21c6",
        ),
        (
            "Android WebView|153.0.8010.36|Android|15|mobile|Google|",
            "Mozilla/5.0 (Linux; Android 15; V2302 Build/AP3A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/153.0.8010.36 Mobile Safari/537.36",
        ),
        (
            "iOS WebView||iOS||mobile|Apple|",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        ),
        (
            "Chrome|154.0.8037.55|iOS|26.6.2|mobile|Google|",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 26_6_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/154.0.8037.55 Mobile/15E148 Safari/604.1",
        ),
        (
            "Firefox|126.0|iOS|17.5|mobile|Mozilla|",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/126.0 Mobile/15E148 Safari/605.1.15",
        ),
        (
            "Safari|26.6.1|iOS|26.6.1|mobile|Apple|",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.6.1 Mobile/15E148 Safari/604.1",
        ),
        (
            "Brave||iOS|18.6|mobile|Brave|",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1 Brave",
        ),
        (
            "Firefox|125.0|Android|14|tablet|Mozilla|",
            "Mozilla/5.0 (Android 14; Tablet; rv:125.0) Gecko/125.0 Firefox/125.0",
        ),
        (
            "Edge|44.18363.8131|Xbox||console|Microsoft|",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox Series X) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edge/44.18363.8131",
        ),
        (
            "||PlayStation 5|6.50|console||",
            "Mozilla/5.0 (PlayStation; PlayStation 5/6.50) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.4 Safari/605.1.15",
        ),
        (
            "||Tizen|6|tv||",
            "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36",
        ),
        (
            "Chrome|79.0.3945.79|webOS||tv|Google|",
            "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.79 Safari/537.36 WebAppManager",
        ),
        (
            "Firefox|48.0|KaiOS|2.5|mobile|Mozilla|",
            "Mozilla/5.0 (Mobile; LYF/F320B; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
        ),
        (
            "Android Browser|4.0|Android|4.0.3|mobile|Google|",
            "Mozilla/5.0 (Linux; U; Android 4.0.3; de-ch; HTC Sensation Build/IML74K) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
        ),
        (
            "Internet Explorer|8.0|Windows|7|desktop|Microsoft|",
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)",
        ),
        (
            "Edge|15.14977|Windows Phone|10|mobile|Microsoft|",
            "Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/52.0.2743.116 Mobile Safari/537.36 Edge/15.14977",
        ),
        ("Opera|12.18|Windows|7|desktop|Opera|", "Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18"),
        ("||iOS||mobile||", "AcmeShop/5.2 CFNetwork/1494.0.7 Darwin/23.4.0"),
        ("||Android|14|mobile||", "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UD1A)"),
    ] {
        assert_eq!(seen(user_agent, &[]), expected, "{user_agent}");
    }
}

#[test]
fn bots_are_bots_whatever_they_pretend() {
    for (reason, user_agent) in [
        (
            "search: Googlebot",
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        ),
        ("search: bingbot", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
        (
            "ai_crawler: ClaudeBot",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
        ),
        (
            "headless: HeadlessChrome",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
        ),
        ("library: curl", "curl/8.5.0"),
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
    assert_eq!(seen(frozen, &hints), "Chrome|124|Android|14|mobile|Google|");
    assert_eq!(part(frozen, &hints).field(8), &Value::text("Pixel 8"));
    assert_eq!(seen("", &hints), "Chrome|124|Android|14|mobile|Google|", "hints alone suffice");
}

#[test]
fn client_hints_do_not_hide_an_app_a_console_or_a_headless_browser() {
    let web_view = [("sec-ch-ua", r#""Android WebView";v="125", "Chromium";v="125""#), ("sec-ch-ua-mobile", "?1")];
    let facebook = "Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/125.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/466.0.0.57.85;]";
    assert_eq!(seen(facebook, &web_view), "Facebook|466.0.0.57.85|Android|14|mobile|Meta|");
    let windows = [("sec-ch-ua-platform", r#""Windows""#), ("sec-ch-ua-platform-version", r#""10.0.0""#)];
    let xbox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0";
    assert_eq!(seen(xbox, &windows), "Edge|120.0.0.0|Xbox||console|Microsoft|");
    let headless = [("sec-ch-ua", r#""HeadlessChrome";v="131", "Chromium";v="131""#)];
    let disguised =
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
    assert_eq!(seen(disguised, &headless), "Chrome|131|Linux||bot|Google|headless: HeadlessChrome");
    let tablet = [("sec-ch-ua-platform", r#""Android""#), ("sec-ch-ua-form-factors", r#""Tablet""#)];
    assert_eq!(seen(disguised, &tablet), "Chrome|131.0.0.0|Android||tablet|Google|");
}

#[test]
fn an_empty_header_is_a_bot_s_and_none_is_a_server_s() {
    let mut record = Record::default();
    for blank in ["", "  ", "-"] {
        record.event.user_agent = Some(blank.into());
        let part = run(&agent(), &record);
        assert_eq!(part.field(4), &Value::text("bot"));
        assert_eq!(part.field(6), &Value::text("empty user agent"));
        assert_eq!(part.field(7), &Value::Bool(true));
    }
}

#[test]
fn a_list_of_bots_that_cannot_be_used_is_refused_by_the_agent_s_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bots.tsv");
    std::fs::write(&path, "# ours\ngptbot ai\n").unwrap();
    let spec = spec_with(AgentKind::UserAgent { bots: Some(path.clone()) }, &[]);
    let error = UserAgent::new(&spec, Some(&path)).err().unwrap().to_string();
    assert!(error.starts_with("agent \"agent\": list of bots "), "{error}");
    assert!(error.contains("bots.tsv, line 2: a tab and a class belong after the mark"), "{error}");
}

#[test]
fn nothing_to_go_by_is_skipped_and_nonsense_is_unknown() {
    let skipped = part("", &[("sec-ch-ua", "")]);
    assert_eq!((skipped.provenance.outcome, skipped.provenance.reason), (Outcome::Skipped, Some(Reason::MissingInput)));
    let unknown = part("x", &[]);
    assert_eq!(unknown.provenance.outcome, Outcome::Ok);
    assert_eq!((unknown.field(0), unknown.field(7)), (&Value::Null, &Value::Bool(false)));
}

/// What is likely to confuse: pieces of real headers, control characters, scripts of all kinds.
fn pieces() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let piece = prop_oneof![
        Just("Mozilla/5.0 ("),
        Just("Windows NT "),
        Just("iPhone OS "),
        Just("18_7"),
        Just("Version/"),
        Just("26.1"),
        Just("CrOS x86_64 "),
        Just("Android "),
        Just("10; K)"),
        Just("Chrome/"),
        Just("bot"),
        Just("\0"),
        Just("🦊"),
        Just("\u{202e}"),
        Just("é"),
        Just("\""),
        Just(";"),
        Just("FBAV/"),
        Just("..__"),
        Just("compatible;"),
        Just(" "),
    ];
    proptest::collection::vec(prop_oneof![piece.prop_map(str::to_owned), "\\PC{0,6}"], 0..30)
        .prop_map(|pieces| pieces.concat())
}

proptest::proptest! {
    #[test]
    fn whatever_is_sent_is_survived(user_agent in pieces(), hints in "\\PC{0,80}", quoted in "[\",;v= a-z0-9]{0,60}") {
        let sent = [("sec-ch-ua", &*hints), ("sec-ch-ua-full-version-list", &*quoted), ("sec-ch-ua-platform", &*quoted)];
        part(&user_agent, &sent);
        part(&user_agent, &[]);
    }
}

#[test]
fn what_is_far_too_long_is_cut_before_it_is_looked_at() {
    for piece in ["ü", "\0", "🦊", "bot", "Version/26.", "Android 10; K)", "a", "((((", "compatible; "] {
        let long = piece.repeat(100_000 / piece.len());
        let cut = &long[..long.floor_char_boundary(MAX_HEADER)];
        let list = format!("\"{long}\";v=\"{long}\"");
        let sent = [("sec-ch-ua", &*list), ("sec-ch-ua-model", &*long)];
        assert_eq!(part(&long, &[]).fields, part(cut, &[]).fields, "{piece}");
        let shown: usize = part(&long, &sent).fields.iter().map(|value| value.to_string().len()).sum();
        assert!(shown < 4 * MAX_HEADER, "{piece}: {shown} bytes");
    }
}
