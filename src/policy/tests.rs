//! The whole stack over a scripted service, in tokio's paused time: it passes only when everybody waits.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;

use super::*;
use crate::{
    event::{Outcome, Part, Reason, Source, Type, Value},
    topology::{
        AgentKind, AgentSpec, BatchSpec, BreakerSpec, CacheSpec, Fallback, OutputField, Rate, ServiceKind, ServiceSpec,
    },
};

#[allow(clippy::disallowed_methods)]
fn paused_now() -> Instant {
    tokio::time::Instant::now().into_std()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// What the service does with one request.
#[derive(Clone)]
enum Act {
    /// Answers every key with its own name.
    Echo,
    NotFound,
    Fail(CallError),
    /// Answers keys that begin with "bad" with that error.
    FailBad(CallError),
}

fn fail(kind: Kind) -> Act {
    Act::Fail(CallError::new(kind, "scripted"))
}

/// A service that does what it is told, and remembers what it was asked.
struct Fake {
    takes: Duration,
    script: Mutex<VecDeque<Act>>,
    /// Once the script is over.
    then: Mutex<Act>,
    asked: Mutex<Vec<(Instant, Vec<Key>)>>,
}

impl Fake {
    fn requests(&self) -> usize {
        self.asked.lock().len()
    }
    fn then(&self, act: Act) {
        *self.then.lock() = act;
    }
}

impl Call for Arc<Fake> {
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response> {
        self.asked.lock().push((paused_now(), keys.clone()));
        let act = self.script.lock().pop_front().unwrap_or_else(|| self.then.lock().clone());
        let takes = self.takes;
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            let echo = |key: &Key| Ok(Some(Arc::from([Value::Text(key.clone()), Value::Int(7)])));
            match act {
                Act::Echo => Ok(keys.iter().map(echo).collect()),
                Act::NotFound => Ok(keys.iter().map(|_| Ok(None)).collect()),
                Act::Fail(error) => Err(error),
                Act::FailBad(error) => Ok(keys
                    .iter()
                    .map(|key| if key.starts_with("bad") { Err(error.clone()) } else { echo(key) })
                    .collect()),
            }
            .into()
        })
    }
}

fn service(script: impl IntoIterator<Item = Act>) -> Arc<Fake> {
    Arc::new(Fake {
        takes: ms(50),
        script: Mutex::new(script.into_iter().collect()),
        then: Mutex::new(Act::Echo),
        asked: Mutex::default(),
    })
}

fn service_spec() -> ServiceSpec {
    ServiceSpec {
        name: "crm".into(),
        kind: ServiceKind::Later { kind: "fake".into() },
        rate_limit: None,
        batch: None,
        cache: Some(CacheSpec {
            ttl: Duration::from_secs(300),
            stale: Duration::from_secs(3600),
            not_found: Duration::from_secs(60),
            entries: 1000,
        }),
        breaker: BreakerSpec { failures: 1000, open: Duration::from_secs(10) },
        failure_ttl: Duration::from_secs(5),
        concurrency: 16,
    }
}

fn agent_spec() -> AgentSpec {
    let field = |name: &str, ty| OutputField { name: name.into(), ty, from: name.into() };
    AgentSpec {
        name: "crm_lookup".into(),
        kind: AgentKind::Function { service: 0 },
        deps: Vec::new(),
        input: Vec::new(),
        output: vec![field("number", Type::Int), field("name", Type::Text)],
        when: None,
        consent: None,
        deadline: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        retry: 0,
        fallback: vec![Fallback::Cache],
        skip_older_than: None,
    }
}

fn stack(fake: &Arc<Fake>, service: &ServiceSpec, agent: &AgentSpec) -> Arc<Stack> {
    Stack::new(agent, Line::new(service, Arc::new(fake.clone()), paused_now), [1, 0])
}

async fn ask(stack: &Arc<Stack>, key: &str) -> Part {
    match stack.start(key.into()) {
        Reply::Now(part) => part,
        Reply::Later(part) => part.await,
    }
}

fn at_once(stack: &Arc<Stack>, key: &str) -> Part {
    match stack.start(key.into()) {
        Reply::Now(part) => part,
        Reply::Later(_) => panic!("{key} was not answered at once"),
    }
}

fn says(part: &Part) -> (Outcome, Option<Reason>, Option<Source>, u32) {
    let provenance = &part.provenance;
    (provenance.outcome, provenance.reason, provenance.source, provenance.attempts)
}

/// A cache that holds "u1" and has just gone stale.
async fn gone_stale(fake: &Arc<Fake>, service: &ServiceSpec, agent: &AgentSpec) -> Arc<Stack> {
    let stack = stack(fake, service, agent);
    assert_eq!(ask(&stack, "u1").await.provenance.outcome, Outcome::Ok);
    pass(Duration::from_secs(400)).await;
    stack
}

#[tokio::test(start_paused = true)]
async fn a_miss_asks_and_a_fresh_hit_is_answered_at_once() {
    let fake = service([]);
    let stack = stack(&fake, &service_spec(), &agent_spec());
    let part = ask(&stack, "u1").await;
    assert_eq!(says(&part), (Outcome::Ok, None, Some(Source::Live), 1));
    assert_eq!(part.fields, [Value::Int(7), Value::text("u1")], "fields in the part's order, not the service's");
    assert_eq!((part.provenance.latency_ms, part.provenance.age_ms), (50, None));

    pass(ms(1000)).await;
    let part = at_once(&stack, "u1");
    assert_eq!(says(&part), (Outcome::Ok, None, Some(Source::Cache), 0));
    assert_eq!(part.provenance.age_ms, Some(1000));
    assert_eq!(fake.requests(), 1);
    let counted = stack_line(&stack).snapshot();
    assert_eq!((counted.hits, counted.misses, counted.attempts.ok), (1, 1, 1));
}

fn stack_line(stack: &Arc<Stack>) -> &Arc<Line> {
    stack.line()
}

#[tokio::test(start_paused = true)]
async fn an_entry_past_its_time_to_live_is_asked_for_again() {
    let fake = service([]);
    let stack = gone_stale(&fake, &service_spec(), &agent_spec()).await;
    assert_eq!(says(&ask(&stack, "u1").await), (Outcome::Ok, None, Some(Source::Live), 1));
    assert_eq!(fake.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_the_same_at_once_share_one_request_and_its_answer() {
    let fake = service([]);
    let stack = stack(&fake, &service_spec(), &agent_spec());
    let parts = join_all((0..50).map(|_| ask(&stack, "u1"))).await;
    assert!(parts.iter().all(|part| says(part) == (Outcome::Ok, None, Some(Source::Live), 1)));
    assert_eq!(fake.requests(), 1);
    assert_eq!(stack_line(&stack).snapshot().coalesced, 49);
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_the_same_at_once_share_its_failure_too() {
    let fake = service([fail(Kind::Transient)]);
    let stack = stack(&fake, &service_spec(), &agent_spec());
    let parts = join_all((0..50).map(|_| ask(&stack, "u1"))).await;
    assert!(parts.iter().all(|part| says(part) == (Outcome::Failed, Some(Reason::Unavailable), None, 1)));
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_but_not_the_request_and_the_cache_gains() {
    let fake = Arc::new(Fake {
        takes: ms(1200),
        script: Mutex::default(),
        then: Mutex::new(Act::Echo),
        asked: Mutex::default(),
    });
    let agent = AgentSpec { deadline: ms(1000), ..agent_spec() };
    let stack = stack(&fake, &service_spec(), &agent);
    let part = ask(&stack, "u1").await;
    assert_eq!(says(&part), (Outcome::Failed, Some(Reason::Timeout), None, 1));
    assert_eq!(part.provenance.latency_ms, 1000);
    pass(ms(250)).await;
    assert_eq!(at_once(&stack, "u1").provenance.outcome, Outcome::Ok);
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_joins_late_has_a_deadline_of_their_own() {
    let fake = Arc::new(Fake {
        takes: ms(1200),
        script: Mutex::default(),
        then: Mutex::new(Act::Echo),
        asked: Mutex::default(),
    });
    let stack = stack(&fake, &service_spec(), &AgentSpec { deadline: ms(1000), ..agent_spec() });
    let late = async {
        pass(ms(500)).await;
        ask(&stack, "u1").await
    };
    let (first, second) = futures::join!(ask(&stack, "u1"), late);
    assert_eq!(first.provenance.outcome, Outcome::Failed);
    assert_eq!(says(&second), (Outcome::Ok, None, Some(Source::Live), 1));
    assert_eq!(second.provenance.latency_ms, 700);
}

#[tokio::test(start_paused = true)]
async fn an_answer_reaches_the_cache_though_nobody_waits_any_more() {
    let fake = service([]);
    let stack = stack(&fake, &service_spec(), &agent_spec());
    let abandoned = tokio::time::timeout(ms(10), ask(&stack, "u1")).await;
    assert!(abandoned.is_err());
    pass(ms(50)).await;
    assert_eq!(at_once(&stack, "u1").provenance.outcome, Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_stands_in_for_every_kind_of_failure_and_says_why_and_how_old() {
    for (kind, reason) in [
        (Kind::Timeout, Reason::Timeout),
        (Kind::Limited, Reason::RateLimited),
        (Kind::Transient, Reason::Unavailable),
        (Kind::Rejected, Reason::Rejected),
        (Kind::BadResponse, Reason::BadResponse),
    ] {
        let fake = service([Act::Echo, fail(kind)]);
        let stack = gone_stale(&fake, &service_spec(), &agent_spec()).await;
        let part = ask(&stack, "u1").await;
        assert_eq!(says(&part), (Outcome::Stale, Some(reason), Some(Source::Cache), 1));
        assert_eq!(part.provenance.age_ms, Some(400_050));
        assert_eq!(part.fields, [Value::Int(7), Value::text("u1")]);
        assert_eq!(stack_line(&stack).snapshot().stale, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_answer_times_out_per_attempt() {
    let fake = Arc::new(Fake {
        takes: Duration::from_secs(60),
        script: Mutex::default(),
        then: Mutex::new(Act::Echo),
        asked: Mutex::default(),
    });
    let stack = stack(&fake, &service_spec(), &AgentSpec { retry: 1, ..agent_spec() });
    let part = ask(&stack, "u1").await;
    assert_eq!(says(&part), (Outcome::Failed, Some(Reason::Timeout), None, 2));
    assert!((4000..=4100).contains(&part.provenance.latency_ms), "{}", part.provenance.latency_ms);
    assert_eq!(stack_line(&stack).snapshot().attempts.timeout, 2);
}

#[tokio::test(start_paused = true)]
async fn past_its_stale_bound_a_value_serves_no_more() {
    let fake = service([Act::Echo]);
    let stack = gone_stale(&fake, &service_spec(), &agent_spec()).await;
    fake.then(fail(Kind::Transient));
    pass(Duration::from_secs(3600)).await;
    assert_eq!(says(&ask(&stack, "u1").await), (Outcome::Failed, Some(Reason::Unavailable), None, 1));
}

#[tokio::test(start_paused = true)]
async fn fallbacks_stand_in_in_their_order() {
    let values = Fallback::Values(vec![(1, Value::text("none"))]);
    for (fallback, with_cache, without) in [
        (vec![Fallback::Cache, values.clone()], Outcome::Stale, Outcome::Fallback),
        (vec![values.clone(), Fallback::Cache], Outcome::Fallback, Outcome::Fallback),
        (vec![Fallback::DeadLetter], Outcome::Failed, Outcome::Failed),
        (vec![], Outcome::Failed, Outcome::Failed),
    ] {
        let fake = service([Act::Echo]);
        let stack = gone_stale(&fake, &service_spec(), &AgentSpec { fallback, ..agent_spec() }).await;
        fake.then(fail(Kind::Transient));
        assert_eq!(ask(&stack, "u1").await.provenance.outcome, with_cache);
        let part = ask(&stack, "u2").await;
        assert_eq!(part.provenance.outcome, without);
        if without == Outcome::Fallback {
            assert_eq!(part.fields, [Value::Null, Value::text("none")]);
            assert_eq!(says(&part), (without, Some(Reason::Unavailable), Some(Source::Default), 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_just_failed_is_not_sent_again() {
    let fake = service([fail(Kind::Transient)]);
    let stack = stack(&fake, &service_spec(), &agent_spec());
    ask(&stack, "u1").await;
    pass(ms(4900)).await;
    assert_eq!(says(&at_once(&stack, "u1")), (Outcome::Failed, Some(Reason::Unavailable), None, 0));
    assert_eq!((fake.requests(), stack_line(&stack).snapshot().remembered), (1, 1));
    pass(ms(200)).await;
    assert_eq!(says(&ask(&stack, "u1").await), (Outcome::Ok, None, Some(Source::Live), 1));
}

#[tokio::test(start_paused = true)]
async fn not_found_is_an_answer_and_remembered_briefly() {
    let fake = service([]);
    fake.then(Act::NotFound);
    let stack = stack(&fake, &service_spec(), &agent_spec());
    let part = ask(&stack, "u1").await;
    assert_eq!(says(&part), (Outcome::Ok, Some(Reason::NotFound), Some(Source::Live), 1));
    assert!(part.field(0).is_null());
    let part = at_once(&stack, "u1");
    assert_eq!(says(&part), (Outcome::Ok, Some(Reason::NotFound), Some(Source::Cache), 0));
    pass(Duration::from_secs(60)).await;
    ask(&stack, "u1").await;
    assert_eq!(fake.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn not_found_takes_declared_values_but_never_a_stale_one() {
    let fake = service([Act::Echo, Act::NotFound]);
    let fallback = vec![Fallback::Cache, Fallback::Values(vec![(1, Value::text("unknown"))])];
    let stack = gone_stale(&fake, &service_spec(), &AgentSpec { fallback, ..agent_spec() }).await;
    let part = ask(&stack, "u1").await;
    assert_eq!(says(&part), (Outcome::Fallback, Some(Reason::NotFound), Some(Source::Default), 1));
    assert_eq!(part.fields, [Value::Null, Value::text("unknown")]);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_and_what_is_final_is_not() {
    for (kind, attempts) in [(Kind::Transient, 3), (Kind::Timeout, 3), (Kind::Rejected, 1), (Kind::BadResponse, 1)] {
        let fake = service([]);
        fake.then(fail(kind));
        let stack = stack(&fake, &service_spec(), &AgentSpec { retry: 2, ..agent_spec() });
        assert_eq!(ask(&stack, "u1").await.provenance.attempts, attempts, "{kind:?}");
        assert_eq!(fake.requests(), attempts as usize);
    }
    let fake = service([fail(Kind::Transient)]);
    let stack = stack(&fake, &service_spec(), &AgentSpec { retry: 2, ..agent_spec() });
    assert_eq!(says(&ask(&stack, "u1").await), (Outcome::Ok, None, Some(Source::Live), 2));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_within_the_deadline() {
    let limited =
        |seconds| Act::Fail(CallError::new(Kind::Limited, "429").with_retry_after(Some(Duration::from_secs(seconds))));
    let agent = AgentSpec { retry: 1, ..agent_spec() };
    let fake = service([limited(3)]);
    let stack_3s = stack(&fake, &service_spec(), &agent);
    let part = ask(&stack_3s, "u1").await;
    assert_eq!(says(&part), (Outcome::Ok, None, Some(Source::Live), 2));
    assert!((3100..3200).contains(&part.provenance.latency_ms), "{}", part.provenance.latency_ms);

    let fake = service([limited(30)]);
    let stack_30s = stack(&fake, &service_spec(), &agent);
    let part = ask(&stack_30s, "u1").await;
    assert_eq!(says(&part), (Outcome::Failed, Some(Reason::RateLimited), None, 1));
    assert_eq!(part.provenance.latency_ms, 50, "thirty seconds do not fit: no use in waiting");
    let other = at_once(&stack_30s, "u2");
    assert_eq!(says(&other), (Outcome::Failed, Some(Reason::RateLimited), None, 0), "nobody may ask meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_quota_that_fits_is_waited_and_one_that_does_not_is_refused_at_once() {
    let fake = service([]);
    let spec = ServiceSpec { rate_limit: Some(Rate { count: 1, per: Duration::from_secs(4) }), ..service_spec() };
    let stack = stack(&fake, &spec, &agent_spec());
    assert_eq!(ask(&stack, "u1").await.provenance.latency_ms, 50);
    let (second, third) = futures::join!(ask(&stack, "u2"), async {
        pass(ms(1)).await;
        at_once(&stack, "u3")
    });
    assert_eq!(says(&second), (Outcome::Ok, None, Some(Source::Live), 1));
    assert!((3990..=4010).contains(&second.provenance.latency_ms), "{}", second.provenance.latency_ms);
    assert_eq!(says(&third), (Outcome::Failed, Some(Reason::RateLimited), None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_worker_uses_its_share_of_the_quota_only() {
    let fake = service([]);
    let spec = ServiceSpec { rate_limit: Some(Rate { count: 40, per: Duration::from_secs(1) }), ..service_spec() };
    let stack = stack(&fake, &spec, &agent_spec());
    stack_line(&stack).set_share(0.25);
    let parts = join_all((0..30).map(|user| {
        let stack = &stack;
        async move { ask(stack, &format!("u{user}")).await }
    }))
    .await;
    assert!(parts.iter().all(|part| part.provenance.outcome == Outcome::Ok));
    let asked = fake.asked.lock();
    let took = asked.last().unwrap().0 - asked.first().unwrap().0;
    assert!((ms(2800)..ms(3200)).contains(&took), "thirty at ten a second took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_answers_at_once_and_one_probe_closes_it() {
    let fake = service([Act::Echo]);
    let spec = ServiceSpec {
        breaker: BreakerSpec { failures: 2, open: Duration::from_secs(10) },
        failure_ttl: Duration::ZERO,
        ..service_spec()
    };
    let stack = gone_stale(&fake, &spec, &agent_spec()).await;
    fake.then(fail(Kind::Transient));
    ask(&stack, "u1").await;
    ask(&stack, "u2").await;
    assert_eq!(stack_line(&stack).snapshot().breaker, Phase::Open);
    let part = at_once(&stack, "u1");
    assert_eq!(says(&part), (Outcome::Stale, Some(Reason::BreakerOpen), Some(Source::Cache), 0));
    assert_eq!(says(&at_once(&stack, "u9")), (Outcome::Failed, Some(Reason::BreakerOpen), None, 0));

    pass(Duration::from_secs(10)).await;
    fake.then(Act::Echo);
    let asked = fake.requests();
    let parts = join_all(["u3", "u4", "u5"].map(|key| ask(&stack, key))).await;
    assert_eq!(fake.requests(), asked + 1, "one probe");
    assert_eq!(parts.iter().filter(|part| part.provenance.outcome == Outcome::Ok).count(), 1);
    assert_eq!(stack_line(&stack).snapshot().breaker, Phase::Closed);
    assert_eq!(ask(&stack, "u4").await.provenance.outcome, Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn refusals_and_quota_answers_do_not_open_the_breaker() {
    let spec = ServiceSpec { breaker: BreakerSpec { failures: 2, open: Duration::from_secs(10) }, ..service_spec() };
    let fake = service([]);
    fake.then(fail(Kind::Rejected));
    let stack = stack(&fake, &spec, &agent_spec());
    for key in ["u1", "u2", "u3"] {
        ask(&stack, key).await;
    }
    assert_eq!(stack_line(&stack).snapshot().breaker, Phase::Closed);
}

fn batching() -> ServiceSpec {
    ServiceSpec { batch: Some(BatchSpec { max: 10, wait: ms(5) }), ..service_spec() }
}

async fn ask_all(stack: &Arc<Stack>, keys: &[String]) -> Vec<Part> {
    join_all(keys.iter().map(|key| ask(stack, key))).await
}

fn users(count: usize) -> Vec<String> {
    (0..count).map(|user| format!("u{user}")).collect()
}

#[tokio::test(start_paused = true)]
async fn misses_share_a_request_up_to_the_batch_size_and_wait_no_longer_than_agreed() {
    let fake = service([]);
    let stack = stack(&fake, &batching(), &agent_spec());
    let parts = ask_all(&stack, &users(25)).await;
    let mut sizes: Vec<_> = fake.asked.lock().iter().map(|(_, keys)| keys.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 10, 10]);
    for (part, user) in parts.iter().zip(users(25)) {
        assert_eq!(part.fields[1], Value::text(user), "everybody gets their own answer");
        assert!(part.provenance.latency_ms <= 56);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_item_costs_itself_and_a_failing_batch_all_of_it() {
    let fake = service([Act::FailBad(CallError::new(Kind::Rejected, "VALIDATION_ERROR")), fail(Kind::Transient)]);
    let stack = stack(&fake, &batching(), &agent_spec());
    let parts = ask_all(&stack, &["u1".to_owned(), "bad".to_owned(), "u2".to_owned()]).await;
    let outcomes: Vec<_> = parts.iter().map(|part| (part.provenance.outcome, part.provenance.reason)).collect();
    assert_eq!(outcomes, [(Outcome::Ok, None), (Outcome::Failed, Some(Reason::Rejected)), (Outcome::Ok, None)]);
    let parts = ask_all(&stack, &["u3".to_owned(), "u4".to_owned()]).await;
    assert!(parts.iter().all(|part| says(part) == (Outcome::Failed, Some(Reason::Unavailable), None, 1)));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_while_a_batch_waits_for_quota_rides_along() {
    let fake = service([]);
    let spec = ServiceSpec { rate_limit: Some(Rate { count: 1, per: Duration::from_secs(2) }), ..batching() };
    let stack = stack(&fake, &spec, &agent_spec());
    let trickle = users(20).into_iter().enumerate().map(|(index, user)| {
        let stack = &stack;
        async move {
            pass(ms(100) * index as u32).await;
            ask(stack, &user).await
        }
    });
    let parts = join_all(trickle).await;
    assert!(parts.iter().all(|part| part.provenance.outcome == Outcome::Ok), "{parts:?}");
    let sizes: Vec<_> = fake.asked.lock().iter().map(|(_, keys)| keys.len()).collect();
    assert_eq!(sizes[..2], [1, 10], "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_has_stopped_waiting_is_not_asked_for() {
    let fake = service([]);
    let spec = ServiceSpec { rate_limit: Some(Rate { count: 1, per: Duration::from_secs(4) }), ..service_spec() };
    let stack = stack(&fake, &spec, &agent_spec());
    ask(&stack, "u1").await;
    let line = stack_line(&stack);
    let second = ask(&stack, "u2");
    line.set_share(0.1);
    assert_eq!(says(&second.await), (Outcome::Failed, Some(Reason::RateLimited), None, 0));
    pass(Duration::from_secs(120)).await;
    assert_eq!(fake.requests(), 1);
    assert_eq!(says(&ask(&stack, "u3").await), (Outcome::Ok, None, Some(Source::Live), 1), "its token was not spent");
}

#[tokio::test(start_paused = true)]
async fn a_queue_longer_than_the_deadline_is_not_joined() {
    let fake = Arc::new(Fake {
        takes: ms(1000),
        script: Mutex::default(),
        then: Mutex::new(Act::Echo),
        asked: Mutex::default(),
    });
    let spec = ServiceSpec { concurrency: 1, ..service_spec() };
    let stack = stack(&fake, &spec, &AgentSpec { deadline: ms(3500), ..agent_spec() });
    ask(&stack, "warm").await;
    let keys = users(10);
    let asked = keys.iter().map(|key| {
        let stack = &stack;
        async move {
            let part = ask(stack, key).await;
            (part.provenance.outcome, part.provenance.latency_ms)
        }
    });
    // One after the other comes to the queue, so that each sees those before.
    let parts = join_all(asked.enumerate().map(|(index, part)| async move {
        pass(ms(index as u64)).await;
        part.await
    }))
    .await;
    let answered = parts.iter().filter(|(outcome, _)| *outcome == Outcome::Ok).count();
    let refused = parts.iter().filter(|(outcome, latency_ms)| *outcome == Outcome::Failed && *latency_ms == 0).count();
    assert_eq!((answered, refused), (3, 6), "{parts:?}");
    assert_eq!(fake.requests(), 5, "the first, three in time, and one on the wire at its deadline");
}
