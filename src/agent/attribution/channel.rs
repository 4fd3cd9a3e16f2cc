//! Channels: the kinds of ways by which people come, and what a medium says of them.

use serde::{Deserialize, Serialize};

/// How somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::agent) enum Channel {
    /// Advertising, of whatever kind.
    Paid,
    /// A search engine's own results.
    Search,
    Social,
    Email,
    /// A link on another site.
    Referral,
    /// Nothing says how.
    Direct,
    /// Marked by its sender with a medium that we do not know.
    Other,
}

impl Channel {
    /// Its name in records and in the list of referrers.
    pub const fn name(self) -> &'static str {
        match self {
            Channel::Paid => "paid",
            Channel::Search => "search",
            Channel::Social => "social",
            Channel::Email => "email",
            Channel::Referral => "referral",
            Channel::Direct => "direct",
            Channel::Other => "other",
        }
    }

    /// What a medium (`utm_medium`) says; `None` where we do not know it. Words and order follow Google Analytics'
    /// default channel group, with all advertising in one channel.
    pub fn of_medium(medium: &str) -> Option<Channel> {
        let medium = medium.trim().to_ascii_lowercase();
        let has = |word: &str| medium.contains(word);
        Some(match medium.as_str() {
            "cpc" | "ppc" | "cpm" | "cpv" | "cpa" | "cpp" | "cpi" | "ads" | "ad" | "display" | "banner"
            | "interstitial" | "expandable" | "retargeting" | "remarketing" => Channel::Paid,
            _ if has("paid") || has("cpc") || has("ppc") => Channel::Paid,
            "e-mail" | "e_mail" | "e mail" | "mail" | "newsletter" => Channel::Email,
            _ if has("email") => Channel::Email,
            "sm" => Channel::Social,
            _ if has("social") => Channel::Social,
            "organic" | "search" | "seo" => Channel::Search,
            "referral" | "affiliate" | "affiliates" | "partner" | "link" | "app" => Channel::Referral,
            _ => return None,
        })
    }
}

/// A click id: what an advertising network adds to the link of each click.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) struct ClickKind {
    /// The parameter, as the network writes it.
    pub name: &'static str,
    /// Who adds it: stands in for a source where there is none.
    pub network: &'static str,
    /// What it says of the channel where no medium does.
    pub channel: Channel,
}

const fn click(name: &'static str, network: &'static str, channel: Channel) -> ClickKind {
    ClickKind { name, network, channel }
}

/// Every click id that is read. Of several in one URL the first of this list counts.
pub(in crate::agent) static CLICK_IDS: [ClickKind; 12] = [
    click("gclid", "google", Channel::Paid),
    // Google's ids for clicks in apps, which name no person.
    click("wbraid", "google", Channel::Paid),
    click("gbraid", "google", Channel::Paid),
    // Campaign Manager 360.
    click("dclid", "google", Channel::Paid),
    click("msclkid", "microsoft", Channel::Paid),
    // Meta adds it to every link that leaves it, advertisement or not.
    click("fbclid", "meta", Channel::Social),
    click("ttclid", "tiktok", Channel::Paid),
    click("twclid", "x", Channel::Paid),
    click("li_fat_id", "linkedin", Channel::Paid),
    click("ScCid", "snapchat", Channel::Paid),
    click("epik", "pinterest", Channel::Paid),
    click("rdt_cid", "reddit", Channel::Paid),
];

/// The row of a click id of that name.
pub(super) fn click_kind(name: &str) -> Option<&'static ClickKind> {
    CLICK_IDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_says_the_channel() {
        for (medium, channel) in [
            ("cpc", Channel::Paid),
            (" CPC ", Channel::Paid),
            ("paid_social", Channel::Paid),
            ("Paid-Search", Channel::Paid),
            ("newsletter", Channel::Email),
            ("transactional-email", Channel::Email),
            ("social-media", Channel::Social),
            ("organic", Channel::Search),
            ("organic_social", Channel::Social),
            ("affiliate", Channel::Referral),
        ] {
            assert_eq!(Channel::of_medium(medium), Some(channel), "{medium}");
        }
        assert_eq!(Channel::of_medium("qr-code"), None);
        assert_eq!(Channel::of_medium(""), None);
    }

    #[test]
    fn every_click_id_is_found_whatever_its_case() {
        for kind in &CLICK_IDS {
            assert_eq!(click_kind(&kind.name.to_ascii_uppercase()), Some(kind));
        }
        assert_eq!(click_kind("utm_id"), None);
    }
}
