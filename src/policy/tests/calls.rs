//! One call: shared, within its deadline, tried again.

use super::*;

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
async fn a_retry_that_cannot_be_sent_leaves_the_first_failure_as_the_reason() {
    let fake = service([]);
    fake.then(fail(Kind::Transient));
    let spec = ServiceSpec { breaker: BreakerSpec { failures: 1, open: Duration::from_secs(60) }, ..service_spec() };
    let stack = stack(&fake, &spec, &AgentSpec { retry: 2, ..agent_spec() });
    assert_eq!(says(&ask(&stack, "u1").await), (Outcome::Failed, Some(Reason::Unavailable), None, 1));
    assert_eq!(says(&at_once(&stack, "u2")), (Outcome::Failed, Some(Reason::BreakerOpen), None, 0));
}
