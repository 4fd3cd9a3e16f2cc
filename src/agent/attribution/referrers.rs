//! What kind of site a visitor comes from: the list that ships, or the operator's own.

use std::{collections::HashMap, collections::HashSet, path::Path};

use super::{
    channel::Channel,
    host::{label, registrable},
};

/// The list that ships.
const SHIPPED: &str = include_str!("referrers.txt");
/// Largest list of an operator's own, in bytes.
const MAX_LIST: u64 = 16 * 1024 * 1024;

/// What a referrer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Referral {
    /// Somebody came from elsewhere.
    From(Channel),
    /// Somebody was here already.
    Internal,
}

/// Which kind of site each host is.
#[derive(Debug, Default)]
pub(super) struct Referrers {
    hosts: HashMap<Box<str>, Referral>,
    /// `google.*`: the registered label under any country's ending.
    labels: HashMap<Box<str>, Referral>,
    /// Names by which sources go (`utm_source=facebook`): the labels of everything listed.
    names: HashMap<Box<str>, Channel>,
    shared: HashSet<Box<str>>,
}

/// What is wrong with a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from 1; 0 is the file as a whole.
    pub line: usize,
    pub message: String,
}

impl Referrers {
    /// The list of that file, else the one that ships.
    pub fn load(path: Option<&Path>) -> Result<Referrers, Fault> {
        let Some(path) = path else { return Referrers::parse(SHIPPED) };
        let whole = |message: String| Fault { line: 0, message };
        let size = std::fs::metadata(path).map_err(|error| whole(error.to_string()))?.len();
        if size > MAX_LIST {
            return Err(whole(format!("{size} bytes are more than a list of referrers has; {MAX_LIST} are read")));
        }
        let bytes = std::fs::read(path).map_err(|error| whole(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            Fault { line, message: "this is not UTF-8".to_owned() }
        })?;
        Referrers::parse(&text)
    }

    /// Reads `class domain` by line; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Referrers, Fault> {
        let mut list = Referrers::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(class) = words.next() else { continue };
            let fault = |message: String| Fault { line: index + 1, message };
            let (Some(domain), None) = (words.next(), words.next()) else {
                return Err(fault("a line is a class and one domain, such as: search google.*".to_owned()));
            };
            let domain = domain.to_lowercase();
            let bare = domain.strip_suffix(".*").unwrap_or(&domain);
            let is_domain = !bare.is_empty()
                && (bare.contains('.') || bare.len() < domain.len())
                && !bare.starts_with('.')
                && !bare.ends_with('.')
                && !bare.contains(['/', ':', '*', '@', '?']);
            if !is_domain || (bare.len() < domain.len() && bare.contains('.')) {
                return Err(fault(format!(
                    "\"{domain}\" is no domain; write example.com, or example.* for any ending"
                )));
            }
            let referral = match class {
                "search" => Referral::From(Channel::Search),
                "social" => Referral::From(Channel::Social),
                "email" => Referral::From(Channel::Email),
                "paid" => Referral::From(Channel::Paid),
                "referral" => Referral::From(Channel::Referral),
                "internal" => Referral::Internal,
                "shared" => {
                    list.shared.insert(domain.into());
                    continue;
                }
                _ => {
                    return Err(fault(format!(
                        "there is no class \"{class}\"; there are search, social, email, paid, referral, internal, shared"
                    )));
                }
            };
            list.insert(&domain, bare, referral);
        }
        Ok(list)
    }

    fn insert(&mut self, domain: &str, bare: &str, referral: Referral) {
        // Only whole registrations lend their names: the `mail` of mail.example.com is nobody's name.
        if let Referral::From(channel) = referral
            && (bare.len() < domain.len() || registrable(domain, |_| false) == domain)
        {
            self.names.entry(label(bare).into()).or_insert(channel);
        }
        if bare.len() < domain.len() {
            self.labels.insert(bare.into(), referral);
        } else {
            self.hosts.insert(domain.into(), referral);
        }
    }

    /// The owner's part of a host.
    pub fn owner<'h>(&self, host: &'h str) -> &'h str {
        registrable(host, |domain| self.shared.contains(domain))
    }

    /// What coming from `referrer` to a page on `page` says. Hosts are lower case.
    pub fn classify(&self, referrer: &str, page: Option<&str>) -> Referral {
        let owner = self.owner(referrer);
        if page.is_some_and(|page| self.owner(page) == owner) {
            return Referral::Internal;
        }
        let mut rest = Some(referrer);
        while let Some(host) = rest {
            if let Some(referral) = self.hosts.get(host) {
                return *referral;
            }
            rest = host.split_once('.').map(|(_, parent)| parent);
        }
        self.labels.get(label(owner)).copied().unwrap_or(Referral::From(Channel::Referral))
    }

    /// What a source (`utm_source`) says: a domain, or the name of one.
    pub fn of_source(&self, source: &str) -> Option<Channel> {
        let source = source.trim().to_lowercase();
        if let Some(channel) = self.names.get(&*source) {
            return Some(*channel);
        }
        match source.contains('.').then(|| self.classify(&source, None)) {
            Some(Referral::From(channel)) if channel != Channel::Referral => Some(channel),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shipped() -> Referrers {
        Referrers::load(None).unwrap()
    }

    #[test]
    fn the_shipped_list_tells_sites_apart() {
        let list = shipped();
        for (host, expected) in [
            ("google.com", Channel::Search),
            ("google.co.uk", Channel::Search),
            ("com.google.android.googlequicksearchbox", Channel::Search),
            ("mail.google.com", Channel::Email),
            ("news.google.com", Channel::Referral),
            ("googleads.g.doubleclick.net", Channel::Paid),
            ("l.facebook.com", Channel::Social),
            ("t.co", Channel::Social),
            ("pinterest.de", Channel::Social),
            ("search.yahoo.com", Channel::Search),
            ("notgoogle.example", Channel::Referral),
            ("google.evil.example", Channel::Referral),
            ("a-blog.example", Channel::Referral),
        ] {
            assert_eq!(list.classify(host, Some("acme.example")), Referral::From(expected), "{host}");
        }
        assert_eq!(list.classify("checkout.stripe.com", Some("acme.example")), Referral::Internal);
    }

    #[test]
    fn ones_own_site_is_internal_whatever_the_subdomain() {
        let list = shipped();
        assert_eq!(list.classify("shop.acme.co.uk", Some("blog.acme.co.uk")), Referral::Internal);
        assert_eq!(list.classify("a.myshopify.com", Some("b.myshopify.com")), Referral::From(Channel::Referral));
        assert_eq!(list.classify("google.com", Some("google.com")), Referral::Internal);
    }

    #[test]
    fn a_source_is_known_by_name_or_domain() {
        let list = shipped();
        assert_eq!(list.of_source("Facebook"), Some(Channel::Social));
        assert_eq!(list.of_source("google"), Some(Channel::Search));
        assert_eq!(list.of_source("m.facebook.com"), Some(Channel::Social));
        assert_eq!(list.of_source("spring-flyer"), None);
        assert_eq!(list.of_source("mail"), Some(Channel::Email), "mail.com and mail.ru");
    }

    #[test]
    fn an_own_list_replaces_it() {
        let list = Referrers::parse("# ours\n search  Intranet.example # the portal\n\nsocial acme.*\n").unwrap();
        assert_eq!(list.classify("intranet.example", None), Referral::From(Channel::Search));
        assert_eq!(list.classify("acme.fr", None), Referral::From(Channel::Social));
        assert_eq!(list.classify("google.com", None), Referral::From(Channel::Referral));
    }

    #[test]
    fn a_fault_names_its_line() {
        let line = |text| Referrers::parse(text).unwrap_err().line;
        assert_eq!(line("search google.*\nserach bing.com"), 2);
        assert_eq!(line("search"), 1);
        assert_eq!(line("\n\nsearch a.com b.com"), 3);
        assert_eq!(line("search https://a.com"), 1);
        assert_eq!(line("search com"), 1);
        assert_eq!(line("search a.b.*"), 1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        assert_eq!(Referrers::load(Some(&path)).unwrap_err().line, 0);
        std::fs::write(&path, b"search a.com\nsocial \xff.com\n").unwrap();
        assert_eq!(Referrers::load(Some(&path)).unwrap_err().line, 2);
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(text in "(search|social|shared|x)? ?[a-z.*#:\n ]{0,60}") {
            if let Ok(list) = Referrers::parse(&text) {
                list.classify("a.b.example", Some("b.example"));
            }
        }
    }
}
