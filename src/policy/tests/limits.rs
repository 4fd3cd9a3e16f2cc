//! Quota, breaker, batches and queues.

use super::*;

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

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_quota_is_let_go_when_the_breaker_opens() {
    let fake = service([]);
    fake.then(fail(Kind::Transient));
    let spec = ServiceSpec {
        rate_limit: Some(Rate { count: 1, per: Duration::from_secs(1) }),
        breaker: BreakerSpec { failures: 2, open: Duration::from_secs(60) },
        ..service_spec()
    };
    let stack = stack(&fake, &spec, &agent_spec());
    let parts = ask_all(&stack, &users(5)).await;
    let open = (Outcome::Failed, Some(Reason::BreakerOpen), None, 0);
    assert_eq!(parts.iter().filter(|part| says(part) == open).count(), 3);
    assert!(parts.iter().all(|part| part.provenance.latency_ms < 2100), "{parts:?}");
    assert_eq!(fake.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retry_costs_a_token_of_its_own() {
    let fake = service([fail(Kind::Transient)]);
    let spec = ServiceSpec { rate_limit: Some(Rate { count: 1, per: Duration::from_secs(3) }), ..service_spec() };
    let stack = stack(&fake, &spec, &AgentSpec { retry: 1, ..agent_spec() });
    let part = ask(&stack, "u1").await;
    assert_eq!(says(&part), (Outcome::Ok, None, Some(Source::Live), 2));
    let asked = fake.asked.lock();
    assert!(asked[1].0 - asked[0].0 >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_the_service_says_is_used_up_stops_the_calls_until_its_window_ends() {
    let five_minutes = Duration::from_secs(300);
    let nothing = Limit { remaining: 0, window: five_minutes, resets_in: Some(five_minutes) };
    let fake = service([Act::Left(nothing)]);
    let stack = stack(&fake, &service_spec(), &agent_spec());
    assert_eq!(ask(&stack, "u1").await.provenance.outcome, Outcome::Ok, "this one was answered");
    for key in ["u2", "u3"] {
        let part = at_once(&stack, key);
        assert_eq!(says(&part), (Outcome::Failed, Some(Reason::RateLimited), None, 0));
    }
    pass(five_minutes).await;
    assert_eq!(ask(&stack, "u2").await.provenance.outcome, Outcome::Ok, "it looks again");
    assert_eq!(fake.requests(), 2);
}
