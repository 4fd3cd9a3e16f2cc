//! What the cache, remembered failures and fallbacks do.

use super::*;

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

#[tokio::test(start_paused = true)]
async fn an_entry_past_its_time_to_live_is_asked_for_again() {
    let fake = service([]);
    let stack = gone_stale(&fake, &service_spec(), &agent_spec()).await;
    assert_eq!(says(&ask(&stack, "u1").await), (Outcome::Ok, None, Some(Source::Live), 1));
    assert_eq!(fake.requests(), 2);
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
