use std::time::Duration;

use super::*;
use crate::{
    agent::{Decoded, KeyedAgent, MAX_STATE, Ordered, tests::spec_with},
    event::{Event, EventField, Origin, Type},
    topology::AgentKind,
};

const FIELDS: [(&str, Type); 11] = [
    ("id", Type::Text),
    ("started_at", Type::Timestamp),
    ("page_views", Type::Int),
    ("events", Type::Int),
    ("duration_ms", Type::Int),
    ("number", Type::Int),
    ("is_new", Type::Bool),
    ("entry_url", Type::Text),
    ("exit_url", Type::Text),
    ("away_ms", Type::Int),
    ("absorbed_id", Type::Text),
];

const HOUR: i64 = 3_600_000;

fn agent() -> KeyedAgent<Session> {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let session = SessionSpec { gap: minutes(30), lateness: minutes(120), split_midnight: true, split_campaign: true };
    let spec = spec_with(AgentKind::Session(session.clone()), &FIELDS);
    KeyedAgent(Session::new(&spec, &session, &[Path::Event(EventField::UserId), Path::Event(EventField::AnonymousId)]))
}

fn record(offset: i64, at: i64, url: &str) -> Record {
    let event = Event {
        id: format!("e{offset}").into(),
        kind: "page".into(),
        user_id: Some("u_1842".into()),
        occurred_at_ms: at,
        url: Some(url.into()),
        ..Event::default()
    };
    let origin = Origin { events_offset: offset, events_tag: 7, ..Origin::default() };
    Record { event, origin, received_at_ms: i64::MAX, ..Record::default() }
}

fn run(agent: &KeyedAgent<Session>, state: &mut Decoded, record: &Record) -> (Part, Vec<u8>) {
    let mut written = Vec::new();
    let ran = agent.run(record, Part::default(), state, &mut written);
    assert_eq!(ran.changed, !written.is_empty());
    (ran.part, written)
}

fn field<'p>(part: &'p Part, name: &str) -> &'p Value {
    part.field(FIELDS.iter().position(|(field, _)| *field == name).unwrap())
}

#[test]
fn a_visit_shows_how_it_stands() {
    let (agent, mut state) = (agent(), Decoded::nothing());
    let (first, _) = run(&agent, &mut state, &record(1, HOUR, "https://acme.example/?gclid=a"));
    let (second, _) = run(&agent, &mut state, &record(2, HOUR + 5_000, "https://acme.example/pricing"));
    let id = field(&first, "id").as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(field(&second, "id"), field(&first, "id"));
    let numbers =
        ["started_at", "page_views", "events", "duration_ms", "number"].map(|name| field(&second, name).clone());
    assert_eq!(numbers, [HOUR, 2, 2, 5_000, 1].map(Value::Int));
    assert_eq!((field(&first, "is_new"), field(&second, "is_new")), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(field(&second, "entry_url").as_str(), Some("https://acme.example/?gclid=a"));
    assert_eq!(field(&second, "exit_url").as_str(), Some("https://acme.example/pricing"));
    assert!(field(&second, "away_ms").is_null() && field(&second, "absorbed_id").is_null());
    assert_eq!(second.provenance.source, Some(Source::State));
    let (back, _) = run(&agent, &mut state, &record(3, 3 * HOUR, "https://acme.example/"));
    assert_eq!((field(&back, "number"), field(&back, "away_ms")), (&Value::Int(2), &Value::Int(2 * HOUR - 5_000)));
}

#[test]
fn the_id_is_the_same_in_every_run_and_differs_between_persons_and_visits() {
    let first = |record: &Record| field(&run(&agent(), &mut Decoded::nothing(), record).0, "id").clone();
    let one = record(1, HOUR, "/");
    assert_eq!(first(&one), first(&one));
    assert_eq!(
        first(&one),
        Value::from("a9b69521347bb950c1ad7713ddbe7d9d"),
        "it stands in warehouses: never change it"
    );
    let mut other = one.clone();
    other.event.user_id = Some("u_2".into());
    assert_ne!(first(&one), first(&other));
    assert_ne!(first(&one), first(&record(2, HOUR, "/")));
}

#[test]
fn a_time_after_its_receipt_counts_as_the_receipt() {
    let mut future = record(1, i64::MAX, "/");
    future.received_at_ms = HOUR;
    let (part, _) = run(&agent(), &mut Decoded::nothing(), &future);
    assert_eq!(field(&part, "started_at"), &Value::Int(HOUR));
}

#[test]
fn what_comes_too_late_is_overdue_and_changes_nothing() {
    let (agent, mut state) = (agent(), Decoded::nothing());
    run(&agent, &mut state, &record(1, 10 * HOUR, "/"));
    let (late, written) = run(&agent, &mut state, &record(2, 7 * HOUR, "/"));
    assert_eq!((late.provenance.outcome, late.provenance.reason), (Outcome::Skipped, Some(Reason::Overdue)));
    assert!(written.is_empty() && late.fields.is_empty());
    let (next, _) = run(&agent, &mut state, &record(3, 10 * HOUR, "/"));
    assert_eq!(field(&next, "events"), &Value::Int(2));
}

#[test]
fn a_repeat_shows_its_visit_and_counts_nothing() {
    let (agent, mut state) = (agent(), Decoded::nothing());
    let records = [record(1, HOUR, "/"), record(2, HOUR + 1, "/a"), record(3, 2 * HOUR, "/b")];
    let parts = records.each_ref().map(|record| run(&agent, &mut state, record).0);
    let again = records.each_ref().map(|record| run(&agent, &mut state, record));
    assert!(again.iter().all(|(_, written)| written.is_empty()));
    for (name, _) in FIELDS.iter().filter(|(name, _)| matches!(*name, "id" | "number" | "is_new" | "started_at")) {
        assert!(again.iter().zip(&parts).all(|((again, _), part)| field(again, name) == field(part, name)), "{name}");
    }
    assert_eq!(field(&again[0].0, "events"), &Value::Int(2), "as it is now");
}

#[test]
fn a_hundred_thousand_events_in_an_hour_are_one_bounded_visit() {
    let (agent, mut state) = (agent(), Decoded::nothing());
    let mut most = 0;
    let mut part = Part::default();
    for offset in 0..100_000i64 {
        let at = HOUR + offset * 7_919 % HOUR;
        let (next, written) = run(&agent, &mut state, &record(offset, at, "https://acme.example/pricing"));
        most = most.max(written.len());
        part = next;
    }
    assert_eq!(field(&part, "events"), &Value::Int(100_000));
    assert!(most < 1_000, "{most} bytes");
}

#[test]
fn the_worst_state_stays_within_its_bound() {
    let (agent, mut state) = (agent(), Decoded::nothing());
    let mut most = 0;
    for offset in 0..200i64 {
        // Each event is another campaign's, and its URL the worst that can be kept: every character escaped.
        let url = format!("{}?gclid={offset}&{}", "\"\\".repeat(1_000), "é\u{7f}\0".repeat(300));
        let (_, written) = run(&agent, &mut state, &record(offset, HOUR + offset, &url));
        most = most.max(written.len());
        assert!(agent.decode(Some(&written)).is_unreadable.eq(&false));
    }
    assert!(most > 16_000, "the worst case is met: {most}");
    assert!(most < MAX_STATE / 3 * 2, "{most} bytes");
}
