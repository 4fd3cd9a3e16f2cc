//! Header and hints to a device. Pure.
//!
//! Our own tables know what people use today; woothee, whose data is of 2021, is asked for the rest: older browsers,
//! telephones and consoles, and crawlers of its time. Client hints win over both.

use std::{borrow::Cow, sync::Arc};

use woothee::{parser::Parser, woothee::VALUE_UNKNOWN};

use super::{
    bots::{Bots, Verdict},
    browsers::{self, Browser, Version},
    hints::Hints,
    marks::{self, Seen},
    systems,
};

/// What is known of a device; `None` is not known.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Device<'a> {
    pub browser: Option<Cow<'a, str>>,
    pub browser_version: Option<Cow<'a, str>>,
    pub os: Option<Cow<'a, str>>,
    pub os_version: Option<Cow<'a, str>>,
    /// `desktop`, `mobile`, `tablet`, `tv`, `console` or `bot`.
    pub class: Option<&'static str>,
    /// Who makes the browser.
    pub vendor: Option<&'a str>,
    /// From hints only.
    pub model: Option<&'a str>,
    /// `None`: a person, as far as one can tell.
    pub bot_reason: Option<Arc<str>>,
}

/// Puts header and hints together; hints win. `user_agent` is not blank unless there are hints.
pub(super) fn parse<'a>(user_agent: &'a str, hints: &Hints<'a>, bots: &Bots) -> Device<'a> {
    let verdict = bots.verdict(user_agent);
    let (mut device, crawler) = from_header(user_agent);
    apply(hints, &mut device);
    device.bot_reason = match verdict {
        Verdict::Bot(reason) => Some(reason),
        Verdict::Person => None,
        Verdict::Unlisted => match hints.browser.map(|brand| bots.verdict(brand)) {
            Some(Verdict::Bot(reason)) => Some(reason),
            _ => crawler.map(|name| format!("crawler: {name}").into()),
        },
    };
    if device.bot_reason.is_some() {
        device.class = Some("bot");
    }
    device
}

/// What the header says, and the crawler that woothee knows it for.
fn from_header(user_agent: &str) -> (Device<'_>, Option<&str>) {
    let seen = marks::look(user_agent);
    let mut device = Device::default();
    if let Some((system, end)) = seen.system {
        device.os = system.name.map(Cow::Borrowed);
        device.os_version = systems::version(system.version, end, seen.version, user_agent);
    }
    if let Some((browser, end)) = seen.browser
        && let Some((name, vendor)) = itself(browser, &device, seen.version.is_some())
    {
        device.browser = Some(name.into());
        device.vendor = Some(vendor);
        let here = match browser.version {
            Version::Here => Some(end),
            Version::Safaris => seen.version,
            Version::After(token) => user_agent.find(token).map(|at| at + token.len()),
            Version::Unsaid => None,
        };
        device.browser_version = here.and_then(|at| systems::number(&user_agent[at..])).map(Cow::Borrowed);
    }
    device.class = class(&seen, device.os.as_deref(), device.browser.is_some());
    let crawler =
        if device.browser.is_none() || device.os.is_none() { ask_woothee(user_agent, &mut device) } else { None };
    (device, crawler)
}

/// Name and maker. Safari's tokens stand in many a browser; the real one is Apple's and says its version.
fn itself(browser: &Browser, device: &Device<'_>, says_version: bool) -> Option<(&'static str, &'static str)> {
    match (browser.name, device.os.as_deref()) {
        (browsers::SAFARI, Some("iOS" | "macOS")) if says_version => Some((browser.name, browser.vendor)),
        (browsers::SAFARI, Some("Android")) if says_version => Some(("Android Browser", "Google")),
        (browsers::IOS_WEB_VIEW, Some("iOS")) => Some((browser.name, browser.vendor)),
        (browsers::SAFARI | browsers::IOS_WEB_VIEW, _) => None,
        _ => Some((browser.name, browser.vendor)),
    }
}

/// The class by its own marks, else by the system. A browser on Android that is not "Mobile" is on a tablet, by
/// Google's advice to makers of browsers.
fn class(seen: &Seen, os: Option<&str>, is_browser: bool) -> Option<&'static str> {
    seen.class.or(match (os?, seen.mobile) {
        ("iOS" | "KaiOS", _) => Some("mobile"),
        ("Android" | "HarmonyOS", false) => Some("tablet").filter(|_| is_browser),
        ("Android" | "HarmonyOS" | "Linux" | "Tizen", true) => Some("mobile"),
        ("Windows" | "macOS" | "ChromeOS" | "Linux", _) => Some("desktop"),
        _ => None,
    })
}

/// Fills in what is not known yet. The name of a crawler, if woothee takes it for one.
fn ask_woothee<'a>(user_agent: &'a str, device: &mut Device<'a>) -> Option<&'a str> {
    let seen = Parser::new().parse(user_agent)?;
    // It calls everything Safari that has the engine of Safari's, televisions too.
    let is_safari = seen.name == browsers::SAFARI;
    let is_guess = is_safari && (known(seen.version).is_none() || matches!(device.class, Some("tv" | "console")));
    if device.browser.is_none() && !is_guess {
        device.browser = known(seen.name).map(Cow::Borrowed);
        device.browser_version = known(seen.version).map(Cow::Borrowed);
        device.vendor = known(seen.vendor);
    }
    if device.os.is_none() {
        (device.os, device.os_version) = os(seen.os, &seen.os_version);
    }
    device.class = device.class.or(match seen.category {
        "pc" => Some("desktop"),
        "smartphone" | "mobilephone" => Some("mobile"),
        "appliance" => Some("console"),
        _ => None,
    });
    known(seen.name).filter(|_| seen.category == "crawler")
}

/// What woothee says, unless it says that it does not know.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| *text != VALUE_UNKNOWN && !text.is_empty())
}

/// The operating system as people call it, and its version, from woothee's names ("Windows 7", "NT 6.1"; "Mac OSX",
/// "10.4"; "iPhone", "4.1").
fn os<'a>(name: &'a str, version: &str) -> (Option<Cow<'a, str>>, Option<Cow<'a, str>>) {
    let Some(name) = known(name) else { return (None, None) };
    if let Some(release) = name.strip_prefix("Windows ").filter(|release| !release.starts_with("Phone")) {
        let release = Some(release).filter(|release| !matches!(*release, "UNKNOWN Ver" | "10"));
        return (Some("Windows".into()), release.map(Cow::Borrowed));
    }
    let name = match name {
        "Mac OSX" | "Mac OS Classic" => "macOS",
        "iPhone" | "iPad" | "iPod" => "iOS",
        "Windows Phone OS" => "Windows Phone",
        other => other,
    };
    let version = known(version).and_then(systems::number).map(|version| systems::plain(version).into_owned().into());
    (Some(name.into()), version)
}

fn apply<'a>(hints: &Hints<'a>, device: &mut Device<'a>) {
    // A brand that is an engine's only says less than an app that named itself.
    let told = device.browser.as_deref().is_some_and(|browser| browser != "Chrome");
    if let Some(brand) = hints.browser.filter(|brand| !(told && browsers::is_engine(brand))) {
        let (name, vendor) = browsers::brand(brand);
        device.browser = Some(name.into());
        device.vendor = vendor;
        device.browser_version = hints.version.map(Cow::Borrowed);
    }
    if let Some(platform) = hints.platform {
        let name = match platform {
            "Chrome OS" | "Chromium OS" => "ChromeOS",
            "Mac OS X" => "macOS",
            other => other,
        };
        // A console says "Windows" in its hints, and its own name in the header.
        if device.os.as_deref() != Some(name) && device.class != Some("console") {
            device.os_version = None;
            device.os = Some(name.into());
        }
        if let Some(version) = hints.platform_version.filter(|_| device.os.as_deref() == Some(name)) {
            let version = if name == "Windows" { systems::windows(version).into() } else { systems::plain(version) };
            device.os_version = Some(version);
        }
    }
    device.class = match (hints.form_factor, hints.mobile, hints.platform) {
        // What stands in a living room says so in its header only.
        _ if matches!(device.class, Some("tv" | "console")) => device.class,
        (Some(class), ..) => Some(class),
        (None, Some(true), _) => Some("mobile"),
        (None, Some(false), Some("Android")) => Some("tablet"),
        (None, Some(false), Some(_)) if matches!(device.class, None | Some("mobile")) => Some("desktop"),
        _ => device.class,
    };
    device.model = hints.model;
}
