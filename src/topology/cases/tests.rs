//! Test files: what is read, what stands where nothing is written, and that nothing is dropped unseen.

use proptest::prelude::*;

use super::*;
use crate::topology::{LoadOptions, load};

const SHOP: &str = r#"
name: shop
source: { topic: events.raw }
services:
  crm: { type: hubspot, token: t }
  odd: { type: http, url: "https://odd.example/{id}", result: { fails: /fails, at: /at, tags: /tags } }
agents:
  - { name: crm, type: function, input: { id: event.user_id }, output: { segment: segment }, fallback: cache }
  - { name: odd, type: function, input: { id: event.user_id }, types: { at: timestamp, tags: list } }
  - { name: session, type: session }
triggers:
  - { campaign: hello, when: crm.segment == "a", destination: hook }
destinations:
  hook: { type: webhook, url: "https://hooks.example/shop", secret: whsec_c2hvcA== }
"#;

fn shop() -> Topology {
    load("t.yaml", SHOP, &LoadOptions::default()).unwrap().topology
}

fn cases(text: &str) -> Result<Vec<Case>, Vec<Diagnostic>> {
    load_cases("t.test.yaml", text, &shop())
}

fn case(text: &str) -> Case {
    cases(text).unwrap().remove(0)
}

fn faults(text: &str) -> Vec<&'static str> {
    cases(text).unwrap_err().into_iter().map(|finding| finding.code).collect()
}

#[test]
fn what_does_not_matter_need_not_be_written() {
    let case = case("- { name: x, event: {}, expect: { triggers: [] } }");
    let event = &case.steps[0].event;
    assert_eq!((&*event.id, &*event.kind, event.user_id.as_deref()), ("e1", "track", Some("u1")));
    assert_eq!(Some(event.occurred_at_ms), value::moment("2026-01-15T12:00:00Z"));
    assert_eq!(case.steps[0].expect.triggers, Some(vec![]));
    assert_eq!(case.line, 1);
}

#[test]
fn nobody_else_is_made_up_where_somebody_is_written() {
    let case = case("- { name: x, event: { anonymous_id: a7 }, expect: { triggers: [] } }");
    let event = &case.steps[0].event;
    assert_eq!((event.user_id.as_deref(), event.anonymous_id.as_deref()), (None, Some("a7")));
}

#[test]
fn events_follow_each_other_by_a_second_or_as_written() {
    let text = "- name: x\n  events: [{ event: {} }, { event: {} }, { event: {}, after: 31m }, \
                { event: { occurred_at: 2026-02-01T00:00:00Z } }, { event: {} }]\n  expect: { triggers: [] }";
    let steps = case(text).steps;
    let waits: Vec<i64> =
        steps.windows(2).map(|pair| pair[1].event.occurred_at_ms - pair[0].event.occurred_at_ms).collect();
    let to_february = value::moment("2026-02-01T00:00:00Z").unwrap() - steps[2].event.occurred_at_ms;
    assert_eq!(waits, [1_000, 31 * 60_000, to_february, 1_000]);
    let ids: Vec<&str> = steps.iter().map(|step| &*step.event.id).collect();
    assert_eq!(ids, ["e1", "e2", "e3", "e4", "e5"]);
    assert!(steps[..4].iter().all(|step| step.expect.triggers.is_none()), "the test's expect is the last event's");
    assert!(steps[4].expect.triggers.is_some());
}

#[test]
fn properties_become_text_as_at_intake() {
    let case = case(
        "- { name: x, event: { properties: { a: 1.50, b: { c: [1, two] }, d: null, e: '' } }, expect: { triggers: [] } }",
    );
    let properties: Vec<(&str, &str)> =
        case.steps[0].event.properties.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(properties, [("a", "1.50"), ("b", r#"{"c":[1,"two"]}"#), ("e", "")]);
}

#[test]
fn an_event_may_answer_otherwise_than_the_test() {
    let text = "- name: x\n  given: { crm: { segment: a }, state: { session: { page_views: 6 } } }\n  \
                events: [{ event: {} }, { event: {}, given: { crm: { fails: timeout } } }]\n  expect: { triggers: [] }";
    let steps = case(text).steps;
    let (crm, session) = (0, 2);
    assert_eq!(steps[0].given[0], (crm, Given::Answer(vec![Value::text("a")])));
    assert_eq!(steps[1].given[0], (crm, Given::Fails(Reason::Timeout)));
    for step in &steps {
        let (agent, Given::Answer(fields)) = &step.given[1] else { panic!("{:?}", step.given) };
        assert_eq!((*agent, &fields[2]), (session, &Value::Int(6)));
    }
}

#[test]
fn a_field_comes_before_the_word_that_it_is_called_by() {
    let text = "- { name: x, event: {}, given: { odd: { fails: often, at: 2026-01-15T12:00:00Z, tags: [b, a] } }, expect: { triggers: [] } }";
    let (_, given) = &case(text).steps[0].given[0];
    let tags = Value::List(vec![Value::text("b"), Value::text("a")].into());
    assert_eq!(given, &Given::Answer(vec![Value::text("often"), Value::Int(1_768_478_400_000), tags]));
}

#[test]
fn values_are_read_by_the_type_of_their_field() {
    let text = "- name: x\n  event: {}\n  expect: { session.page_views: 6, session.is_new: true, crm.segment: 12, \
                session.started_at: 1768478400000, crm.age_ms: null, status: partial, session.outcome: ok }";
    let expected: Vec<Value> = case(text).steps[0].expect.values.iter().map(|one| one.value.clone()).collect();
    let text = Value::text;
    let at = Value::Int(1_768_478_400_000);
    assert_eq!(expected, [Value::Int(6), Value::Bool(true), text("12"), at, Value::Null, text("partial"), text("ok")]);
}

#[test]
fn a_file_without_tests_and_a_test_without_expectations_are_faults() {
    assert_eq!(faults(""), ["HW105"]);
    assert_eq!(faults("# nothing yet\n"), ["HW105"]);
    assert_eq!(faults("[]"), ["HW105"]);
    assert_eq!(faults("- { name: x, event: {} }"), ["HW105"]);
    assert_eq!(faults("- { name: x, event: {}, expect: {} }"), ["HW105"]);
    assert_eq!(faults("- { name: x, events: [], expect: { triggers: [] } }"), ["HW105"]);
    assert_eq!(faults("name: x"), ["HW107"]);
}

#[test]
fn a_test_has_no_variables() {
    assert_eq!(faults("- { name: x, event: { revenue: \"${R}\" }, expect: { triggers: [] } }"), ["HW506"]);
}

#[test]
fn the_schema_in_the_repository_is_up_to_date() {
    let written = include_str!("../../../schemas/test.schema.json");
    assert!(written == crate::topology::test_json_schema(), "schemas/test.schema.json: run `headwater schema`");
}

proptest! {
    /// What was read is the file, whole: no test is dropped without a finding.
    #[test]
    fn nothing_is_dropped_unseen(picks in prop::collection::vec((0..4_usize, 0..4_usize, 0..5_usize, 0..5_usize), 1..4)) {
        const EVENTS: [&str; 4] =
            ["event: {}", "event: { type: page }", "events: [{ event: {} }, { event: {}, after: 1h }]", "event: { ip: [] }"];
        const GIVEN: [&str; 4] = ["", "given: {}", "given: { crm: { segment: a } }", "given: { crm: 7 }"];
        const EXPECT: [&str; 5] =
            ["expect: { triggers: [] }", "expect: { crm.segment: a }", "expect: { status: partial }", "expect: 7", ""];
        const MORE: [&str; 5] = ["", "# nothing", "", "nonsense: 1", "expect: {}"];
        let one = |(index, (event, given, expect, more)): (usize, &(usize, usize, usize, usize))| {
            format!("- name: n{index}\n  {}\n  {}\n  {}\n  {}\n", EVENTS[*event], GIVEN[*given], EXPECT[*expect], MORE[*more])
        };
        let text: String = picks.iter().enumerate().map(one).collect();
        let sound = picks.iter().all(|(event, given, expect, more)| *event < 3 && *given < 3 && *expect < 3 && *more < 3);
        match cases(&text) {
            Ok(cases) => {
                prop_assert!(sound, "{text}");
                prop_assert_eq!(cases.len(), picks.len(), "{}", text);
            }
            Err(findings) => prop_assert!(!sound && !findings.is_empty(), "{text}"),
        }
    }
}
