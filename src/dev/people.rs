//! The people of the sample traffic: who they are, where they sit, what they agreed to. Each is a function of seed and
//! number; whom the stub CRM knows by that number is in `contacts.rs`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    browsers::{Browser, browsers, crawlers},
    contacts::{contact, mix},
};

/// Addresses that MaxMind's free test database (GeoIP2-City-Test) knows, with shares; the rest of the world is one that
/// it does not know.
#[rustfmt::skip]
const ADDRESSES: &[(u32, &str)] = &[
    (24, "81.2.69.142"),        // London, GB
    (10, "81.2.69.160"),        // London, GB
    (12, "2.125.160.216"),      // Boxford, GB
    (28, "216.160.83.56"),      // Milton, US
    (8, "216.160.83.58"),       // Milton, US
    (8, "214.78.120.5"),        // San Diego, US
    (4, "2001:480:10::7"),      // San Diego, US
    (12, "89.160.20.112"),      // Linköping, SE
    (5, "89.160.20.130"),       // Linköping, SE
    (6, "175.16.199.1"),        // Changchun, CN
    (2, "67.43.156.1"),         // BT
    (2, "202.196.224.9"),       // PH
    (3, "2a02:d3c0::1"),        // GB
    (2, "2001:218::1"),         // JP
    (2, "2001:220::1"),         // KR
    (4, "203.0.113.77"),        // nowhere: reserved for documentation
];

/// Someone who visits the site.
#[derive(Debug, Clone)]
pub struct Person {
    /// `u_0042`.
    pub user_id: Arc<str>,
    /// The cookie's id.
    pub anonymous_id: Arc<str>,
    /// Whether the site knows the person from the start; others are visitors until they identify.
    pub known: bool,
    pub ip: Arc<str>,
    /// Index into [`Crowd::browsers`].
    pub browser: usize,
    pub consent: BTreeMap<Arc<str>, bool>,
    /// The employer's, `acme.example`.
    pub company_domain: Arc<str>,
}

/// Everyone, and what they browse with.
#[derive(Debug)]
pub struct Crowd {
    pub people: Vec<Person>,
    pub browsers: Vec<Browser>,
    pub crawlers: Vec<Browser>,
    /// Running sums of the people's weights: who is active how often.
    activity: Vec<f64>,
}

impl Crowd {
    /// So many people (at least one), Zipf-like in activity: the n-th busiest acts n^0.7 times less than the busiest.
    pub fn new(seed: u64, people: u32) -> Self {
        let browsers = browsers();
        let people: Vec<_> = (0..people.max(1)).map(|number| person(seed, number, &browsers)).collect();
        let activity = (0..people.len())
            .scan(0.0, |sum, rank| {
                *sum += (rank as f64 + 1.0).powf(-0.7);
                Some(*sum)
            })
            .collect();
        Crowd { people, browsers, crawlers: crawlers(), activity }
    }

    /// Who acts next; `dice` in [0, 1).
    pub fn pick(&self, dice: f64) -> usize {
        let total = self.activity.last().copied().unwrap_or_default();
        let rank = self.activity.partition_point(|sum| *sum <= dice * total).min(self.people.len() - 1);
        // The busiest are not the first numbers: 7919 is prime, so this visits each number once unless it divides.
        if self.people.len().is_multiple_of(7919) { rank } else { (rank * 7919 + 1842) % self.people.len() }
    }
}

fn person(seed: u64, number: u32, browsers: &[Browser]) -> Person {
    let contact = contact(u64::from(number));
    let hash = mix(seed ^ mix(u64::from(number) + 1_000_003));
    let part = |salt: u32, of: u64| hash.rotate_right(salt) % of;
    let consent = [("analytics", 90), ("marketing", 70), ("personalization", 60)]
        .into_iter()
        .enumerate()
        // A banner that was never answered names no purpose.
        .filter(|_| part(3, 100) < 95)
        .map(|(index, (purpose, percent))| (Arc::from(purpose), part(8 + 7 * index as u32, 100) < percent));
    Person {
        user_id: contact.user_id().into(),
        anonymous_id: format!("a_{:012x}", hash & 0xffff_ffff_ffff).into(),
        known: part(31, 100) < 70,
        ip: weighted(ADDRESSES.iter().map(|(weight, _)| *weight), part(37, 1 << 32))
            .map_or("", |index| ADDRESSES[index].1)
            .into(),
        browser: weighted(browsers.iter().map(|browser| browser.weight), part(43, 1 << 32)).unwrap_or_default(),
        consent: consent.collect(),
        company_domain: contact.domain().into(),
    }
}

/// The index that `dice` falls on.
fn weighted(weights: impl Iterator<Item = u32> + Clone, dice: u64) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    let mut left = dice.checked_rem(total)?;
    for (index, weight) in weights.enumerate() {
        match left.checked_sub(u64::from(weight)) {
            Some(rest) => left = rest,
            None => return Some(index),
        }
    }
    None
}
