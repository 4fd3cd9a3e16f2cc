//! Browsers and apps by the product tokens in a user agent, and by the brands in client hints.
//!
//! Tokens as their makers document them, or as they were seen in 2026. All of Apple's telephones run Safari's engine
//! and most other browsers Chromium, whose tokens they carry along: so the order of the table matters.

/// Where a browser's version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Right after the token.
    Here,
    /// After this other token.
    After(&'static str),
    /// After "Version/".
    Safaris,
    /// Nowhere.
    Unsaid,
}

use Version::{After, Here, Safaris, Unsaid};

/// A token and whose it is.
#[derive(Debug)]
pub(super) struct Browser {
    pub token: &'static str,
    pub name: &'static str,
    pub vendor: &'static str,
    pub version: Version,
}

const fn browser(token: &'static str, name: &'static str, vendor: &'static str, version: Version) -> Browser {
    Browser { token, name, vendor, version }
}

/// Safari and web views of Apple's, which need a second look: their tokens stand in other browsers too.
pub(super) const SAFARI: &str = "Safari";
pub(super) const IOS_WEB_VIEW: &str = "iOS WebView";

/// The first that is found counts. Case matters.
#[rustfmt::skip]
pub(super) static BROWSERS: &[Browser] = &[
    // Browsers within apps
    browser("FBAN/Messenger", "Messenger", "Meta", After("FBAV/")),
    browser("FB_IAB/Messenger", "Messenger", "Meta", After("FBAV/")),
    browser("FB_IAB/Orca", "Messenger", "Meta", After("FBAV/")),
    browser("FBAN/", "Facebook", "Meta", After("FBAV/")),
    browser("FB_IAB/", "Facebook", "Meta", After("FBAV/")),
    browser("FBAV/", "Facebook", "Meta", Here),
    browser("MetaIAB Facebook", "Facebook", "Meta", After("FBAV/")),
    browser("Instagram ", "Instagram", "Meta", Here),
    browser("Barcelona ", "Threads", "Meta", Here),
    browser("musical_ly", "TikTok", "ByteDance", After("app_version/")),
    browser("BytedanceWebview/", "TikTok", "ByteDance", After("app_version/")),
    browser("trill_", "TikTok", "ByteDance", After("app_version/")),
    browser("TikTok ", "TikTok", "ByteDance", Here),
    browser("Snapchat/", "Snapchat", "Snap", Here),
    browser("Snapchat ", "Snapchat", "Snap", Here),
    browser("LinkedInApp", "LinkedIn", "LinkedIn", After("LinkedInApp]/")),
    browser("[Pinterest/", "Pinterest", "Pinterest", Unsaid),
    browser("Pinterest for ", "Pinterest", "Pinterest", Unsaid),
    browser("Twitter for ", "X", "X", After("Twitter for iPhone/")),
    browser("TwitterAndroid", "X", "X", Unsaid),
    browser("RedditApp", "Reddit", "Reddit", Unsaid),
    browser("MicroMessenger/", "WeChat", "Tencent", Here),
    browser(" Line/", "LINE", "LY Corporation", Here),
    browser("KAKAOTALK", "KakaoTalk", "Kakao", After("KAKAOTALK ")),
    browser("NAVER(", "Naver", "Naver", Unsaid),
    browser("DaumApps/", "Daum", "Kakao", Here),
    browser("baiduboxapp/", "Baidu", "Baidu", Here),
    browser("GSA/", "Google app", "Google", Here),
    // Browsers that are Chromium's or Safari's within
    browser("EdgA/", "Edge", "Microsoft", Here),
    browser("EdgiOS/", "Edge", "Microsoft", Here),
    browser("Edg/", "Edge", "Microsoft", Here),
    browser("Edge/", "Edge", "Microsoft", Here),
    browser("Opera Mini/", "Opera Mini", "Opera", Here),
    browser("OPR/", "Opera", "Opera", Here),
    browser("OPiOS/", "Opera", "Opera", Here),
    browser("OPT/", "Opera", "Opera", Here),
    browser("OPX/", "Opera", "Opera", Here),
    browser("SamsungBrowser/", "Samsung Internet", "Samsung", Here),
    browser("YaBrowser/", "Yandex Browser", "Yandex", Here),
    browser("Vivaldi/", "Vivaldi", "Vivaldi", Here),
    browser("Brave/", "Brave", "Brave", Here),
    browser(" Brave", "Brave", "Brave", Unsaid),
    browser("DuckDuckGo/", "DuckDuckGo", "DuckDuckGo", Here),
    browser("Ddg/", "DuckDuckGo", "DuckDuckGo", Here),
    browser("Ecosia android@", "Ecosia", "Ecosia", Here),
    browser("Ecosia ios@", "Ecosia", "Ecosia", Here),
    browser("UCBrowser/", "UC Browser", "Alibaba", Here),
    browser("MiuiBrowser/", "Mi Browser", "Xiaomi", Here),
    browser("HuaweiBrowser/", "Huawei Browser", "Huawei", Here),
    browser("ArkWeb/", "Huawei Browser", "Huawei", Here),
    browser("HeyTapBrowser/", "HeyTap Browser", "Oppo", Here),
    browser("VivoBrowser/", "Vivo Browser", "Vivo", Here),
    browser("Whale/", "Whale", "Naver", Here),
    browser("Silk/", "Silk", "Amazon", Here),
    browser("OculusBrowser/", "Meta Quest Browser", "Meta", Here),
    browser("QQBrowser/", "QQ Browser", "Tencent", Here),
    browser("coc_coc_browser/", "Coc Coc", "Coc Coc", Here),
    browser("Avast/", "Avast Secure Browser", "Gen Digital", Here),
    browser("AVG/", "AVG Secure Browser", "Gen Digital", Here),
    browser("CCleaner/", "CCleaner Browser", "Gen Digital", Here),
    browser("Puffin/", "Puffin", "CloudMosa", Here),
    browser("Maxthon/", "Maxthon", "Maxthon", Here),
    browser("Falkon/", "Falkon", "KDE", Here),
    browser("Epiphany/", "GNOME Web", "GNOME", Here),
    browser("NintendoBrowser/", "Nintendo Browser", "Nintendo", Here),
    browser("Electron/", "Electron", "OpenJS", Here),
    // Firefox and its kin
    browser("FxiOS/", "Firefox", "Mozilla", Here),
    browser("Focus/", "Firefox Focus", "Mozilla", Here),
    browser("Klar/", "Firefox Focus", "Mozilla", Here),
    browser("PaleMoon/", "Pale Moon", "Moonchild", Here),
    browser("Waterfox/", "Waterfox", "Waterfox", Here),
    browser("SeaMonkey/", "SeaMonkey", "SeaMonkey", Here),
    browser("Firefox/", "Firefox", "Mozilla", Here),
    // The engines' own
    browser("CriOS/", "Chrome", "Google", Here),
    browser("; wv)", "Android WebView", "Google", After("Chrome/")),
    browser("Version/4.0 Chrome/", "Android WebView", "Google", Here),
    browser("Chrome/", "Chrome", "Google", Here),
    browser("Safari/", SAFARI, "Apple", Safaris),
    browser("Mobile/", IOS_WEB_VIEW, "Apple", Unsaid),
];

/// A brand of client hints as people call it, and who makes it.
pub(super) fn brand(brand: &str) -> (&str, Option<&'static str>) {
    match brand {
        "Google Chrome" | "HeadlessChrome" => ("Chrome", Some("Google")),
        "Microsoft Edge" | "Microsoft Edge WebView2" => ("Edge", Some("Microsoft")),
        "Opera GX" | "OperaMobile" => ("Opera", Some("Opera")),
        "YaBrowser" | "Yandex" => ("Yandex Browser", Some("Yandex")),
        "Chromium" => ("Chromium", None),
        other => (other, BROWSERS.iter().find(|browser| browser.name == other).map(|browser| browser.vendor)),
    }
}

/// Whether a brand names an engine only, so that a header may know better.
pub(super) fn is_engine(brand: &str) -> bool {
    matches!(brand, "Chromium" | "Android WebView")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_hidden_by_an_earlier_one() {
        for (at, browser) in BROWSERS.iter().enumerate() {
            let hiding = BROWSERS[..at].iter().find(|earlier| browser.token.contains(earlier.token));
            assert!(hiding.is_none_or(|earlier| earlier.name == browser.name), "{browser:?} by {hiding:?}");
        }
    }

    #[test]
    fn brands_are_called_as_in_the_table() {
        for (given, expected) in [
            ("Google Chrome", ("Chrome", Some("Google"))),
            ("Microsoft Edge", ("Edge", Some("Microsoft"))),
            ("Samsung Internet", ("Samsung Internet", Some("Samsung"))),
            ("Brave", ("Brave", Some("Brave"))),
            ("Opera", ("Opera", Some("Opera"))),
            ("DuckDuckGo", ("DuckDuckGo", Some("DuckDuckGo"))),
            ("Somebody's", ("Somebody's", None)),
        ] {
            assert_eq!(brand(given), expected);
        }
    }
}
