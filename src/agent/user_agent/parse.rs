//! Header and hints to a device. Pure.

use std::borrow::Cow;

use woothee::{parser::Parser, woothee::VALUE_UNKNOWN};

use super::{bot, hints::Hints};

/// What is known of a device; `None` is not known.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Device<'a> {
    pub browser: Option<Cow<'a, str>>,
    pub browser_version: Option<Cow<'a, str>>,
    pub os: Option<Cow<'a, str>>,
    pub os_version: Option<Cow<'a, str>>,
    /// `desktop`, `mobile`, `tablet`, `appliance` (a console, a television) or `bot`.
    pub class: Option<&'static str>,
    /// Who makes the browser.
    pub vendor: Option<&'a str>,
    /// From hints only.
    pub model: Option<&'a str>,
    /// `None`: a person, as far as one can tell.
    pub bot_reason: Option<&'static str>,
}

/// Puts header and hints together; hints win.
pub(super) fn parse<'a>(user_agent: &'a str, hints: &Hints<'a>) -> Device<'a> {
    let mut device = from_header(user_agent);
    apply(hints, &mut device);
    if let Some(reason) = bot::reason(user_agent) {
        device.bot_reason = Some(reason);
    }
    if device.bot_reason.is_some() {
        device.class = Some("bot");
    }
    device
}

fn from_header(user_agent: &str) -> Device<'_> {
    let Some(seen) = Parser::new().parse(user_agent) else { return Device::default() };
    let (os, os_version) = os(seen.os, &seen.os_version);
    let class = match seen.category {
        "pc" => Some("desktop"),
        "smartphone" if is_tablet(user_agent) => Some("tablet"),
        "smartphone" | "mobilephone" => Some("mobile"),
        "appliance" => Some("appliance"),
        _ => None,
    };
    Device {
        browser: known(seen.name).map(Cow::Borrowed),
        browser_version: known(seen.version).map(Cow::Borrowed),
        os,
        os_version,
        class,
        vendor: known(seen.vendor),
        model: None,
        bot_reason: (seen.category == "crawler").then_some("crawler"),
    }
}

/// What woothee says, unless it says that it does not know.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| *text != VALUE_UNKNOWN && !text.is_empty())
}

/// woothee knows no tablets. An Android that is not "Mobile" is one, by Google's advice to app makers.
fn is_tablet(user_agent: &str) -> bool {
    user_agent.contains("iPad") || (user_agent.contains("Android") && !user_agent.contains("Mobile"))
}

/// The operating system as people call it, and its version, from woothee's names ("Windows 10", "NT 10.0";
/// "Mac OSX", "10.15.7"; "iPhone", "17.4").
fn os<'a>(name: &'a str, version: &str) -> (Option<Cow<'a, str>>, Option<Cow<'a, str>>) {
    let Some(name) = known(name) else { return (None, None) };
    if let Some(release) = name.strip_prefix("Windows ").filter(|release| !release.starts_with("Phone")) {
        let release = Some(release).filter(|release| *release != "UNKNOWN Ver");
        return (Some("Windows".into()), release.map(Cow::Borrowed));
    }
    let name = match name {
        "Mac OSX" | "Mac OS Classic" => "macOS",
        "iPhone" | "iPad" | "iPod" => "iOS",
        other => other,
    };
    // "x86_64 14541.0.0" of ChromeOS; "10_15_7" of Apple's.
    let version = known(version).and_then(|version| version.rsplit(' ').next());
    (Some(name.into()), version.map(|version| version.replace('_', ".").into()))
}

fn apply<'a>(hints: &Hints<'a>, device: &mut Device<'a>) {
    if let Some(brand) = hints.browser {
        let (name, vendor) = browser(brand);
        device.browser = Some(name.into());
        device.vendor = vendor;
        device.browser_version = hints.version.map(Cow::Borrowed);
        // Who sends brands has a frozen header: the versions of systems in it are made up.
        device.os_version =
            device.os_version.take().filter(|_| !matches!(device.os.as_deref(), Some("Windows" | "macOS" | "Android")));
    }
    if let Some(platform) = hints.platform {
        let name = match platform {
            "Chrome OS" | "Chromium OS" => "ChromeOS",
            "Mac OS X" => "macOS",
            other => other,
        };
        if device.os.as_deref() != Some(name) {
            device.os_version = None;
        }
        device.os = Some(name.into());
        if let Some(version) = hints.platform_version {
            device.os_version = Some(if name == "Windows" { windows(version).into() } else { version.into() });
        }
    }
    device.class = match (hints.mobile, hints.platform) {
        (Some(true), _) => Some("mobile"),
        (Some(false), Some("Android")) => Some("tablet"),
        (Some(false), Some(_)) if matches!(device.class, None | Some("mobile")) => Some("desktop"),
        _ => device.class,
    };
    device.model = hints.model;
}

/// A brand as people call it, and who makes it.
fn browser(brand: &str) -> (&str, Option<&'static str>) {
    match brand {
        "Google Chrome" => ("Chrome", Some("Google")),
        "HeadlessChrome" => ("Chrome", Some("Google")),
        "Microsoft Edge" | "Microsoft Edge WebView2" => ("Edge", Some("Microsoft")),
        "Opera" | "Opera GX" => ("Opera", Some("Opera")),
        "Samsung Internet" => ("SamsungBrowser", Some("Samsung")),
        "Yandex" | "YaBrowser" => ("Yandex Browser", Some("Yandex")),
        "Brave" => ("Brave", Some("Brave")),
        "Vivaldi" => ("Vivaldi", Some("Vivaldi")),
        "DuckDuckGo" => ("DuckDuckGo", Some("DuckDuckGo")),
        other => (other, None),
    }
}

/// Windows' release from the version in `sec-ch-ua-platform-version`, by Microsoft's table ("Detect Windows 11
/// using User-Agent Client Hints").
fn windows(version: &str) -> &str {
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    match (major, version) {
        (Some(13..), _) => "11",
        (Some(1..=12), _) => "10",
        (_, version) if version.starts_with("0.3") => "8.1",
        (_, version) if version.starts_with("0.2") => "8",
        (_, version) if version.starts_with("0.1") => "7",
        _ => version,
    }
}
