use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    agent::{Decoded, KeyedAgent, MAX_STATE, Ordered, tests::spec_with},
    event::{Event, EventField, Origin, Path, Type},
    expr::Scope,
    topology::{AgentKind, FunnelStep},
};

const FIELDS: [(&str, Type); 12] = [
    ("step", Type::Text),
    ("step_number", Type::Int),
    ("entered_at", Type::Timestamp),
    ("time_in_step_ms", Type::Int),
    ("completed", Type::Bool),
    ("entered", Type::Bool),
    ("advanced", Type::Bool),
    ("started_at", Type::Timestamp),
    ("run", Type::Int),
    ("view_at", Type::Timestamp),
    ("cart_at", Type::Timestamp),
    ("order_at", Type::Timestamp),
];

struct Names;

impl Scope for Names {
    fn resolve(&self, dotted: &str) -> Option<(Path, Type)> {
        let field = EventField::ALL.iter().find(|(name, _)| dotted.strip_prefix("event.") == Some(name));
        field.map(|(_, field)| (Path::Event(*field), Type::Text))
    }
}

fn funnel(names: &[&str], within: Option<u64>, restart: bool) -> KeyedAgent<Funnel> {
    let step = |name: &&str| {
        let when = Condition::compile(&format!("event.name == \"{name}\""), &Names).unwrap();
        FunnelStep { name: (*name).into(), when }
    };
    let steps = names.iter().map(step).collect();
    let funnel = FunnelSpec { steps, within: within.map(Duration::from_millis), restart };
    KeyedAgent(Funnel::new(&spec_with(AgentKind::Funnel(funnel.clone()), &FIELDS), &funnel))
}

fn shop(within: Option<u64>, restart: bool) -> KeyedAgent<Funnel> {
    funnel(&["view", "cart", "order"], within, restart)
}

/// Runs events one after the other; the last one's part, and the state as written last.
struct Person<'a> {
    agent: &'a KeyedAgent<Funnel>,
    state: Decoded,
    offset: i64,
    written: Vec<u8>,
}

impl<'a> Person<'a> {
    fn of(agent: &'a KeyedAgent<Funnel>) -> Self {
        Person { agent, state: Decoded::nothing(), offset: 0, written: Vec::new() }
    }

    fn does(&mut self, name: &str, at: i64) -> Part {
        self.offset += 1;
        self.run(name, at, self.offset).0
    }

    fn run(&mut self, name: &str, at: i64, offset: i64) -> (Part, bool) {
        let event = Event { name: name.into(), occurred_at_ms: at, ..Event::default() };
        let origin = Origin { events_offset: offset, events_tag: 7, ..Origin::default() };
        let record = Record { event, origin, received_at_ms: i64::MAX, ..Record::default() };
        let mut written = Vec::new();
        let ran = self.agent.run(&record, Part::default(), &mut self.state, &mut written);
        assert_eq!(ran.changed, !written.is_empty());
        if ran.changed {
            self.written = written;
        }
        (ran.part, ran.changed)
    }
}

fn shown(part: &Part, names: &[&str]) -> String {
    let value = |name: &&str| part.field(FIELDS.iter().position(|(field, _)| field == name).unwrap()).to_string();
    names.iter().map(value).collect::<Vec<_>>().join(" ")
}

const MAIN: [&str; 5] = ["step", "step_number", "entered_at", "time_in_step_ms", "completed"];

#[test]
fn the_furthest_step_and_the_time_in_it_are_shown() {
    let agent = shop(None, false);
    let mut person = Person::of(&agent);
    let part = person.does("nothing", 5);
    assert_eq!(shown(&part, &MAIN), " 0   false");
    assert_eq!(shown(&part, &["entered", "advanced", "started_at", "run", "view_at"]), "false false  0 ");
    assert_eq!(shown(&person.does("view", 10), &MAIN), "view 1 10 0 false");
    assert_eq!(shown(&person.does("nothing", 15), &MAIN), "view 1 10 5 false");
    assert_eq!(shown(&person.does("cart", 20), &MAIN), "cart 2 20 0 false");
    assert_eq!(shown(&person.does("view", 30), &MAIN), "cart 2 20 10 false", "going back loses nothing");
    let part = person.does("order", 40);
    assert_eq!(shown(&part, &MAIN), "order 3 40 0 true");
    assert_eq!(shown(&part, &["entered", "started_at", "run", "view_at", "cart_at", "order_at"]), "true 10 1 10 20 40");
    assert_eq!(shown(&person.does("view", 50), &MAIN), "order 3 40 10 true", "completed once is completed");
}

#[test]
fn steps_may_be_skipped_and_come_late() {
    let agent = shop(None, false);
    let mut person = Person::of(&agent);
    assert_eq!(shown(&person.does("order", 40), &["step", "cart_at", "advanced"]), "order  true");
    let late = person.does("view", 10);
    assert_eq!(shown(&late, &["step", "view_at", "started_at", "advanced"]), "order 10 10 false");
    assert_eq!(shown(&late, &["time_in_step_ms"]), "0", "never less than nothing");
}

#[test]
fn advancing_is_said_once_and_again_for_a_repeat() {
    let agent = shop(None, false);
    let mut person = Person::of(&agent);
    let advanced = |part: Part| shown(&part, &["advanced"]);
    assert_eq!(advanced(person.does("view", 10)), "true");
    assert_eq!(advanced(person.does("view", 11)), "false");
    assert_eq!(advanced(person.does("order", 20)), "true");
    assert_eq!(advanced(person.does("cart", 30)), "false", "not further than the order");
    let again = |person: &mut Person, name, at, offset| {
        let (part, changed) = person.run(name, at, offset);
        assert!(!changed);
        advanced(part)
    };
    assert_eq!(again(&mut person, "view", 10, 1), "true");
    assert_eq!(again(&mut person, "view", 11, 2), "false");
    assert_eq!(again(&mut person, "order", 20, 3), "true");
    assert_eq!(again(&mut person, "cart", 30, 4), "false");
}

#[test]
fn a_run_is_over_after_its_time_and_the_next_step_begins_another() {
    let agent = shop(Some(100), false);
    let mut person = Person::of(&agent);
    person.does("view", 10);
    assert_eq!(shown(&person.does("cart", 109), &["step", "run"]), "cart 1");
    assert_eq!(shown(&person.does("nothing", 110), &["step", "entered", "cart_at", "run"]), " false  1");
    assert_eq!(shown(&person.does("cart", 120), &["step", "run", "view_at", "advanced"]), "cart 2  true");
    assert_eq!(shown(&person.does("order", 60), &["step", "run", "order_at"]), "cart 2 ", "late, of the run before");
    assert_eq!(shown(&person.does("view", 115), &["step", "run", "view_at"]), "cart 2 115", "late, of this run");
}

#[test]
fn a_late_step_does_not_stretch_a_run_beyond_its_time() {
    let agent = shop(Some(100), false);
    let mut person = Person::of(&agent);
    person.does("cart", 150);
    assert_eq!(shown(&person.does("view", 50), &["view_at"]), "", "a hundred before");
    assert_eq!(shown(&person.does("view", 51), &["view_at", "started_at"]), "51 51");
    assert_eq!(shown(&person.does("nothing", 151), &["step"]), "", "hence over earlier");
}

#[test]
fn an_order_lets_the_next_begin_where_asked() {
    let agent = shop(None, true);
    let mut person = Person::of(&agent);
    person.does("view", 10);
    person.does("order", 20);
    assert_eq!(shown(&person.does("order", 25), &["step", "run"]), "order 1", "the page of thanks once more");
    assert_eq!(shown(&person.does("nothing", 26), &["step", "completed"]), "order true");
    let next = person.does("cart", 30);
    assert_eq!(shown(&next, &["step", "run", "view_at", "completed", "advanced"]), "cart 2  false true");
    assert_eq!(shown(&person.does("cart", 15), &["cart_at", "run"]), "30 2", "of the first order");
}

#[test]
fn progress_holds_when_steps_come_and_go() {
    let before = shop(None, false);
    let mut person = Person::of(&before);
    person.does("view", 10);
    person.does("cart", 20);
    let after = funnel(&["view", "signup", "cart", "pay"], None, false);
    let state = after.decode(Some(&person.written));
    assert!(!state.is_unreadable);
    let mut person = Person { agent: &after, state, offset: 2, written: Vec::new() };
    assert_eq!(shown(&person.does("nothing", 30), &MAIN), "cart 3 20 10 false");
}

#[test]
fn a_condition_that_is_unknown_reaches_nothing_and_is_counted() {
    let when = Condition::compile("event.url == \"/x\"", &Names).unwrap();
    let spec = FunnelSpec { steps: vec![FunnelStep { name: "x".into(), when }], within: None, restart: false };
    let agent = KeyedAgent(Funnel::new(&spec_with(AgentKind::Funnel(spec.clone()), &FIELDS), &spec));
    let mut person = Person::of(&agent);
    assert_eq!(shown(&person.does("x", 1), &["entered"]), "false");
    assert_eq!(agent.0.vitals().unknown_conditions, 1);
}

#[test]
fn the_largest_state_is_small() {
    let names: Vec<String> = (0..32).map(|step| format!("step_{step:a<35}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let agent = funnel(&names, Some(1 << 60), true);
    let mut person = Person::of(&agent);
    for name in &names {
        person.does(name, i64::MIN / 4);
    }
    assert!(person.written.len() < MAX_STATE / 16, "{}", person.written.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_the_same_events_ends_alike(
        events in prop::collection::vec((prop::sample::select(vec!["view", "cart", "order", "nothing"]), 0i64..1_000), 1..30),
        seed in prop::collection::vec(any::<u32>(), 30),
    ) {
        let agent = shop(None, false);
        let last = |events: &[(&str, i64)]| {
            let mut person = Person::of(&agent);
            for (name, at) in events {
                person.does(name, *at);
            }
            let all: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            shown(&person.does("nothing", 2_000), &all)
        };
        let mut other: Vec<_> = events.iter().zip(&seed).collect();
        other.sort_by_key(|(_, seed)| **seed);
        let other: Vec<_> = other.into_iter().map(|(event, _)| *event).collect();
        prop_assert_eq!(last(&events), last(&other));
    }

    #[test]
    fn whatever_comes_a_run_keeps_its_bounds(
        events in prop::collection::vec((prop::sample::select(vec!["view", "cart", "order", "nothing"]), prop_oneof![0i64..1_000, any::<i64>()]), 1..60),
        restart: bool,
    ) {
        let agent = shop(Some(100), restart);
        let mut person = Person::of(&agent);
        let mut runs = 0;
        for (name, at) in &events {
            let part = person.does(name, *at);
            let number = |name: &str| shown(&part, &[name]).parse::<i64>().ok();
            prop_assert!(number("run").unwrap() >= runs, "runs are counted up");
            runs = number("run").unwrap();
            if let (Some(started), Some(entered)) = (number("started_at"), number("entered_at")) {
                prop_assert!(started <= entered && entered.saturating_sub(started) < 100);
                prop_assert!(number("time_in_step_ms").unwrap() >= 0);
            }
        }
        for (index, (name, at)) in events.iter().enumerate() {
            prop_assert!(!person.run(name, *at, index as i64 + 1).1, "a repeat changes nothing");
        }
    }
}
