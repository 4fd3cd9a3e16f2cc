//! What marks a link as a campaign's: UTM parameters and click ids in a URL, and the event's own `campaign`.
//!
//! Names are found whatever their case, values keep theirs. Percent and plus signs are decoded as in a form
//! (WHATWG URL, `application/x-www-form-urlencoded`). Of a name that stands there twice the first value that holds
//! something counts. The fragment is read after the query, for single-page applications keep theirs there.

use std::{collections::BTreeMap, sync::Arc};

use url::form_urlencoded;

use super::{
    channel::{CLICK_IDS, ClickKind, click_kind},
    word::Word,
};

/// Parameters of a URL that are looked at; more come from no campaign.
const MAX_PARAMS: usize = 500;
/// Longest click id, in bytes. Those in use are below 250.
pub(super) const MAX_CLICK_ID: usize = 512;

/// What marks a link.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::agent) struct Params {
    pub source: Option<Word>,
    pub medium: Option<Word>,
    pub campaign: Option<Word>,
    pub term: Option<Word>,
    pub content: Option<Word>,
    /// `utm_id`: the campaign's id.
    pub id: Option<Word>,
    pub click: Option<(&'static ClickKind, Word)>,
}

impl Params {
    /// Reads both; what the URL says goes first.
    pub fn read(url: Option<&str>, campaign: &BTreeMap<Arc<str>, Arc<str>>) -> Params {
        let mut params = Params::default();
        if let Some(url) = url {
            params.read_url(url);
        }
        for (name, value) in campaign {
            params.set(name, value);
        }
        params
    }

    /// Whether a campaign marked the link; a term or content alone is no mark.
    pub fn is_marked(&self) -> bool {
        self.click.is_some()
            || self.source.is_some()
            || self.medium.is_some()
            || self.campaign.is_some()
            || self.id.is_some()
    }

    fn read_url(&mut self, url: &str) {
        let (page, fragment) = url.split_once('#').unwrap_or((url, ""));
        let query = page.split_once('?').map_or("", |(_, query)| query);
        // `#/pricing?utm_source=x`, or `#utm_source=x`.
        let in_fragment = fragment.split_once('?').map_or(fragment, |(_, query)| query);
        for (name, value) in [query, in_fragment]
            .iter()
            .filter(|text| text.contains('='))
            .flat_map(|text| form_urlencoded::parse(text.as_bytes()))
            .take(MAX_PARAMS)
        {
            // Links copied out of HTML source: `&amp;utm_medium=cpc`.
            let name = name.strip_prefix("amp;").unwrap_or(&name);
            match (name.get(..4), name.get(4..)) {
                (Some(prefix), Some(name)) if prefix.eq_ignore_ascii_case("utm_") => self.set(name, &value),
                _ => self.click(name, &value),
            }
        }
    }

    /// Takes a UTM value over, unless there is one. Segment calls `utm_campaign` the campaign's name.
    fn set(&mut self, name: &str, value: &str) {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let place = match () {
            () if is("source") => &mut self.source,
            () if is("medium") => &mut self.medium,
            () if is("campaign") || is("name") => &mut self.campaign,
            () if is("term") => &mut self.term,
            () if is("content") => &mut self.content,
            () if is("id") => &mut self.id,
            () => return,
        };
        if place.is_none() {
            *place = Word::new(value);
        }
    }

    fn click(&mut self, name: &str, value: &str) {
        let Some(kind) = click_kind(name) else { return };
        let rank = |kind: &ClickKind| CLICK_IDS.iter().position(|known| known == kind);
        if self.click.as_ref().is_none_or(|(known, _)| rank(kind) < rank(known))
            && let Some(id) = Word::id(value, MAX_CLICK_ID)
        {
            self.click = Some((kind, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(url: &str) -> Params {
        Params::read(Some(url), &BTreeMap::new())
    }

    fn text(word: Option<Word>) -> String {
        word.map(|word| word.to_string()).unwrap_or_default()
    }

    #[test]
    fn utm_parameters_are_decoded_and_keep_their_case() {
        let params = read(
            "https://acme.example/p?UTM_Source=Google&utm_medium=cpc&utm_campaign=Fr%C3%BChling+Sale%2B\
             &utm_term=red%20shoes&utm_content=A&utm_id=42",
        );
        assert_eq!(text(params.source), "Google");
        assert_eq!(text(params.medium), "cpc");
        assert_eq!(text(params.campaign), "Frühling Sale+");
        assert_eq!(
            (text(params.term), text(params.content), text(params.id)),
            ("red shoes".into(), "A".into(), "42".into())
        );
    }

    #[test]
    fn every_click_id_is_read_and_keeps_its_case() {
        for kind in &CLICK_IDS {
            for name in [kind.name.to_owned(), kind.name.to_uppercase(), kind.name.to_lowercase()] {
                let params = read(&format!("https://acme.example/?a=b&{name}=CjwKCAjw_aB-9%2Ex"));
                let (found, id) = params.click.expect(&name);
                assert_eq!((found, &*id), (kind, "CjwKCAjw_aB-9.x"));
            }
        }
        let two = read("https://acme.example/?fbclid=F&gclid=G");
        assert_eq!(text(two.click.map(|(_, id)| id)), "G", "the order of the table, not of the URL");
    }

    #[test]
    fn the_first_of_two_counts_unless_it_is_empty() {
        assert_eq!(text(read("/?utm_source=&utm_source=a&utm_source=b").source), "a");
        assert_eq!(text(read("/?gclid=&gclid=A&gclid=B").click.map(|(_, id)| id)), "A");
    }

    #[test]
    fn fragments_and_html_source_are_read_too() {
        assert_eq!(text(read("https://acme.example/#utm_source=a").source), "a");
        assert_eq!(text(read("https://acme.example/?x=1#/pricing?utm_source=a&gclid=G").source), "a");
        assert_eq!(text(read("https://acme.example/?utm_source=q#utm_source=f").source), "q");
        let html = read("/?utm_source=a&amp;utm_medium=cpc&amp;gclid=G");
        assert_eq!((text(html.medium), html.click.is_some()), ("cpc".into(), true));
        assert!(!read("https://acme.example/#pricing").is_marked());
        assert!(!read("https://acme.example/utm_source=a").is_marked(), "a path is no query");
    }

    #[test]
    fn the_events_own_campaign_fills_what_the_url_leaves_open() {
        let campaign = |entries: &[(&str, &str)]| {
            entries.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))).collect()
        };
        let map = campaign(&[("source", "Newsletter"), ("medium", "email"), ("name", "Spring"), ("content", "b")]);
        let params = Params::read(Some("https://acme.example/?utm_source=url"), &map);
        assert_eq!(text(params.source), "url");
        assert_eq!((text(params.medium), text(params.campaign)), ("email".into(), "Spring".into()));
        assert!(Params::read(None, &map).is_marked());
        assert!(!Params::read(None, &campaign(&[("content", "b")])).is_marked());
    }

    #[test]
    fn an_id_that_is_too_long_is_none_and_a_text_is_cut() {
        assert_eq!(read(&format!("/?gclid={}", "x".repeat(MAX_CLICK_ID + 1))).click, None);
        assert_eq!(text(read(&format!("/?utm_source={}", "x".repeat(100_000))).source).len(), 200);
    }

    proptest! {
        #[test]
        fn no_url_breaks_it(url in "\\PC{0,40}[?#&]{0,2}(utm_[a-z]{2,8}|gclid|ScCid|%)[=&%+]{0,3}\\PC{0,60}") {
            let params = read(&url);
            for word in [&params.source, &params.medium, &params.campaign, &params.content].into_iter().flatten() {
                prop_assert!(!word.is_empty() && word.len() <= 200 && !word.contains(char::is_control));
            }
        }

        #[test]
        fn what_is_encoded_comes_out_as_it_was(value in "[ -~]{1,60}", id in "[A-Za-z0-9_.~-]{1,90}") {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("utm_campaign", &value)
                .append_pair("fbclid", &id)
                .finish();
            let params = read(&format!("https://acme.example/?{query}"));
            prop_assert_eq!(text(params.campaign), value.trim());
            prop_assert_eq!(text(params.click.map(|(_, id)| id)), id);
        }
    }
}
