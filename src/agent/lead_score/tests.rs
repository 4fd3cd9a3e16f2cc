use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    agent::{Decoded, Keyed as _, KeyedAgent, MAX_STATE, Ordered, tests::spec_with},
    event::{Event, EventField, Origin, Path, Type},
    expr::Scope,
    topology::AgentKind,
};

struct Names;

impl Scope for Names {
    fn resolve(&self, dotted: &str) -> Option<(Path, Type)> {
        let field = EventField::ALL.iter().find(|(name, _)| dotted.strip_prefix("event.") == Some(name));
        field.map(|(_, field)| (Path::Event(*field), Type::Text))
    }
}

fn rule(add: f64, when: &str) -> ScoreRule {
    ScoreRule { add, when: Condition::compile(when, &Names).unwrap(), each: false, at_most: None }
}

/// True for events of that name.
fn named(add: f64, name: &str) -> ScoreRule {
    rule(add, &format!("event.name == \"{name}\""))
}

fn score_of(rules: Vec<ScoreRule>, floor: Option<f64>, cap: Option<f64>) -> (AgentSpec, LeadScoreSpec) {
    let score = LeadScoreSpec { rules, floor, cap, half_life: Some(DAY) };
    let fields = [("reasons", Type::TextList), ("value", Type::Float)];
    (spec_with(AgentKind::LeadScore(score.clone()), &fields), score)
}

fn shown(part: &Part) -> (Vec<String>, f64) {
    let (Value::List(reasons), Value::Float(value)) = (part.field(0), part.field(1)) else { panic!("{part:?}") };
    (reasons.iter().map(ToString::to_string).collect(), *value)
}

// ---- without decay ----

fn agent(floor: Option<f64>, cap: Option<f64>) -> LeadScore {
    let rules = vec![rule(40.0, "1 == 1"), rule(-15.0, "2 == 2"), rule(2.5, "3 == 3")];
    let (spec, score) = score_of(rules, floor, cap);
    LeadScore::new(&spec, &score)
}

fn score(agent: &LeadScore, truths: [Truth; 3]) -> (Vec<String>, f64) {
    let mut truths = truths.into_iter();
    shown(&agent.score(|_| truths.next().unwrap()))
}

#[test]
fn what_is_true_counts_and_says_so() {
    let (reasons, value) = score(&agent(None, None), [Truth::True, Truth::True, Truth::True]);
    assert_eq!(value, 27.5);
    assert_eq!(reasons, ["+40 1 == 1", "-15 2 == 2", "+2.5 3 == 3"]);
    let agent = agent(None, None);
    let (reasons, value) = score(&agent, [Truth::False, Truth::Unknown("x".into()), Truth::False]);
    assert_eq!((reasons.len(), value), (0, 0.0));
    assert_eq!(agent.vitals().unknown_conditions, 1);
}

#[test]
fn floor_and_cap_hold() {
    let agent = agent(Some(0.0), Some(30.0));
    assert_eq!(score(&agent, [Truth::False, Truth::True, Truth::False]).1, 0.0);
    assert_eq!(score(&agent, [Truth::True, Truth::False, Truth::True]).1, 30.0);
}

#[test]
fn sums_of_decimals_have_no_noise() {
    let (spec, score) = score_of(vec![rule(0.1, "1 == 1"), rule(0.2, "1 == 1")], None, None);
    assert_eq!(shown(&LeadScore::new(&spec, &score).score(|_| Truth::True)).1, 0.3);
}

#[test]
fn more_reasons_than_a_part_holds_are_counted() {
    let long = format!("event.name == \"{}\"", "x".repeat(900));
    let (spec, score) = score_of((0..30).map(|_| rule(1.0, &long)).collect(), None, None);
    let (reasons, value) = shown(&LeadScore::new(&spec, &score).score(|_| Truth::True));
    assert_eq!((reasons.len(), value), (18, 30.0));
    assert_eq!(reasons.last().unwrap(), "and 13 more");
}

// ---- with decay ----

const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: i64 = 86_400_000;

fn decaying(rules: Vec<ScoreRule>, floor: Option<f64>, cap: Option<f64>) -> KeyedAgent<Decaying> {
    let (spec, score) = score_of(rules, floor, cap);
    KeyedAgent(Decaying::new(&spec, &score, DAY))
}

/// Runs events one after the other, keeps what was written last.
struct Person<'a> {
    agent: &'a KeyedAgent<Decaying>,
    state: Decoded,
    offset: i64,
    written: Vec<u8>,
}

impl<'a> Person<'a> {
    fn of(agent: &'a KeyedAgent<Decaying>) -> Self {
        Person { agent, state: Decoded::nothing(), offset: 0, written: Vec::new() }
    }

    fn does(&mut self, name: &str, at: i64) -> (Vec<String>, f64) {
        self.offset += 1;
        self.run(name, at, self.offset).0
    }

    fn run(&mut self, name: &str, at: i64, offset: i64) -> ((Vec<String>, f64), bool) {
        let event = Event { name: name.into(), occurred_at_ms: at, ..Event::default() };
        let origin = Origin { events_offset: offset, events_tag: 7, ..Origin::default() };
        let record = Record { event, origin, received_at_ms: i64::MAX, ..Record::default() };
        let mut written = Vec::new();
        let ran = self.agent.run(&record, Part::default(), &mut self.state, &mut written);
        assert_eq!(ran.changed, !written.is_empty());
        if ran.changed {
            self.written = written;
        }
        (shown(&ran.part), ran.changed)
    }
}

#[test]
fn a_rule_counts_once_in_full_and_fades_by_half() {
    let agent = decaying(vec![named(20.0, "visit"), named(-8.0, "complaint")], None, None);
    let mut person = Person::of(&agent);
    assert_eq!(person.does("nothing", 0), (vec![], 0.0));
    assert_eq!(person.does("visit", 0).1, 20.0);
    assert_eq!(person.does("visit", 0).1, 20.0, "a hundred page views are not a hundred scores");
    let (reasons, value) = person.does("complaint", DAY_MS);
    assert_eq!(value, 2.0);
    assert_eq!(reasons, ["+10 event.name == \"visit\" (of +20, 1d ago)", "-8 event.name == \"complaint\""]);
    let (reasons, value) = person.does("nothing", 2 * DAY_MS);
    assert_eq!(value, 1.0);
    assert_eq!(reasons.len(), 2);
    assert_eq!(person.does("visit", 2 * DAY_MS).1, 16.0, "20 again, and what is left of the complaint");
}

#[test]
fn a_small_number_fades_as_smoothly_as_a_large_one() {
    for (add, half, third) in [(40.0, 20.0, 15.87), (0.4, 0.2, 0.159), (0.04, 0.02, 0.0159), (0.005, 0.0025, 0.00198)] {
        let agent = decaying(vec![named(add, "visit")], None, None);
        let mut person = Person::of(&agent);
        person.does("visit", 0);
        assert_eq!(person.does("nothing", DAY_MS).1, half, "{add}");
        // Four thirds of a day: 2^(-4/3) = 0.396850.
        let (reasons, value) = person.does("nothing", DAY_MS / 3 * 4);
        assert_eq!(value, third, "{add}");
        assert_eq!(reasons, [format!("+{third} event.name == \"visit\" (of +{add}, 1d ago)")]);
    }
}

#[test]
fn each_adds_every_time_up_to_its_most() {
    let download = ScoreRule { each: true, at_most: Some(12.0), ..named(5.0, "download") };
    let agent = decaying(vec![download], None, None);
    let mut person = Person::of(&agent);
    assert_eq!(person.does("download", 0), (vec!["+5 event.name == \"download\"".to_owned()], 5.0));
    let (reasons, value) = person.does("download", DAY_MS);
    assert_eq!((reasons, value), (vec!["+7.5 event.name == \"download\" (1.5 × +5)".to_owned()], 7.5));
    person.does("download", DAY_MS);
    assert_eq!(person.does("download", DAY_MS).1, 12.0, "not 17.5");
    assert_eq!(person.does("nothing", 2 * DAY_MS).1, 6.0, "it fades from its most");
    assert_eq!(person.does("download", DAY_MS).1, 12.0, "late, and at its most on that day already");
}

#[test]
fn a_late_event_adds_what_is_left_of_it() {
    let agent = decaying(vec![named(20.0, "visit"), ScoreRule { each: true, ..named(8.0, "download") }], None, None);
    let mut person = Person::of(&agent);
    person.does("download", 2 * DAY_MS);
    assert_eq!(person.does("visit", DAY_MS).1, 18.0, "8 and 20 a day ago");
    assert_eq!(person.does("download", 0).1, 20.0, "and 8 two days ago");
    assert_eq!(person.does("visit", 0).1, 20.0, "the later visit stands");
}

#[test]
fn floor_and_cap_bound_what_is_shown_and_not_what_is_kept() {
    let agent = decaying(vec![named(100.0, "visit"), named(-50.0, "complaint")], Some(0.0), Some(60.0));
    let mut person = Person::of(&agent);
    assert_eq!(person.does("visit", 0).1, 60.0);
    assert_eq!(person.does("nothing", DAY_MS).1, 50.0, "half of 100");
    let mut person = Person::of(&agent);
    assert_eq!(person.does("complaint", 0).1, 0.0);
    assert_eq!(person.does("visit", 0).1, 50.0);
}

#[test]
fn what_is_kept_goes_with_its_condition() {
    let before = decaying(vec![named(20.0, "visit"), named(7.0, "download")], None, None);
    let mut person = Person::of(&before);
    person.does("visit", 0);
    person.does("download", 0);
    // Another order, another number, a rule more, a rule less.
    let after = decaying(vec![named(3.0, "trial"), named(30.0, "visit")], None, None);
    let state = after.decode(Some(&person.written));
    assert!(!state.is_unreadable);
    let mut person = Person { agent: &after, state, offset: 2, written: Vec::new() };
    assert_eq!(person.does("nothing", DAY_MS).1, 15.0);
}

#[test]
fn rules_of_one_condition_are_told_apart() {
    let download = ScoreRule { each: true, ..named(1.0, "download") };
    let agent = decaying(vec![named(20.0, "download"), download.clone(), download], None, None);
    let mut person = Person::of(&agent);
    assert_eq!(person.does("download", 0).1, 22.0);
    assert_eq!(person.does("download", 0).1, 24.0);
}

#[test]
fn what_is_hardly_left_is_forgotten() {
    let agent = decaying(vec![named(20.0, "visit"), named(1.0, "download")], None, None);
    let mut person = Person::of(&agent);
    person.does("visit", 0);
    person.does("download", 13 * DAY_MS);
    assert_eq!(person.written.windows(4).filter(|text| text == b"\"at\"").count(), 3, "of the place, and two");
    person.does("download", 14 * DAY_MS);
    assert_eq!(person.written.windows(4).filter(|text| text == b"\"at\"").count(), 2);
}

#[test]
fn an_unknown_condition_counts_nothing_and_is_counted() {
    let agent = decaying(vec![rule(5.0, "event.url == \"/x\"")], None, None);
    assert_eq!(Person::of(&agent).does("x", 0), (vec![], 0.0));
    assert_eq!(agent.0.vitals().unknown_conditions, 1);
}

#[test]
fn the_largest_state_stays_within_its_bound() {
    let mut rules: Vec<ScoreRule> = (0..256).map(|index| rule(1.0 + f64::from(index), "1 == 1")).collect();
    rules.iter_mut().for_each(|rule| rule.each = true);
    let mut written = Vec::new();
    // A topology after the other leaves its rules with the same person.
    for topology in 0..4 {
        let named = |index| rule(1.0, &format!("{topology} != {index} || 1 == 1"));
        let others: Vec<ScoreRule> = (10..210).map(named).map(|rule| ScoreRule { each: true, ..rule }).collect();
        for rules in [others, rules.clone()] {
            let agent = decaying(rules, None, None);
            let state = agent.decode(Some(&written).filter(|written| !written.is_empty()).map(Vec::as_slice));
            let mut person = Person { agent: &agent, state, offset: topology * 2, written: Vec::new() };
            person.does("x", i64::MAX / 8);
            person.does("x", i64::MAX / 8 + 1_234);
            if !person.written.is_empty() {
                written = person.written;
            }
        }
    }
    let entries = written.windows(4).filter(|text| text == b"\"at\"").count();
    assert!((257..=513).contains(&entries), "{entries}");
    assert!(written.len() < MAX_STATE / 2, "{} bytes", written.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_ends_in_the_same_score(
        events in prop::collection::vec((prop::sample::select(vec!["visit", "download", "complaint", "x"]), 0i64..5 * DAY_MS), 1..40),
        seed in prop::collection::vec(any::<u32>(), 40),
    ) {
        let rules = vec![named(20.0, "visit"), ScoreRule { each: true, ..named(5.0, "download") }, named(-10.0, "complaint")];
        let agent = decaying(rules, None, None);
        let last = |events: &[(&str, i64)]| {
            let mut person = Person::of(&agent);
            events.iter().for_each(|(name, at)| { person.does(name, *at); });
            person.does("x", 5 * DAY_MS).1
        };
        let mut other: Vec<_> = events.iter().zip(&seed).collect();
        other.sort_by_key(|(_, seed)| **seed);
        let other: Vec<_> = other.into_iter().map(|(event, _)| *event).collect();
        let (one, two) = (last(&events), last(&other));
        prop_assert!((one - two).abs() <= 0.02, "{one} and {two} differ by more than rounding");
    }

    #[test]
    fn what_was_written_gives_the_same_as_what_is_in_memory(
        events in prop::collection::vec((prop::sample::select(vec!["visit", "download", "x"]), prop_oneof![0i64..5 * DAY_MS, any::<i64>()]), 1..40),
    ) {
        let rules = vec![named(20.0, "visit"), ScoreRule { each: true, at_most: Some(40.0), ..named(5.0, "download") }];
        let agent = decaying(rules, Some(0.0), Some(50.0));
        let (mut kept, mut restarted) = (Person::of(&agent), Person::of(&agent));
        for (index, (name, at)) in events.iter().enumerate() {
            let one = kept.does(name, *at);
            let bytes = std::mem::take(&mut restarted.written);
            restarted.state = agent.decode((!bytes.is_empty()).then_some(&*bytes));
            restarted.written = bytes;
            prop_assert_eq!(&one, &restarted.does(name, *at));
            prop_assert!((0.0..=50.0).contains(&one.1));
            prop_assert!(!kept.run(name, *at, index as i64 + 1).1, "a repeat changes nothing");
        }
    }
}
