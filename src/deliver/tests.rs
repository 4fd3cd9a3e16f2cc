//! The courier's behaviour in played time.

mod world;

use std::time::Duration;

use proptest::prelude::*;
use world::*;

use super::{
    State,
    job::{Answer, Next},
};
use crate::{
    event::{Class, Trigger},
    topology::{DestinationSpec, Rate},
};

#[test]
fn a_trigger_that_is_taken_is_delivered_by_one_call() {
    let mut world = world(&spec(), |_, _, _| status(204));
    world.arrive(0).play(MINUTE);
    assert_eq!(world.codes(), [None]);
    assert_eq!(world.calls, [(0, 0)]);
}

#[test]
fn every_failure_that_may_pass_is_tried_again_and_each_pause_stays_below_its_ceiling() {
    let failures = [status(408), status(425), status(500), Answer::Timeout];
    let mut world = world(&spec(), |_, _, attempt| failures.get(attempt as usize - 1).cloned().unwrap_or(status(200)));
    world.arrive(0).play(HOUR);
    assert_eq!(world.codes(), [None]);
    assert_eq!(world.calls.len(), 5);
    for (n, pair) in world.calls.windows(2).enumerate() {
        let pause = pair[1].1 - (pair[0].1 + 20);
        assert!(pause <= 500 * 2i64.pow(n as u32) + 1, "pause {n}: {pause} ms");
    }
}

#[test]
fn a_refusal_is_a_dead_letter_at_once_and_says_nothing_against_the_destination() {
    for code in [400, 401, 403, 404, 413, 422] {
        let mut world = world(&spec(), |_, _, _| status(code));
        for _ in 0..10 {
            world.arrive(0);
        }
        world.play(HOUR);
        assert_eq!(world.codes(), [Some("HW620"); 10]);
        assert_eq!(world.calls.len(), 10);
        assert_eq!(world.state(), State::Ok);
    }
}

#[test]
fn an_expired_trigger_is_not_sent_and_one_that_expires_while_waiting_ends_then() {
    let mut world = world(&spec(), |_, _, _| wait_for(500, 600));
    world.topic.push_back((0, Some(0)));
    world.topic.push_back((0, Some(5 * SECOND)));
    world.play(HOUR);
    assert_eq!(world.codes(), [Some("HW621"), Some("HW621")]);
    assert_eq!(world.calls, [(1, 0)]);
    assert_eq!(world.cases[1].ended_ms, 5 * SECOND);
    let Doing::Done(Some(dead)) = &world.cases[1].doing else { panic!("dead") };
    assert_eq!(dead.class, Class::Expired);
    assert_eq!(dead.message, "expired at 2026-02-25T06:13:25.000Z after 1 attempt; last answer: 500");
}

#[test]
fn while_others_are_taken_one_trigger_is_tried_for_an_hour_and_no_longer() {
    let mut world = world(&spec(), |case, _, _| status(if case == 0 { 500 } else { 200 }));
    for n in 0..500 {
        world.arrive(n * 10 * SECOND);
    }
    world.play(5_000 * SECOND);
    assert_eq!(world.cases[0].code(), Some("HW620"));
    assert!((HOUR..HOUR + 61 * SECOND).contains(&world.cases[0].ended_ms), "{}", world.cases[0].ended_ms);
    assert!(world.cases[1..].iter().all(|case| case.code().is_none()));
}

#[test]
fn an_outage_of_hours_loses_nothing_and_costs_few_calls() {
    let outage = 10 * HOUR;
    let mut world = world(&spec(), |_, now, _| if now < outage { Answer::Timeout } else { status(200) });
    for n in 0..2_000 {
        world.arrive(n * 30 * SECOND);
    }
    world.poll_ms = SECOND;
    world.play(2 * DAY);
    assert_eq!(world.cases.len(), 2_000);
    assert!(world.codes().iter().all(Option::is_none));
    let during = world.calls.iter().filter(|(_, at)| *at < outage).count();
    assert!(during < 150, "{during} calls into the void");
    let late = world.cases.iter().map(|case| case.ended_ms).max().unwrap();
    assert!(late < 2_000 * 30 * SECOND + MINUTE, "the backlog is delivered soon after: {late}");
}

#[test]
fn while_a_destination_is_down_it_is_not_polled_for_and_hardly_anything_is_held() {
    let mut world = world(&spec(), |_, _, _| status(503));
    for n in 0..1_000 {
        world.arrive(n * SECOND);
    }
    world.play(1_000 * SECOND);
    assert!(world.cases.len() < 30, "{} in hand", world.cases.len());
    assert!(matches!(world.state(), State::Down { .. }));
    assert!(world.topic.len() > 970, "the rest waits in the topic");
}

#[test]
fn what_is_older_than_give_up_while_the_destination_is_down_is_given_up_and_says_so() {
    let mut world = world(&spec(), |_, _, _| Answer::Unreachable { message: "connection refused".into() });
    for n in 0..20 {
        world.arrive(n * MINUTE);
    }
    world.poll_ms = 10 * SECOND;
    world.play(5 * DAY);
    assert_eq!(world.codes(), [Some("HW622"); 20]);
    for case in &world.cases {
        assert!(case.ended_ms >= 3 * DAY, "{}", case.ended_ms);
    }
    let Doing::Done(Some(dead)) = &world.cases[0].doing else { panic!("dead") };
    assert!(dead.message.contains("connection refused"), "{}", dead.message);
    assert_eq!(dead.class, Class::Delivery);
}

#[test]
fn a_trigger_that_always_fails_does_not_stand_for_its_destination() {
    // Only trigger 0 fails; when it is alone for long it opens the breaker.
    let mut world = world(&spec(), |case, _, _| status(if case == 0 { 500 } else { 200 }));
    world.arrive(0);
    for n in 1..50 {
        world.arrive(n * 10 * MINUTE);
    }
    world.play(50 * 10 * MINUTE);
    for (n, case) in world.cases.iter().enumerate().skip(1) {
        assert_eq!(case.code(), None);
        let waited = case.ended_ms - n as i64 * 10 * MINUTE;
        assert!(waited < 5 * MINUTE + SECOND, "trigger {n} waited {waited} ms");
    }
    assert_eq!(world.cases.len(), 50);
    assert_eq!(world.cases[0].code(), Some("HW620"), "its hour counts only while the destination works");
}

#[test]
fn retry_after_holds_the_whole_destination_and_does_not_use_up_the_hour() {
    let mut world = world(&spec(), |_, now, _| if now < MINUTE { wait_for(429, 1_000_000) } else { status(200) });
    world.arrive(0).arrive(SECOND).play(HOUR - SECOND);
    assert_eq!(world.calls, [(0, 0)], "asked for longer than an hour: an hour is kept");
    assert!(matches!(world.state(), State::Paused { .. }));
    world.play(2 * HOUR);
    assert_eq!(world.codes(), [None, None]);
    assert!(world.calls[1].1 >= HOUR);
}

#[test]
fn retry_after_of_another_answer_holds_only_its_trigger() {
    let mut world =
        world(&spec(), |case, now, _| if case == 0 && now < MINUTE { wait_for(500, 90) } else { status(200) });
    world.arrive(0).arrive(SECOND).play(HOUR);
    assert_eq!(world.codes(), [None, None]);
    assert!(world.cases[1].ended_ms < 2 * SECOND);
    assert!(world.cases[0].ended_ms >= 90 * SECOND);
}

#[test]
fn gone_suspends_until_resumed_and_costs_only_the_trigger_that_met_it() {
    let mut world = world(&spec(), |case, _, _| status(if case == 0 { 410 } else { 200 }));
    world.arrive(0).arrive(10).arrive(SECOND).play(HOUR);
    assert_eq!(world.cases[0].code(), Some("HW623"));
    assert_eq!(world.state(), State::Suspended);
    let calls = world.calls.len();
    world.play(2 * HOUR);
    assert_eq!(world.calls.len(), calls);
    let now = world.moment().at;
    assert!(world.courier.resume(now).is_some());
    world.wake();
    world.play(3 * HOUR);
    assert_eq!(world.codes(), [Some("HW623"), None, None]);
}

#[test]
fn a_burst_is_spread_so_that_no_window_exceeds_the_rate() {
    let rate = Rate { count: 10, per: Duration::from_secs(1) };
    let mut world = world(&DestinationSpec { rate_limit: Some(rate), ..spec() }, |_, _, _| status(200));
    for _ in 0..100 {
        world.arrive(0);
    }
    world.play(MINUTE);
    assert_eq!(world.codes(), [None; 100]);
    for window in world.calls.windows(11) {
        assert!(window[10].1 - window[0].1 >= SECOND, "{window:?}");
    }
    assert!(world.calls[99].1 < 11 * SECOND);
}

#[test]
fn no_call_is_started_while_none_may_be() {
    let mut world = world(&spec(), |_, _, _| status(200));
    world.may_call = false;
    world.arrive(0).play(MINUTE);
    assert_eq!(world.calls, []);
    world.may_call = true;
    world.play(MINUTE + SECOND);
    assert_eq!(world.codes(), [None]);
}

#[test]
fn a_prober_that_goes_away_leaves_the_probe_to_another() {
    let mut world = world(&spec(), |_, _, _| status(503));
    world.arrive(0).play(DAY / 24);
    let at = |world: &World<_>| world.moment();
    let mut fresh = world.courier.enter(&Trigger { fired_at_ms: EPOCH_MS + world.now_ms, ..Trigger::default() });
    world.now_ms += 10 * MINUTE;
    assert_eq!(world.courier.next(&mut fresh, at(&world), true, true), Next::Call);
    let mut second = world.courier.enter(&Trigger { fired_at_ms: EPOCH_MS + world.now_ms, ..Trigger::default() });
    assert!(matches!(world.courier.next(&mut second, at(&world), true, true), Next::Wait(_)));
    assert!(world.courier.leave(&fresh, at(&world).at).is_some());
    assert_eq!(world.courier.next(&mut second, at(&world), true, true), Next::Call);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn whatever_a_destination_answers_every_trigger_ends_once_within_its_bounds(
        script in proptest::collection::vec((0usize..9, 0u64..400), 1..60),
        arrivals in proptest::collection::vec((0i64..20 * MINUTE, proptest::option::of(0i64..HOUR)), 1..40),
        concurrency in 1usize..5,
        rate in proptest::option::of((1u32..20, 1u64..60)),
    ) {
        let rate = rate.map(|(count, seconds)| Rate { count, per: Duration::from_secs(seconds) });
        let mut arrivals = arrivals;
        arrivals.sort();
        let spec = DestinationSpec {
            concurrency,
            rate_limit: rate,
            give_up: Duration::from_secs(7_200),
            ..spec()
        };
        let mut played = script.into_iter().cycle().take(2_000);
        let mut world = world(&spec, move |_, _, _| match played.next() {
            Some((0..2, _)) | None => status(200),
            Some((2, _)) => status(500),
            Some((3, _)) => Answer::Timeout,
            Some((4, seconds)) => wait_for(429, seconds),
            Some((5, seconds)) => wait_for(503, seconds),
            Some((6, _)) => status(400),
            Some((7, _)) => status(302),
            Some(_) => Answer::Unreachable { message: "reset".into() },
        });
        for (at, life) in &arrivals {
            world.topic.push_back((*at, life.map(|life| at + life)));
        }
        world.poll_ms = SECOND;
        world.play(30 * DAY);
        prop_assert!(world.topic.is_empty());
        prop_assert_eq!(world.free, concurrency);
        for (index, at) in &world.calls {
            if let Some(life) = arrivals[*index].1 {
                prop_assert!(*at < arrivals[*index].0 + life, "called after its expiry");
            }
        }
        if let Some(rate) = rate {
            for window in world.calls.windows(rate.count as usize + 1) {
                prop_assert!(window[rate.count as usize].1 - window[0].1 >= rate.per.as_millis() as i64 - 1);
            }
        }
        let now = world.moment().at;
        let snapshot = world.courier.snapshot(now);
        prop_assert_eq!(snapshot.in_hand, 0);
        prop_assert_eq!((snapshot.delivered + snapshot.dead) as usize, arrivals.len());
        for case in &world.cases {
            case.code();
        }
    }
}
