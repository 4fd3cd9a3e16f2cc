//! Operating systems and their versions by what stands in a user agent, and classes of devices.
//!
//! Browsers freeze what they say of a system so that it does not identify people (WICG "User-Agent Reduction", WebKit's
//! release notes of Safari 26): `Windows NT 10.0` is 10 or 11, `Mac OS X 10_15_7` any macOS since, `Android 10; K` any
//! Android, and an iPhone is at 18_6 or 18_7 for ever. Such a version is not shown: none is better than a wrong one.

use std::borrow::Cow;

/// A mark of a system, and how to read its version from what follows the mark.
#[derive(Debug)]
pub(super) struct System {
    pub mark: &'static str,
    /// `None`: one that woothee knows better.
    pub name: Option<&'static str>,
    pub version: Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// The number that follows.
    Number,
    /// The number of Windows NT.
    Nt,
    Mac,
    Ios,
    Android,
    /// The number after the architecture.
    ChromeOs,
    Nothing,
}

const fn system(mark: &'static str, name: &'static str, version: Read) -> System {
    System { mark, name: Some(name), version }
}

const fn old(mark: &'static str) -> System {
    System { mark, name: None, version: Read::Nothing }
}

/// The first that is found counts. Case matters.
#[rustfmt::skip]
pub(super) static SYSTEMS: &[System] = &[
    old("Windows Phone"),
    old("Windows Mobile"),
    old("Windows CE"),
    old("Symbian"),
    old("BlackBerry"),
    old("BB10"),
    system("PlayStation 5/", "PlayStation 5", Read::Number),
    system("PlayStation 5 ", "PlayStation 5", Read::Number),
    system("PlayStation 5", "PlayStation 5", Read::Nothing),
    old("PlayStation"),
    old("PLAYSTATION"),
    system("Nintendo Switch", "Nintendo Switch", Read::Nothing),
    old("Nintendo"),
    system("Xbox", "Xbox", Read::Nothing),
    system("AppleTV", "tvOS", Read::Nothing),
    system("Apple TV", "tvOS", Read::Nothing),
    system("Roku/DVP-", "Roku OS", Read::Number),
    system("Roku", "Roku OS", Read::Nothing),
    system("Web0S", "webOS", Read::Nothing),
    system("webOS.TV-", "webOS", Read::Nothing),
    system("NetCast", "NetCast", Read::Nothing),
    system("Tizen ", "Tizen", Read::Number),
    system("Tizen/", "Tizen", Read::Number),
    system("KAIOS/", "KaiOS", Read::Number),
    system("OpenHarmony ", "HarmonyOS", Read::Number),
    system("HarmonyOS", "HarmonyOS", Read::Nothing),
    system("Windows NT ", "Windows", Read::Nt),
    system("iPhone OS ", "iOS", Read::Ios),
    system("CPU OS ", "iOS", Read::Ios),
    system("CPU like Mac OS X", "iOS", Read::Nothing),
    system("CrOS ", "ChromeOS", Read::ChromeOs),
    system("Android ", "Android", Read::Android),
    system("Android", "Android", Read::Nothing),
    system("Macintosh; Intel Mac OS X ", "macOS", Read::Mac),
    system("Macintosh", "macOS", Read::Nothing),
    old("FreeBSD"),
    old("OpenBSD"),
    old("NetBSD"),
    system("Linux", "Linux", Read::Nothing),
];

/// Marks of a class of device whatever the system. `None` is no class: the words mislead.
#[rustfmt::skip]
pub(super) static CLASSES: &[(&str, Option<&str>)] = &[
    ("PlayStation", Some("console")),
    ("PLAYSTATION", Some("console")),
    ("Nintendo", Some("console")),
    ("Xbox", Some("console")),
    ("SMART-TV", Some("tv")),
    ("SmartTV", Some("tv")),
    ("Smart TV", Some("tv")),
    ("SmartHub", Some("tv")),
    ("HbbTV", Some("tv")),
    ("AppleTV", Some("tv")),
    ("Apple TV", Some("tv")),
    ("GoogleTV", Some("tv")),
    ("Google TV", Some("tv")),
    ("Android TV", Some("tv")),
    ("AndroidTV", Some("tv")),
    ("BRAVIA", Some("tv")),
    ("; AFT", Some("tv")), // Amazon Fire TV: AFTMM, AFTS …
    ("CrKey", Some("tv")),
    ("Roku", Some("tv")),
    ("Web0S", Some("tv")),
    ("webOS.TV", Some("tv")),
    ("NetCast", Some("tv")),
    ("VIDAA", Some("tv")),
    ("OPR/TV", Some("tv")),
    ("SonyCEBrowser", Some("tv")),
    ("Viera", Some("tv")),
    ("MiTV", Some("tv")),
    ("MIBOX", Some("tv")),
    ("DTV", Some("tv")),
    ("iPad", Some("tablet")),
    ("Tablet PC", None), // Windows with a pen
    ("Tablet", Some("tablet")),
    ("Kindle", Some("tablet")),
    ("Opera Mini/", Some("mobile")),
    ("J2ME", Some("mobile")),
    ("PlayBook", Some("tablet")),
];

/// A system's version. Its mark ends at `end`, and a "Version/" at `safari`.
pub(super) fn version(read: Read, end: usize, safari: Option<usize>, user_agent: &str) -> Option<Cow<'_, str>> {
    let after = &user_agent[end..];
    let number = number(after);
    match read {
        Read::Nothing => None,
        Read::Number => number.map(plain),
        Read::Nt => nt(number?).map(Cow::Borrowed),
        Read::Mac => number.map(plain).filter(|version| !matches!(&**version, "10.15" | "10.15.7")),
        // Two words that an Android older than the reduction cannot have.
        Read::Android => number.filter(|number| !(*number == "10" && after[2..].starts_with("; K)"))).map(plain),
        Read::ChromeOs => {
            let version = after.split_once(' ').and_then(|(_, version)| self::number(version));
            version.filter(|version| *version != "14541.0.0").map(plain)
        }
        Read::Ios => {
            let told =
                |token: &str| user_agent.find(token).and_then(|at| self::number(&user_agent[at + token.len()..]));
            match (number, safari.and_then(|at| self::number(&user_agent[at..]))) {
                // Safari comes with the system and has its number since 26.
                (Some("18_6" | "18_7"), Some(safari)) if major(safari) >= 26 => Some(plain(safari)),
                // Web views are frozen too. Some apps add the version; Google's write it in the usual place.
                (Some("18_6" | "18_7"), None) if !["CriOS/", "GSA/"].iter().any(|app| user_agent.contains(app)) => {
                    told("FBSV/").or_else(|| told("; iOS ")).map(plain)
                }
                _ => number.map(plain),
            }
        }
    }
}

/// The number that a text begins with: digits, dots and Apple's underscores.
pub(super) fn number(text: &str) -> Option<&str> {
    let part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'_');
    let end = text.bytes().position(|byte| !part(&byte)).unwrap_or(text.len());
    Some(text[..end].trim_end_matches(['.', '_'])).filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

/// A version as people write it: with dots, without zeros at the end. Header and hints agree only so.
pub(super) fn plain(version: &str) -> Cow<'_, str> {
    let mut short = version;
    while let Some(shorter) = short.strip_suffix(".0").or_else(|| short.strip_suffix("_0")) {
        short = shorter;
    }
    if short.contains('_') { short.replace('_', ".").into() } else { short.into() }
}

fn major(version: &str) -> u32 {
    version.split(['.', '_']).next().and_then(|major| major.parse().ok()).unwrap_or_default()
}

/// The release of Windows by the number of its kernel.
fn nt(number: &str) -> Option<&'static str> {
    Some(match number {
        "6.3" => "8.1",
        "6.2" => "8",
        "6.1" => "7",
        "6.0" => "Vista",
        "5.1" | "5.2" => "XP",
        _ => return None,
    })
}

/// Windows' release from the version in `sec-ch-ua-platform-version`, by Microsoft's table ("Detect Windows 11
/// using User-Agent Client Hints").
pub(super) fn windows(version: &str) -> &str {
    match (major(version), version) {
        (13.., _) => "11",
        (1..=12, _) => "10",
        (_, version) if version.starts_with("0.3") => "8.1",
        (_, version) if version.starts_with("0.2") => "8",
        (_, version) if version.starts_with("0.1") => "7",
        _ => version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_plainly() {
        for (given, expected) in
            [("14.0.0", "14"), ("17_4_1", "17.4.1"), ("18_0", "18"), ("10.0", "10"), ("0", "0"), ("8.1.0", "8.1")]
        {
            assert_eq!(plain(given), expected);
        }
        assert_eq!(number("10_15_7) x"), Some("10_15_7"));
        assert_eq!(number("5."), Some("5"));
        assert_eq!((number(""), number("x1"), number(".")), (None, None, None));
    }

    #[test]
    fn windows_11_is_known_by_its_hint_only() {
        for (given, expected) in
            [("13.0.0", "11"), ("19.0.0", "11"), ("12.0.0", "10"), ("10.0.0", "10"), ("0.3.0", "8.1"), ("0.1.0", "7")]
        {
            assert_eq!(windows(given), expected);
        }
        assert_eq!(nt("10.0"), None);
    }
}
