//! Which campaign an event came with, as far as telling two apart needs it: hashes, nothing to show.

use serde::{Deserialize, Serialize};

use crate::{agent::attribution::Params, event::Event};

/// What tells one campaign from another: UTM source, medium, name and id, and click ids, read as attribution reads them.
/// Term and content are variants of one campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Campaign {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    utm: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    click: Option<u64>,
}

impl Campaign {
    /// The campaign that an event names, if it names one.
    pub fn of(event: &Event) -> Self {
        let params = Params::read(event.url.as_deref(), &event.campaign);
        let utm = [&params.source, &params.medium, &params.campaign, &params.id];
        let utm = utm.map(|word| text_hash(word.as_deref()?));
        let click = params.click.map(|(kind, id)| fnv1a(id.bytes(), fnv1a(kind.name.bytes(), FNV_OFFSET)));
        let all = || fnv1a(utm.iter().flat_map(|hash| hash.unwrap_or_default().to_be_bytes()), FNV_OFFSET);
        Campaign { utm: (utm != [None; 4]).then(all), click }
    }

    /// Whether an event of `next` continues a visit of this campaign: it names none, or the same. What both name is
    /// compared; naming nothing in common, they are two.
    pub fn is_continued_by(&self, next: &Campaign) -> bool {
        if next.utm.is_none() && next.click.is_none() {
            return true;
        }
        let same = |mine: Option<u64>, other: Option<u64>| mine.zip(other).map(|(mine, other)| mine == other);
        match (same(self.utm, next.utm), same(self.click, next.click)) {
            (None, None) => false,
            (utm, click) => utm.unwrap_or(true) && click.unwrap_or(true),
        }
    }

    /// Takes over what it does not know yet.
    pub fn fill(&mut self, other: &Campaign) {
        self.utm = self.utm.or(other.utm);
        self.click = self.click.or(other.click);
    }
}

/// Of a text whose case does not count; `None` is an empty one.
fn text_hash(text: &str) -> Option<u64> {
    let lower = text.chars().flat_map(char::to_lowercase).flat_map(|char| u32::from(char).to_be_bytes());
    (!text.is_empty()).then(|| fnv1a(lower, FNV_OFFSET))
}

/// Where FNV-1a begins.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>). Its result stands in kept state, so it must not
/// change with the compiler as the standard library's hasher may.
fn fnv1a(bytes: impl Iterator<Item = u8>, from: u64) -> u64 {
    bytes.fold(from, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::attribution::CLICK_IDS;

    fn of(url: &str, campaign: &[(&str, &str)]) -> Campaign {
        let campaign = campaign.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Campaign::of(&Event { url: Some(url.into()), campaign, ..Event::default() })
    }

    #[test]
    fn parameters_of_the_url_and_the_context_name_the_same_campaign() {
        let url = of("https://acme.example/?utm_source=Google&utm_medium=cpc&utm_campaign=autumn+trial#x?y", &[]);
        let map = of("https://acme.example/", &[("source", "google"), ("medium", "cpc"), ("name", "Autumn Trial")]);
        assert_eq!(url, map);
        assert_ne!(url, Campaign::default());
        assert_eq!(of("https://acme.example/?q=utm_source", &[]), Campaign::default());
        assert!(of("https://acme.example/#?gclid=1", &[]).click.is_some(), "routers put queries there");
    }

    #[test]
    fn every_click_id_counts_and_its_case_too() {
        for name in CLICK_IDS.iter().map(|kind| kind.name) {
            let one = of(&format!("https://acme.example/?{name}=AbC"), &[]);
            assert!(one.click.is_some(), "{name}");
            assert_ne!(one, of(&format!("https://acme.example/?{name}=abc"), &[]));
        }
        assert_eq!(of("https://acme.example/?gclid=", &[]), Campaign::default());
    }

    #[test]
    fn what_attribution_calls_a_campaign_is_one_here() {
        let plain = of("https://a.example/?utm_source=x&gclid=G", &[]);
        for url in [
            "https://a.example/#utm_source=x&gclid=G",
            "https://a.example/#/p?UTM_Source=X&GCLID=G",
            "https://a.example/?utm_source=x&utm_source=y&gclid=&gclid=G",
            "https://a.example/?utm_source=x&amp;gclid=G",
            "https://a.example/?utm_source=+x+&gclid=G&fbclid=F",
        ] {
            assert_eq!(of(url, &[]), plain, "{url}");
        }
        assert_eq!(of("https://a.example/?utm_source=x&gclid=G", &[("source", "y")]), plain, "the URL's goes first");
    }

    #[test]
    fn hashes_never_change() {
        let campaign = of("https://acme.example/?utm_source=google&gclid=AbC", &[]);
        assert_eq!(fnv1a("foobar".bytes(), FNV_OFFSET), 0x8594_4171_f739_67e8, "of the authors' own test vectors");
        assert_eq!(
            serde_json::to_string(&campaign).unwrap(),
            r#"{"utm":8421127491968885127,"click":5562401359729341988}"#,
            "it stands in kept state"
        );
    }

    #[test]
    fn what_both_name_decides() {
        let newsletter = of("https://a.example/?utm_source=newsletter", &[]);
        let click = of("https://a.example/?gclid=1", &[]);
        let both = of("https://a.example/?utm_source=newsletter&gclid=1", &[]);
        let none = Campaign::default();
        assert!(newsletter.is_continued_by(&none) && none.is_continued_by(&none));
        assert!(!none.is_continued_by(&newsletter), "a direct visit, then an advertisement");
        assert!(newsletter.is_continued_by(&both) && both.is_continued_by(&click));
        assert!(!newsletter.is_continued_by(&click));
        assert!(!both.is_continued_by(&of("https://a.example/?utm_source=newsletter&gclid=2", &[])));
        let mut filled = newsletter;
        filled.fill(&both);
        assert_eq!(filled, both);
    }
}
