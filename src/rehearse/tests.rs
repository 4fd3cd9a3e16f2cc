//! Whole tests of small topologies, and that an answer played is the answer that the real policy would give.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    agent::{Keyed, KeyedAgent, Ran},
    event::{Outcome, Part, Reason, Source, Value},
    policy::{Call, CallError, Key, Kind, Line, Reply, Response, Stack},
    topology::{LoadOptions, load, load_cases, render},
};

const SHOP: &str = r#"
name: shop
source: { topic: events.raw }
services:
  crm: { type: hubspot, token: t, cache: { ttl: 5m, stale: 1h } }
agents:
  - { name: device, type: user_agent, output: { bot: bot } }
  - { name: crm, type: function, input: { id: event.user_id }, output: { segment: segment }, retry: 2, fallback: FALLBACK }
triggers:
  - { campaign: hello, when: crm.segment == "gold", consent: marketing, destination: [hook, other] }
destinations:
  hook: { type: webhook, url: "https://hooks.example/shop", secret: whsec_c2hvcA== }
  other: { type: webhook, url: "https://hooks.example/other", secret: whsec_c2hvcA== }
"#;

fn topology(fallback: &str) -> Topology {
    let text = SHOP.replace("FALLBACK", fallback);
    load("t.yaml", &text, &LoadOptions::default()).unwrap_or_else(|found| panic!("{}", render(&found, &text))).topology
}

async fn run(rehearsal: &mut Rehearsal, text: &str) -> Verdict {
    let cases = load_cases("t.test.yaml", text, rehearsal.topology());
    let cases = cases.unwrap_or_else(|found| panic!("{}", render(&found, text)));
    rehearsal.run(&cases[0]).await
}

/// The CRM's part at the last event.
async fn crm(fallback: &str, given: &str) -> Part {
    let mut rehearsal = Rehearsal::new(&topology(fallback)).unwrap();
    let text = format!("- {{ name: x, event: {{}}, given: {{ crm: {given} }}, expect: {{ triggers: [] }} }}");
    run(&mut rehearsal, &text).await.steps.pop().unwrap().record.parts.remove(1)
}

type Told = (Outcome, Option<Reason>, Option<Source>, u32, Vec<Value>);

fn told(part: &Part) -> Told {
    let of = &part.provenance;
    (of.outcome, of.reason, of.source, of.attempts, part.fields.clone())
}

#[allow(clippy::disallowed_methods)]
fn paused_now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A CRM that says this, whoever is asked for.
struct Scripted(Mutex<Result<Option<Value>, Kind>>);

impl Call for Arc<Scripted> {
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response> {
        let says = self.0.lock().clone();
        Box::pin(async move {
            match says {
                Ok(found) => Ok(keys.iter().map(|_| Ok(found.clone().map(|value| Arc::from([value])))).collect()),
                Err(kind) => Err(CallError::new(kind, "scripted")),
            }
            .into()
        })
    }
}

/// What the real policy makes of a CRM that says this; `cached` it said seven minutes before.
async fn really(fallback: &str, cached: Option<&str>, says: Result<Option<Value>, Kind>) -> Part {
    let topology = topology(fallback);
    let crm = Arc::new(Scripted(Mutex::new(Ok(cached.map(Value::text)))));
    let line = Line::new(&topology.services[0], Arc::new(crm.clone()), paused_now);
    let stack = Stack::new(&topology.agents[1], line, [0]);
    let ask = || async {
        match stack.start("u1".into()) {
            Reply::Now(part) => part,
            Reply::Later(part) => part.await,
        }
    };
    if cached.is_some() {
        ask().await;
        tokio::time::sleep(Duration::from_secs(420)).await;
    }
    *crm.0.lock() = says;
    ask().await
}

#[tokio::test(start_paused = true)]
async fn a_failure_played_is_the_failure_that_the_policy_gives() {
    let failures = [
        ("timeout", Kind::Timeout),
        ("unavailable", Kind::Transient),
        ("rejected", Kind::Rejected),
        ("bad_response", Kind::BadResponse),
    ];
    for fallback in ["cache", "[cache, { segment: none }]", "{ segment: none }", "[]"] {
        for (word, kind) in failures {
            let played = crm(fallback, &format!("{{ fails: {word} }}")).await;
            assert_eq!(told(&played), told(&really(fallback, None, Err(kind)).await), "{fallback}, {word}");
        }
        let played = crm(fallback, "{ not_found: true }").await;
        assert_eq!(told(&played), told(&really(fallback, None, Ok(None)).await), "{fallback}, not found");
        let played = crm(fallback, "{ segment: gold }").await;
        assert_eq!(told(&played), told(&really(fallback, None, Ok(Some("gold".into()))).await), "{fallback}, found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_played_is_the_one_that_the_policy_gives() {
    let played = crm("cache", "{ stale: { segment: gold }, age: 7m, because: timeout }").await;
    let real = really("cache", Some("gold"), Err(Kind::Timeout)).await;
    assert_eq!(told(&played), told(&real));
    assert_eq!(played.provenance.age_ms, Some(420_000));
    assert!(real.provenance.age_ms >= Some(420_000), "and what its attempts took");
}

#[tokio::test]
async fn whoever_would_leave_the_process_and_is_not_spoken_of_fails_the_test() {
    let mut rehearsal = Rehearsal::new(&topology("cache")).unwrap();
    let verdict = run(&mut rehearsal, "- { name: x, event: {}, expect: { crm.outcome: failed } }").await;
    assert_eq!(verdict.steps[0].faults, [Fault::Unanswered(1)]);
    assert!(!verdict.passed());
    let text = "- { name: x, event: { user_id: '', anonymous_id: a }, expect: { crm.reason: missing_input } }";
    assert!(run(&mut rehearsal, text).await.passed(), "who is not asked need not be spoken of");
}

#[tokio::test]
async fn what_intake_refuses_ends_the_test() {
    let mut rehearsal = Rehearsal::new(&topology("cache")).unwrap();
    let text = "- name: x\n  events: [{ event: { user_id: '' } }, { event: {} }]\n  expect: { triggers: [] }";
    let verdict = run(&mut rehearsal, text).await;
    assert_eq!((verdict.steps.len(), verdict.events), (1, 2));
    let [Fault::Refused(why)] = &*verdict.steps[0].faults else { panic!("{:?}", verdict.steps[0].faults) };
    assert!(why.starts_with("HW602 user_id"), "{why}");
    assert!(screen(rehearsal.topology(), "t", &verdict).contains("1 more event was not run"));
}

#[tokio::test]
async fn a_campaign_is_named_once_however_many_are_told_and_only_with_consent() {
    let mut rehearsal = Rehearsal::new(&topology("cache")).unwrap();
    let agreed = "- { name: x, event: { consent: { marketing: true } }, given: { crm: { segment: gold } }, expect: { triggers: [hello] } }";
    let verdict = run(&mut rehearsal, agreed).await;
    assert!(verdict.passed(), "{verdict:?}");
    assert_eq!(verdict.steps[0].triggers.len(), 2, "one for each destination");
    let verdict = run(&mut rehearsal, &agreed.replace("true", "false")).await;
    assert_eq!(verdict.steps[0].fired().len(), 0);
    let screen = screen(rehearsal.topology(), "t", &verdict);
    assert!(screen.contains("its condition holds, but event.consent.marketing is not true"), "{screen}");
}

/// Counts a key's events in the device's field.
struct Counter;

#[derive(Default, Serialize, Deserialize)]
struct Count(i64);

impl Keyed for Counter {
    type State = Count;

    fn count(&self, _record: &Record, _part: Part, state: &mut Count) -> Ran {
        state.0 += 1;
        Ran { part: Part::ok(Source::State, vec![Value::Int(state.0)]), changed: true }
    }

    fn recall(&self, _record: &Record, _part: Part, state: &Count) -> Part {
        Part::ok(Source::State, vec![Value::Int(state.0)])
    }
}

#[tokio::test]
async fn state_is_kept_per_key_within_a_test_and_not_beyond() {
    let mut rehearsal = Rehearsal::new(&topology("cache")).unwrap();
    let spec = rehearsal.topology.agents[0].clone();
    let counter: Arc<dyn Agent> = Arc::new(KeyedAgent(Counter));
    let counter = StandIn::new(&rehearsal.topology, &spec, rehearsal.prompts[0].clone(), Some(counter), None);
    rehearsal.cast[0] = agent::guarded(&spec, Box::new(counter));
    let text = "- name: x\n  given: { crm: { segment: a } }\n  events: [{ event: {} }, { event: { user_id: other } }, \
                { event: {}, given: { device: { bot: true } } }, { event: {} }]\n  expect: { triggers: [] }";
    for _ in 0..2 {
        let verdict = run(&mut rehearsal, text).await;
        let counts: Vec<Value> = verdict.steps.iter().map(|step| step.record.parts[0].field(0).clone()).collect();
        // Where the test answers, the agent does not run, hence does not count.
        assert_eq!(counts, [Value::Int(1), Value::Int(1), Value::Bool(true), Value::Int(2)]);
    }
}

#[tokio::test]
async fn an_event_is_never_overdue_whatever_the_day() {
    let text = SHOP.replace("FALLBACK", "cache, skip_older_than: 1s");
    let topology = load("t.yaml", &text, &LoadOptions::default()).unwrap().topology;
    let mut rehearsal = Rehearsal::new(&topology).unwrap();
    let text = "- { name: x, event: {}, given: { crm: { segment: a } }, expect: { crm.outcome: ok } }";
    assert!(run(&mut rehearsal, text).await.passed());
}

#[tokio::test]
async fn a_question_needs_only_what_it_is_made_of() {
    let text = r#"
name: api
source: { topic: events.raw }
services:
  odd: { type: http, method: POST, url: "https://odd.example/{id}", body: { plan: "{plan}" }, result: { level: /level } }
agents:
  - { name: odd, type: function, input: { id: event.user_id, plan: event.properties.plan, unused: event.referrer } }
"#;
    let topology = load("t.yaml", text, &LoadOptions::default()).unwrap().topology;
    let mut rehearsal = Rehearsal::new(&topology).unwrap();
    let reason = async |rehearsal: &mut Rehearsal, event: &str| {
        let text =
            format!("- {{ name: x, event: {event}, given: {{ odd: {{ level: high }} }}, expect: {{ triggers: [] }} }}");
        run(rehearsal, &text).await.steps[0].record.parts[0].provenance.reason
    };
    assert_eq!(reason(&mut rehearsal, "{ properties: { plan: pro } }").await, None);
    assert_eq!(reason(&mut rehearsal, "{ referrer: x }").await, Some(Reason::MissingInput));
}

const KEYED: &str = r#"
name: keyed
source: { topic: events.raw }
agents:
  - { name: session, type: session, gap: 30m }
  - name: funnel
    type: funnel
    steps: [{ visit: 'event.type == "page"' }, { pricing: 'event.url.contains("/pricing")' }]
  - name: score
    type: lead_score
    decay: { half_life: 1d }
    rules: [{ add: 40, when: session.page_views >= 3 }]
triggers:
  - { campaign: hello, when: session.page_views >= 2, cooldown: 1h, destination: hook }
destinations:
  hook: { type: webhook, url: "https://hooks.example/shop", secret: whsec_c2hvcA== }
"#;

#[tokio::test]
async fn sessions_funnels_scores_and_cooldowns_build_up_over_events() {
    let topology = load("t.yaml", KEYED, &LoadOptions::default()).unwrap().topology;
    let mut rehearsal = Rehearsal::new(&topology).unwrap();
    let text = r#"
- name: three pages, a rest, another visit
  events:
    - { event: { type: page, url: "https://a.example/" }, expect: { session.page_views: 1, session.is_new: true, funnel.step: visit, triggers: [] } }
    - { event: { type: page, url: "https://a.example/pricing" }, after: 5m, expect: { session.page_views: 2, funnel.step: pricing, triggers: [hello] } }
    - { event: { type: page, url: "https://a.example/", user_id: other }, expect: { session.page_views: 1, triggers: [] } }
    - { event: { type: page, url: "https://a.example/" }, after: 5m, expect: { session.page_views: 3, score.value: 40, triggers: [] } }
    - { event: { type: page, url: "https://a.example/" }, after: 31m, expect: { session.page_views: 1, session.number: 2, triggers: [] } }
    - { event: { type: page, url: "https://a.example/" }, after: 29m, expect: { session.page_views: 2, triggers: [hello] } }
"#;
    let verdict = run(&mut rehearsal, text).await;
    let seen = screen(&topology, "t", &verdict);
    assert!(verdict.passed(), "{seen}");
    let given = "- { name: x, event: { type: page }, given: { state: { session: { page_views: 6 } } }, expect: { session.source: state, score.value: 40, triggers: [hello] } }";
    assert!(run(&mut rehearsal, given).await.passed(), "nothing is left of the test before");
    let verdict = run(
        &mut rehearsal,
        &text.replace(
            "after: 29m, expect: { session.page_views: 2, triggers: [hello]",
            "after: 1m, expect: { triggers: [hello]",
        ),
    )
    .await;
    let seen = screen(&topology, "t", &verdict);
    assert!(seen.contains("it fired before and has a cooldown of 1h"), "{seen}");
}

#[tokio::test]
async fn sentiment_by_lexicon_runs_for_real_and_stands_in_for_a_model_that_fails() {
    let text = "name: s\nsource: { topic: events.raw }\nagents: [{ name: s, type: local_llm, model: big, timeout: 500ms, fallback: lexicon }]\n";
    for (topology, given) in
        [(text.replace("big", "lexicon, "), ""), (text.to_owned(), "given: { s: { fails: timeout } }, ")]
    {
        let topology = topology.replace("lexicon, , timeout: 500ms, fallback: lexicon", "lexicon");
        let topology = load("t.yaml", &topology, &LoadOptions::default())
            .unwrap_or_else(|f| panic!("{}", render(&f, &topology)))
            .topology;
        let mut rehearsal = Rehearsal::new(&topology).unwrap();
        let case = format!(
            "- {{ name: x, event: {{ description: I hate this }}, {given}expect: {{ s.label: negative, s.source: lexicon }} }}"
        );
        let verdict = run(&mut rehearsal, &case).await;
        assert!(verdict.passed(), "{}", screen(&topology, "t", &verdict));
        let case = format!("- {{ name: x, event: {{}}, {given}expect: {{ s.reason: missing_input }} }}");
        assert!(run(&mut rehearsal, &case).await.passed());
    }
}
