//! Sample traffic: people who come from somewhere, look around, try, buy, complain. The same seed gives the same
//! events; time is passed in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::people::{Crowd, Person};
use crate::event::Event;

const SITE: &str = "https://acme.example";

/// Path, name, weight.
const PAGES: &[(&str, &str, u32)] = &[
    ("/", "Home", 20),
    ("/product", "Product", 18),
    ("/pricing", "Pricing", 22),
    ("/docs/getting-started", "Getting Started", 12),
    ("/blog/attribution-in-2026", "Attribution in 2026", 10),
    ("/customers/northwind", "Customer Story", 8),
    ("/compare", "Compare", 6),
    ("/contact", "Contact", 4),
];

/// Query of a landing page and the referrer: paid, mailed, searched, linked, typed.
#[rustfmt::skip]
const ARRIVALS: &[(&str, &str)] = &[
    ("?utm_source=google&utm_medium=cpc&utm_campaign=autumn-trial&utm_term=event+enrichment&gclid=", "https://www.google.com/"),
    ("?utm_source=linkedin&utm_medium=paid-social&utm_campaign=enterprise-q4&li_fat_id=", "https://www.linkedin.com/"),
    ("?utm_source=facebook&utm_medium=paid-social&utm_campaign=retargeting&fbclid=", "https://l.facebook.com/"),
    ("?utm_source=bing&utm_medium=cpc&utm_campaign=brand&msclkid=", "https://www.bing.com/"),
    ("?utm_source=newsletter&utm_medium=email&utm_campaign=november-digest", ""),
    ("", "https://www.google.com/"),
    ("", "https://news.example/data-teams"),
    ("", ""),
];

const FEEDBACK: &[&str] = &[
    "Set up in ten minutes, love it.",
    "The export keeps failing and support does not answer. Very disappointed!",
    "It does what it says.",
    "Great dashboards, but the price went up again :(",
    "Terrible onboarding. I gave up twice.",
    "Our whole team uses it every day, thank you!",
    "Könnte schneller sein, sonst gut.",
    "Is there a way to change the time zone?",
];

const PLANS: &[(&str, f64)] = &[("starter", 49.0), ("team", 199.0), ("business", 799.0)];
const FILLER: &str = "The quick brown fox jumps over the lazy dog while the stream flows on and on. ";

/// Share of events that crawlers make, in per mille.
const CRAWLED: u32 = 30;
/// The longest free text, bytes: heavy tails end somewhere.
const LONGEST: usize = 16 * 1024;

/// An endless stream of events.
#[derive(Debug)]
pub struct Traffic {
    seed: u64,
    dice: fastrand::Rng,
    crowd: Crowd,
    /// By person: how far along.
    journeys: Vec<Journey>,
    made: u64,
}

#[derive(Debug, Clone, Default)]
struct Journey {
    here: Option<&'static str>,
    identified: bool,
    trial: bool,
}

impl Traffic {
    /// Traffic of so many people. Ids of events hold the seed: take another one for another run.
    pub fn new(seed: u64, people: u32) -> Self {
        let crowd = Crowd::new(seed, people);
        let known = |person: &Person| Journey { identified: person.known, ..Journey::default() };
        let journeys = crowd.people.iter().map(known).collect();
        Traffic { seed, dice: fastrand::Rng::with_seed(seed), crowd, journeys, made: 0 }
    }

    /// The next event, happening at `at_ms` (milliseconds since 1970 UTC).
    pub fn next_event(&mut self, at_ms: i64) -> Event {
        self.made += 1;
        let id = format!("e-{:x}-{}", self.seed, self.made).into();
        let event = Event { id, occurred_at_ms: at_ms, ..Event::default() };
        if self.dice.u32(..1_000) < CRAWLED { self.crawl(event) } else { self.act(event) }
    }

    /// Events at an even pace, for ever.
    pub fn events(mut self, start_ms: i64, every: Duration) -> impl Iterator<Item = Event> {
        let every_us = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        (0i64..).map(move |n| self.next_event(start_ms + n.saturating_mul(every_us) / 1_000))
    }

    fn crawl(&mut self, mut event: Event) -> Event {
        let crawler = self.dice.usize(..self.crowd.crawlers.len());
        let (path, name) = self.page();
        event.kind = "page".into();
        event.name = name.into();
        event.url = Some(format!("{SITE}{path}").into());
        event.anonymous_id = Some(format!("bot_{crawler}").into());
        event.ip = Some("216.160.83.64".into());
        event.user_agent = Some(self.crowd.crawlers[crawler].user_agent.clone());
        event
    }

    fn act(&mut self, mut event: Event) -> Event {
        let index = self.crowd.pick(self.dice.f64());
        let person = &self.crowd.people[index];
        let browser = &self.crowd.browsers[person.browser];
        event.anonymous_id = Some(person.anonymous_id.clone());
        event.ip = Some(person.ip.clone());
        event.user_agent = Some(browser.user_agent.clone());
        event.client_hints = browser.hints.clone();
        event.consent = person.consent.clone();
        put(&mut event.properties, "company_domain", &*person.company_domain);
        let user_id = person.user_id.clone();
        match (self.journeys[index].here, self.dice.u32(..100)) {
            (None, _) | (Some(_), 0..8) => self.arrive(index, &mut event),
            (Some("/pricing"), 8..20) => self.track_trial(index, &mut event),
            (Some(_), 20..26) if self.journeys[index].trial => self.order(index, &mut event),
            (Some(here), 26..32) => self.feedback(here, &mut event),
            (Some(here), 32..48) => self.feature(here, &mut event),
            (Some(here), _) => {
                let from = format!("{SITE}{here}");
                self.view(index, "", &mut event);
                event.referrer = Some(from.into());
            }
        }
        if self.journeys[index].identified {
            event.user_id = Some(user_id);
        }
        if self.dice.u32(..100) < 5 {
            self.ramble(&mut event);
        }
        event
    }

    fn page(&mut self) -> (&'static str, &'static str) {
        let mut left = self.dice.u32(..PAGES.iter().map(|(.., weight)| weight).sum::<u32>());
        for (path, name, weight) in PAGES {
            if left < *weight {
                return (path, name);
            }
            left -= weight;
        }
        ("/", "Home")
    }

    /// A landing, with where it came from.
    fn arrive(&mut self, index: usize, event: &mut Event) {
        let (query, referrer) = ARRIVALS[self.dice.usize(..ARRIVALS.len())];
        let click_id = if query.ends_with('=') { format!("{:016x}", self.dice.u64(..)) } else { String::new() };
        self.view(index, &format!("{query}{click_id}"), event);
        event.referrer = (!referrer.is_empty()).then(|| referrer.into());
        for pair in query.trim_start_matches('?').split('&') {
            if let Some((name, value)) = pair.strip_prefix("utm_").and_then(|pair| pair.split_once('=')) {
                put(&mut event.campaign, if name == "campaign" { "name" } else { name }, value.replace('+', " "));
            }
        }
    }

    fn view(&mut self, index: usize, query: &str, event: &mut Event) {
        let (path, name) = self.page();
        self.journeys[index].here = Some(path);
        event.kind = "page".into();
        event.name = name.into();
        event.url = Some(format!("{SITE}{path}{query}").into());
        put(&mut event.properties, "path", path);
        put(&mut event.properties, "title", format!("{name} | Acme"));
    }

    /// The trial starts; whoever was a visitor is known from here on.
    fn track_trial(&mut self, index: usize, event: &mut Event) {
        let journey = &mut self.journeys[index];
        event.url = Some(format!("{SITE}/signup").into());
        if !std::mem::replace(&mut journey.identified, true) {
            event.kind = "identify".into();
            put(&mut event.properties, "plan", "trial");
            return;
        }
        journey.trial = true;
        journey.here = Some("/product");
        track(event, "Trial Started");
        put(&mut event.properties, "plan", PLANS[self.dice.usize(..PLANS.len())].0);
        put(&mut event.properties, "seats", self.dice.u32(1..40).to_string());
    }

    fn order(&mut self, index: usize, event: &mut Event) {
        let (plan, price) = PLANS[self.dice.usize(..PLANS.len())];
        let seats = self.dice.u32(1..40);
        self.journeys[index].trial = false;
        track(event, "Order Completed");
        event.url = Some(format!("{SITE}/checkout/done").into());
        event.revenue = Some(price * f64::from(seats));
        event.currency =
            Some(if event.ip.as_deref().is_some_and(|ip| ip.starts_with("81.")) { "GBP" } else { "USD" }.into());
        put(&mut event.properties, "plan", plan);
        put(&mut event.properties, "price", price.to_string());
        put(&mut event.properties, "seats", seats.to_string());
        put(&mut event.properties, "order_id", format!("o-{:08x}", self.dice.u32(..)));
    }

    fn feedback(&mut self, here: &str, event: &mut Event) {
        track(event, "Feedback Given");
        event.url = Some(format!("{SITE}{here}").into());
        event.description = Some(FEEDBACK[self.dice.usize(..FEEDBACK.len())].into());
        put(&mut event.properties, "rating", self.dice.u32(1..6).to_string());
    }

    fn feature(&mut self, here: &str, event: &mut Event) {
        const NAMES: &[&str] =
            &["Video Played", "Button Clicked", "Search Performed", "Report Exported", "Form Viewed"];
        track(event, NAMES[self.dice.usize(..NAMES.len())]);
        event.url = Some(format!("{SITE}{here}").into());
        put(&mut event.properties, "position", self.dice.u32(1..12).to_string());
    }

    /// A long text now and then: Pareto with exponent 1.2 from 64 bytes, cut at [`LONGEST`].
    fn ramble(&mut self, event: &mut Event) {
        let length = (64.0 * (1.0 - self.dice.f64()).powf(-1.0 / 1.2)).min(LONGEST as f64) as usize;
        let text: String = FILLER.chars().cycle().take(length).collect();
        put(&mut event.properties, "note", text);
    }
}

fn track(event: &mut Event, name: &str) {
    event.kind = "track".into();
    event.name = name.into();
}

fn put(map: &mut BTreeMap<Arc<str>, Arc<str>>, name: &str, value: impl AsRef<str>) {
    map.insert(name.into(), value.as_ref().into());
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    fn sample(seed: u64, count: usize) -> Vec<Event> {
        Traffic::new(seed, 2_000).events(1_772_000_000_000, Duration::from_millis(2)).take(count).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_events_and_another_gives_others() {
        assert_eq!(sample(7, 500), sample(7, 500));
        assert_ne!(sample(7, 500), sample(8, 500));
    }

    #[test]
    fn every_event_is_one_that_intake_accepts_and_ids_are_unique() {
        let events = sample(7, 5_000);
        let ids: BTreeSet<_> = events.iter().map(|event| event.id.clone()).collect();
        assert_eq!(ids.len(), events.len());
        for event in &events {
            assert!(event.user_id.is_some() || event.anonymous_id.is_some());
            assert!(!event.kind.is_empty());
            assert!(event.ip.as_deref().unwrap().parse::<std::net::IpAddr>().is_ok());
            assert!(url::Url::parse(event.url.as_deref().unwrap()).is_ok());
        }
        assert!(events.windows(2).all(|pair| pair[0].occurred_at_ms <= pair[1].occurred_at_ms));
        assert_eq!(events[4_999].occurred_at_ms, 1_772_000_000_000 + 9_998);
    }

    #[test]
    fn it_looks_like_a_site_s_traffic() {
        let events = sample(11, 20_000);
        let share = |holds: &dyn Fn(&Event) -> bool| events.iter().filter(|event| holds(event)).count() * 100 / 20_000;
        assert!((50..85).contains(&share(&|event| &*event.kind == "page")));
        assert!((10..45).contains(&share(&|event| &*event.kind == "track")));
        assert!(events.iter().any(|event| &*event.kind == "identify"));
        assert!((60..95).contains(&share(&|event| event.user_id.is_some())));
        assert!((1..6).contains(&share(
            &|event| event.consent.is_empty() && event.user_agent.as_deref().unwrap().contains("bot")
        )));
        assert!((30..75).contains(&share(&|event| event.client_hints.contains_key("sec-ch-ua"))));
        assert!((45..80).contains(&share(&|event| event.consents_to("marketing"))));
        assert!(events.iter().any(|event| event.revenue.is_some_and(|revenue| revenue > 1_000.0)));
        assert!(events.iter().any(|event| event.campaign.get("source").is_some_and(|source| &**source == "google")));
        assert!(events.iter().any(|event| event.url.as_deref().unwrap().contains("gclid=")));
        let names: BTreeSet<_> = events.iter().map(|event| event.name.clone()).collect();
        assert!(names.contains("Pricing") && names.contains("Trial Started") && names.contains("Order Completed"));
        let sizes = events.iter().filter_map(|event| event.properties.get("note")).map(|note| note.len());
        assert!(
            sizes.clone().max() > Some(4_000) && sizes.clone().filter(|size| *size < 200).count() * 2 > sizes.count()
        );
    }

    #[test]
    fn a_few_people_are_busy_and_most_come_now_and_then() {
        let mut counts: HashMap<_, usize> = HashMap::new();
        for event in sample(3, 20_000) {
            *counts.entry(event.anonymous_id).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_values().collect();
        counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        assert!(counts.len() > 1_500, "{} people", counts.len());
        assert!(counts[0] > 300 && counts[counts.len() / 2] < 15, "{} {}", counts[0], counts[counts.len() / 2]);
    }

    #[test]
    fn a_visitor_who_identified_stays_identified() {
        let mut seen: HashMap<Arc<str>, Arc<str>> = HashMap::new();
        for event in sample(5, 20_000) {
            let anonymous = event.anonymous_id.clone().unwrap();
            match (&event.user_id, seen.get(&anonymous)) {
                (Some(user), Some(known)) => assert_eq!(user, known),
                (Some(user), None) => drop(seen.insert(anonymous, user.clone())),
                (None, known) => assert_eq!(known, None),
            }
        }
    }

    #[test]
    fn small_crowds_work_too() {
        for people in [0, 1, 2, 7919] {
            assert_eq!(Traffic::new(1, people).events(0, Duration::ZERO).take(50).count(), 50);
        }
    }
}
