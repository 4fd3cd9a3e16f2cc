//! A touch: one visit's way here, as its event tells it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{
    channel::{Channel, click_kind},
    host::host,
    params::Params,
    referrers::{Referral, Referrers},
    word::{Word, cut},
};

/// Longest label as text, in bytes.
const MAX_LABEL: usize = 300;
/// The same way again within so long is the same visit, in milliseconds.
const VISIT_MS: i64 = 30 * 60 * 1000;

/// One visit's way here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Touch {
    /// In event time, milliseconds since 1970 UTC.
    pub at: i64,
    pub channel: Channel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Word>,
    /// `utm_campaign`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Word>,
    /// `utm_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Word>,
    /// Which click id, and the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click: Option<(Word, Word)>,
    /// The host that the visitor came from, unless it is the site's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrer: Option<Word>,
    /// What the campaigns' store says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
}

/// What credit goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label<'t> {
    /// `None`: a direct visit.
    source: Option<&'t str>,
    medium: &'t str,
    campaign: Option<&'t str>,
}

impl Label<'_> {
    /// `source/medium`, `source/medium/campaign` or `direct`, at most [`MAX_LABEL`] bytes.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(64);
        // Writing to a String does not fail.
        let _ = match (self.source, self.campaign) {
            (None, _) => write!(text, "{}", self.medium),
            (Some(source), None) => write!(text, "{source}/{}", self.medium),
            (Some(source), Some(campaign)) => write!(text, "{source}/{}/{campaign}", self.medium),
        };
        text.truncate(cut(&text, MAX_LABEL).len());
        text
    }
}

/// What the campaigns' store says of a touch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Found {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Word>,
    /// What the click cost, in the store's own currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

impl Touch {
    /// Reads one. `None`: the event tells of no way here (a page within the site, or no page at all). Where nothing
    /// says how somebody came to a page it is [`Channel::Direct`].
    pub fn read(
        params: Params,
        url: Option<&str>,
        referrer: Option<&str>,
        at_ms: i64,
        list: &Referrers,
    ) -> Option<Touch> {
        let from = referrer.and_then(host);
        let page = url.and_then(host);
        let referral = from.as_deref().map(|from| list.classify(from, page.as_deref()));
        let channel = if params.is_marked() {
            marked(&params, referral, list)
        } else {
            match referral {
                Some(Referral::From(channel)) => channel,
                Some(Referral::Internal) => return None,
                None if url.is_some_and(|url| !url.trim().is_empty()) => Channel::Direct,
                None => return None,
            }
        };
        let from = from.filter(|_| referral != Some(Referral::Internal));
        Some(Touch {
            at: at_ms,
            channel,
            source: params.source,
            medium: params.medium,
            campaign: params.campaign,
            term: params.term,
            content: params.content,
            id: params.id,
            click: params.click.map(|(kind, id)| (kind.name.into(), id)),
            referrer: from.as_deref().and_then(Word::new),
            found: None,
        })
    }

    /// Whether nothing says how somebody came.
    pub fn is_direct(&self) -> bool {
        self.channel == Channel::Direct
    }

    /// Whether both tell of one visit: of the same click, or of the same way within half an hour. A page reloaded, and
    /// every other event on the page, tell it again.
    pub fn is_same_visit(&self, other: &Touch) -> bool {
        if self.click.is_some() || other.click.is_some() {
            return self.click == other.click;
        }
        self.at.abs_diff(other.at) < VISIT_MS.unsigned_abs()
            && self.channel == other.channel
            && self.source == other.source
            && self.medium == other.medium
            && self.campaign == other.campaign
            && self.content == other.content
            && self.term == other.term
            && self.id == other.id
            && self.referrer == other.referrer
    }

    /// Whether this is no touch of its own after that one, which is not later: an application of a single page names the
    /// referrer of its first page again on every further one, where the mark is gone from the URL.
    pub fn is_echo_of(&self, before: &Touch) -> bool {
        let is_marked = self.click.is_some()
            || [&self.source, &self.medium, &self.campaign, &self.id].into_iter().any(Option::is_some);
        !is_marked
            && self.referrer.is_some()
            && self.referrer == before.referrer
            && self.at.saturating_sub(before.at) < VISIT_MS
    }

    /// The campaign's name: the store's, else the link's.
    pub fn campaign_name(&self) -> Option<&Word> {
        self.found.as_ref().and_then(|found| found.campaign.as_ref()).or(self.campaign.as_ref())
    }

    /// What credit goes by. Where the link names no source, the click id's network or the referrer does; where it names
    /// no medium, the channel.
    pub fn label(&self) -> Label<'_> {
        let source = match (&self.source, &self.click, &self.referrer) {
            (Some(source), _, _) => Some(&**source),
            (None, Some((kind, _)), _) => Some(click_kind(kind).map_or(&**kind, |kind| kind.network)),
            (None, None, Some(referrer)) => Some(&**referrer),
            (None, None, None) if self.is_direct() => None,
            (None, None, None) => Some("unknown"),
        };
        Label {
            source,
            medium: self.medium.as_deref().unwrap_or(self.channel.name()),
            campaign: self.campaign_name().map(|campaign| &**campaign),
        }
    }

    /// About as many bytes as it takes in the state.
    pub fn weight(&self) -> usize {
        let len = |word: &Option<Word>| word.as_ref().map_or(0, |word| word.len() + 16);
        let click = self.click.as_ref().map_or(0, |(kind, id)| kind.len() + id.len() + 16);
        let found = self.found.as_ref().map_or(0, |found| {
            len(&found.campaign) + len(&found.id) + len(&found.channel) + found.cost.map_or(0, |_| 24)
        });
        let texts = [&self.source, &self.medium, &self.campaign, &self.term, &self.content, &self.id, &self.referrer];
        48 + texts.into_iter().map(len).sum::<usize>() + click + found
    }
}

/// The channel of a marked link: its medium says it, else its click id, its source, the referrer.
fn marked(params: &Params, referral: Option<Referral>, list: &Referrers) -> Channel {
    let by_medium = params.medium.as_deref().and_then(Channel::of_medium);
    by_medium
        .or_else(|| params.click.as_ref().map(|(kind, _)| kind.channel))
        .or_else(|| params.source.as_deref().and_then(|source| list.of_source(source)))
        .or(match referral {
            Some(Referral::From(channel)) => Some(channel),
            _ => None,
        })
        .unwrap_or(Channel::Other)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn touch(url: &str, referrer: &str) -> Option<Touch> {
        let list = Referrers::load(None).unwrap();
        let params = Params::read(Some(url), &BTreeMap::new());
        Touch::read(params, Some(url), Some(referrer), 1000, &list)
    }

    fn way(url: &str, referrer: &str) -> String {
        touch(url, referrer)
            .map_or("none".to_owned(), |touch| format!("{} {}", touch.channel.name(), touch.label().text()))
    }

    #[test]
    fn every_way_here_has_its_channel_and_label() {
        let page = "https://shop.acme.example/p";
        for (query, referrer, expected) in [
            ("", "", "direct direct"),
            ("", "https://www.google.co.uk/", "search google.co.uk/search"),
            ("", "https://l.facebook.com/l.php", "social l.facebook.com/social"),
            ("", "https://mail.google.com/", "email mail.google.com/email"),
            ("", "https://a-blog.example/post", "referral a-blog.example/referral"),
            ("", "https://www.acme.example/", "none"),
            ("", "https://checkout.stripe.com/", "none"),
            ("?gclid=A", "https://www.google.com/", "paid google/paid"),
            ("?fbclid=A", "https://l.facebook.com/", "social meta/social"),
            ("?fbclid=A&utm_medium=paid_social&utm_source=ig", "", "paid ig/paid_social"),
            ("?utm_source=News&utm_medium=email&utm_campaign=May", "", "email News/email/May"),
            ("?utm_source=facebook", "", "social facebook/social"),
            ("?utm_source=flyer&utm_medium=qr", "", "other flyer/qr"),
            ("?utm_campaign=May", "https://www.bing.com/", "search bing.com/search/May"),
            ("?utm_campaign=May", "https://acme.example/", "other unknown/other/May"),
            ("?utm_source=google&utm_medium=cpc", "https://acme.example/", "paid google/cpc"),
        ] {
            assert_eq!(way(&format!("{page}{query}"), referrer), expected, "{query} from {referrer}");
        }
    }

    #[test]
    fn an_event_without_a_page_is_no_direct_visit() {
        let list = Referrers::default();
        assert_eq!(Touch::read(Params::default(), None, None, 0, &list), None);
        assert_eq!(Touch::read(Params::default(), Some(" "), None, 0, &list), None);
    }

    #[test]
    fn the_same_click_and_the_same_way_soon_after_are_one_visit() {
        let at = |url: &str, at| Touch { at, ..touch(url, "").unwrap() };
        let click = at("https://a.example/?gclid=A", 0);
        assert!(click.is_same_visit(&at("https://a.example/other?gclid=A&utm_source=x", i64::from(u32::MAX))));
        assert!(!click.is_same_visit(&at("https://a.example/?gclid=B", 0)));
        let link = at("https://a.example/?utm_source=x", 0);
        assert!(link.is_same_visit(&at("https://a.example/?utm_source=x&y=1", VISIT_MS - 1)));
        assert!(!link.is_same_visit(&at("https://a.example/?utm_source=x", VISIT_MS)));
        assert!(!link.is_same_visit(&at("https://a.example/?utm_source=x&utm_content=b", 1)));
    }

    proptest! {
        #[test]
        fn no_event_breaks_it(url in "\\PC{0,80}", referrer in "\\PC{0,80}") {
            if let Some(touch) = touch(&url, &referrer) {
                prop_assert!(touch.label().text().len() <= MAX_LABEL);
                let json = serde_json::to_string(&touch).unwrap();
                prop_assert_eq!(serde_json::from_str::<Touch>(&json).unwrap(), touch);
            }
        }
    }
}
