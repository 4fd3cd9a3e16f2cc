//! What the agent shows, event by event.

mod bounds;

use std::time::Duration;

use super::*;
use crate::{
    agent::{Decoded, KeyedAgent, MAX_STATE, Ordered as _, tests::spec_with},
    event::{EventField, Origin, Reason, Type},
    topology::AgentKind,
};

const DAY: i64 = 86_400_000;
const FIELDS: [(&str, Type); 15] = [
    ("campaign", Type::Text),
    ("campaign_id", Type::Text),
    ("channel", Type::Text),
    ("utm_source", Type::Text),
    ("utm_medium", Type::Text),
    ("utm_term", Type::Text),
    ("utm_content", Type::Text),
    ("click_id", Type::Text),
    ("click_id_type", Type::Text),
    ("referrer", Type::Text),
    ("cost", Type::Float),
    ("touches", Type::Int),
    ("first_touch_at", Type::Timestamp),
    ("last_touch_at", Type::Timestamp),
    ("credit", Type::TextList),
];

fn spec(model: AttributionModel) -> (AgentSpec, AttributionSpec) {
    let own = AttributionSpec { model, window: Duration::from_secs(30 * 86_400), campaigns: None, referrers: None };
    let mut spec = spec_with(AgentKind::Attribution(own.clone()), &FIELDS);
    spec.input = vec![
        ("url".into(), Path::Event(EventField::Url)),
        ("referrer".into(), Path::Event(EventField::Referrer)),
        ("country".into(), Path::Entry(crate::event::EventMap::Properties, "country".into())),
    ];
    (spec, own)
}

/// One person's events through the agent.
struct Person {
    agent: KeyedAgent<Attribution>,
    state: Decoded,
    offset: i64,
}

impl Person {
    fn new(model: AttributionModel) -> Self {
        let (spec, own) = spec(model);
        let agent = KeyedAgent(Attribution::new(&spec, &own, None).unwrap());
        let state = agent.decode(None);
        Person { agent, state, offset: 0 }
    }

    fn run(&mut self, record: &Record, asked: Part) -> Ran {
        self.agent.run(record, asked, &mut self.state, &mut Vec::new())
    }

    /// An event at that time. Empty texts are absent.
    fn record(&mut self, at: i64, url: &str, referrer: &str) -> Record {
        self.offset += 1;
        let mut record = Record { received_at_ms: i64::MAX, ..Record::default() };
        record.origin = Origin { events_offset: self.offset, events_tag: 1, ..Origin::default() };
        record.event.occurred_at_ms = at;
        record.event.url = Some(url).filter(|url| !url.is_empty()).map(Into::into);
        record.event.referrer = Some(referrer).filter(|text| !text.is_empty()).map(Into::into);
        record
    }

    fn visit(&mut self, at: i64, url: &str, referrer: &str) -> Ran {
        let record = self.record(at, url, referrer);
        self.run(&record, Part::default())
    }
}

fn field(part: &Part, name: &str) -> String {
    part.field(FIELDS.iter().position(|(known, _)| *known == name).unwrap()).to_string()
}

fn all(part: &Part, names: &[&str]) -> String {
    names.iter().map(|name| field(part, name)).collect::<Vec<_>>().join(" ")
}

const PAID: &str = "https://acme.example/?utm_source=google&utm_medium=cpc&utm_campaign=Spring&gclid=AbC";
const MAIL: &str = "https://acme.example/?utm_source=news&utm_medium=email&utm_campaign=May&utm_content=b&utm_term=t";
const PAGE: &str = "https://acme.example/pricing";

/// Paid on day 0, mail on day 1, a search on day 2.
fn three(model: AttributionModel) -> Part {
    let mut person = Person::new(model);
    person.visit(0, PAID, "");
    person.visit(DAY, MAIL, "");
    person.visit(2 * DAY, PAGE, "https://www.google.com/").part
}

#[test]
fn each_model_gives_its_credit() {
    let first = three(AttributionModel::First);
    assert_eq!(
        all(&first, &["campaign", "channel", "utm_source", "utm_medium", "click_id", "click_id_type", "credit"]),
        "Spring paid google cpc AbC gclid [google/cpc/Spring:1]"
    );
    assert_eq!(all(&first, &["touches", "first_touch_at", "last_touch_at"]), format!("3 0 {}", 2 * DAY));
    let last = three(AttributionModel::Last);
    assert_eq!(all(&last, &["campaign", "channel", "referrer", "credit"]), " search google.com [google.com/search:1]");
    let linear = three(AttributionModel::Linear);
    assert_eq!(field(&linear, "credit"), "[google.com/search:0.3333,news/email/May:0.3333,google/cpc/Spring:0.3333]");
    let position = three(AttributionModel::PositionBased);
    assert_eq!(field(&position, "credit"), "[google.com/search:0.4,google/cpc/Spring:0.4,news/email/May:0.2]");
    assert_eq!(field(&position, "channel"), "search", "of two with the same credit the newer one");
}

#[test]
fn one_touch_has_all_and_two_share_by_halves() {
    let mut person = Person::new(AttributionModel::PositionBased);
    let one = person.visit(0, MAIL, "").part;
    assert_eq!(all(&one, &["utm_content", "utm_term", "credit"]), "b t [news/email/May:1]");
    assert_eq!(one.provenance.source, Some(Source::State));
    let two = person.visit(DAY, PAID, "").part;
    assert_eq!(field(&two, "credit"), "[google/cpc/Spring:0.5,news/email/May:0.5]");
}

#[test]
fn shares_of_one_label_are_added_up_and_the_most_wins() {
    let mut person = Person::new(AttributionModel::Linear);
    person.visit(0, MAIL, "");
    person.visit(DAY, MAIL, "");
    let part = person.visit(2 * DAY, PAID, "").part;
    assert_eq!(all(&part, &["campaign", "credit"]), "May [news/email/May:0.6667,google/cpc/Spring:0.3333]");
}

#[test]
fn what_is_no_touch_changes_nothing_and_still_shows() {
    let mut person = Person::new(AttributionModel::Last);
    assert!(person.visit(0, PAID, "").changed);
    for (url, referrer) in
        [(PAGE, "https://acme.example/"), ("", ""), (PAGE, ""), (PAID, ""), (PAGE, "https://paypal.com/")]
    {
        let ran = person.visit(DAY / 2, url, referrer);
        assert!(!ran.changed, "{url} {referrer}");
        assert_eq!(all(&ran.part, &["campaign", "touches"]), "Spring 1");
    }
    let mut stranger = Person::new(AttributionModel::Last);
    let ran = stranger.visit(0, "", "");
    assert!(!ran.changed);
    assert_eq!(all(&ran.part, &["campaign", "touches", "credit"]), " 0 ");
    assert_eq!(ran.part.provenance.outcome, Outcome::Ok);
}

#[test]
fn a_referrer_that_a_page_keeps_naming_is_no_touch_after_the_marked_one() {
    let google = "https://www.google.com/";
    let seen = |order: [(i64, &str); 3]| {
        let mut person = Person::new(AttributionModel::Last);
        for (at, url) in order {
            person.visit(at, url, google);
        }
        all(&person.visit(DAY, "", "").part, &["click_id", "touches", "credit"])
    };
    // The click, the next page without its mark; much later somebody searches again.
    let (click, next, search) = ((0, PAID), (60_000, PAGE), (7_200_000, PAGE));
    let expected = " 2 [google.com/search:1]";
    assert_eq!(seen([click, next, search]), expected);
    assert_eq!(seen([next, click, search]), expected, "whichever comes first");
    assert_eq!(seen([search, click, next]), expected);
}

#[test]
fn a_direct_visit_counts_only_where_nothing_else_is_known() {
    let mut person = Person::new(AttributionModel::First);
    let direct = person.visit(DAY, PAGE, "");
    assert!(direct.changed);
    assert_eq!(all(&direct.part, &["channel", "credit"]), "direct [direct:1]");
    assert!(!person.visit(2 * DAY, PAGE, "").changed, "once");
    let late = person.visit(0, PAID, "").part;
    assert_eq!(all(&late, &["channel", "touches"]), "paid 1");
    let now = person.visit(3 * DAY, "", "").part;
    assert_eq!(all(&now, &["channel", "touches"]), "paid 1", "the direct one after it no longer counts");
}

#[test]
fn a_touch_outside_the_window_no_longer_counts() {
    let mut person = Person::new(AttributionModel::First);
    person.visit(0, PAID, "");
    person.visit(20 * DAY, MAIL, "");
    assert_eq!(field(&person.visit(30 * DAY - 1, "", "").part, "campaign"), "Spring");
    assert_eq!(all(&person.visit(30 * DAY, "", "").part, &["campaign", "touches"]), "May 1");
    assert_eq!(all(&person.visit(60 * DAY, "", "").part, &["campaign", "touches"]), " 0");
    assert!(person.visit(60 * DAY, PAGE, "").changed, "then a direct visit is one again");
}

#[test]
fn an_old_link_after_the_window_is_a_touch_again() {
    for between in [false, true] {
        let mut person = Person::new(AttributionModel::Last);
        person.visit(0, PAID, "");
        if between {
            person.visit(35 * DAY, MAIL, "");
        }
        let back = person.visit(40 * DAY, PAID, "");
        assert!(back.changed, "with another touch between: {between}");
        assert_eq!(all(&back.part, &["campaign", "last_touch_at"]), format!("Spring {}", 40 * DAY));
    }
}

#[test]
fn a_late_event_finds_its_place_and_sees_what_was_before_it() {
    let mut person = Person::new(AttributionModel::First);
    person.visit(2 * DAY, MAIL, "");
    let late = person.visit(DAY, PAID, "").part;
    assert_eq!(all(&late, &["campaign", "touches", "last_touch_at"]), format!("Spring 1 {DAY}"));
    let now = person.visit(3 * DAY, "", "").part;
    assert_eq!(all(&now, &["campaign", "touches", "first_touch_at"]), format!("Spring 2 {DAY}"));
    assert!(!person.visit(-29 * DAY, PAID.replace("AbC", "Old").as_str(), "").changed, "too late");
}

#[test]
fn a_repeat_reads_and_changes_nothing() {
    let mut person = Person::new(AttributionModel::Last);
    let first = person.record(0, PAID, "");
    let before = person.run(&first, Part::default());
    person.visit(DAY, MAIL, "");
    let again = person.run(&first, Part::default());
    assert!(!again.changed);
    assert_eq!(again.part, before.part, "at its own time nothing else was known");
}

fn asked(outcome: Outcome, reason: Option<Reason>, fields: Vec<Value>) -> Part {
    Part { fields, provenance: Provenance { outcome, reason, attempts: 1, ..Provenance::default() } }
}

#[test]
fn campaign_data_goes_before_the_links_own_and_a_failed_lookup_is_made_good() {
    let mut person = Person::new(AttributionModel::Last);
    let first = person.record(0, PAID, "");
    let failed = person.run(&first, asked(Outcome::Failed, Some(Reason::Timeout), vec![]));
    assert_eq!((failed.part.provenance.outcome, failed.part.provenance.attempts), (Outcome::Failed, 1));
    assert_eq!(all(&failed.part, &["campaign", "channel", "cost"]), "Spring paid ", "its own fields only are lost");
    let second = person.record(1000, PAID, "");
    let answer = vec![Value::text("Spring sale"), Value::text("77"), Value::text("paid_search"), Value::Float(0.4)];
    let found = person.run(&second, asked(Outcome::Ok, None, answer));
    assert!(found.changed, "the same visit told again, with more");
    assert_eq!(
        all(&found.part, &["campaign", "campaign_id", "channel", "cost", "touches", "credit"]),
        "Spring sale 77 paid_search 0.4 1 [google/cpc/Spring sale:1]"
    );
}

#[test]
fn declared_values_fill_what_is_open_where_the_lookup_gave_nothing() {
    let (mut spec, own) = spec(AttributionModel::Last);
    spec.fallback = vec![Fallback::Values(vec![(0, Value::text("unknown")), (1, Value::text("none"))])];
    let agent = KeyedAgent(Attribution::new(&spec, &own, None).unwrap());
    let state = agent.decode(None);
    let mut person = Person { agent, state, offset: 0 };
    let record = person.record(0, PAID, "");
    for reason in [Reason::Timeout, Reason::NotFound] {
        let part = person.run(&record, asked(Outcome::Failed, Some(reason), vec![])).part;
        assert_eq!(all(&part, &["campaign", "campaign_id"]), "Spring none");
        assert_eq!(part.provenance.outcome, Outcome::Fallback);
    }
    let part = person.visit(DAY, "", "").part;
    assert_eq!(
        (all(&part, &["campaign_id"]), part.provenance.outcome),
        (String::new(), Outcome::Ok),
        "nothing was asked"
    );
}

#[test]
fn the_store_is_asked_by_click_then_utm_each_first_by_country() {
    let mut person = Person::new(AttributionModel::Last);
    let mut key = |url: &str, country: &str| {
        let mut record = person.record(0, url, "");
        if !country.is_empty() {
            record.event.properties.insert("country".into(), country.into());
        }
        person.agent.0.key(&record).map(|key| key.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(
        key(PAID, "GB").unwrap(),
        [
            "campaign:gclid:AbC:GB",
            "campaign:gclid:AbC",
            "campaign:utm:google/cpc/Spring:GB",
            "campaign:utm:google/cpc/Spring"
        ]
    );
    assert_eq!(key("/?sccid=Q", "").unwrap(), ["campaign:ScCid:Q"], "the network's own spelling");
    assert_eq!(key("/?utm_source=a%0Ab", "no country\n").unwrap(), ["campaign:utm:ab//"], "one line a key");
    assert_eq!(key(PAGE, "GB"), None);
    assert_eq!(key("", ""), None);
}

#[test]
fn a_list_of_referrers_that_is_wrong_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("referrers.txt");
    std::fs::write(&path, "search google.*\nsearch\n").unwrap();
    let (spec, mut own) = spec(AttributionModel::Last);
    own.referrers = Some(path);
    let error = Attribution::new(&spec, &own, None).err().unwrap().to_string();
    assert!(error.starts_with("agent \"agent\": referrers ") && error.contains("referrers.txt, line 2: "), "{error}");
}
