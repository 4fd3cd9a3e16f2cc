use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use headwater::{
    deliver::{State, Verdict},
    dev::receiver::Reply,
};

use super::*;

#[tokio::test]
async fn while_a_destination_is_dead_nothing_is_polled_and_when_it_is_back_nothing_is_lost() {
    let receiver = receiver().await;
    let destination = destination(&spec(&receiver.url()));
    assert!(destination.accepting());
    receiver.stub().set_alive(false);
    let all: Vec<_> = (0..20).map(|n| tokio::spawn(destination.deliver(trigger(&format!("t{n}"))))).collect();
    until(|| matches!(destination.snapshot().state, State::Down { .. })).await;
    // Triggers that have not been tried are in hand: the next probe is theirs, and no more are wanted.
    assert!(!destination.accepting());
    let snapshot = destination.snapshot();
    assert_eq!((snapshot.in_hand, snapshot.delivered), (20, 0));
    assert!(snapshot.failing_since_ms.is_some() && snapshot.oldest_fired_at_ms.is_some());
    assert!(snapshot.last_status.is_none() && !snapshot.last.is_empty(), "{}", snapshot.last);
    receiver.stub().set_alive(true);
    for verdict in futures::future::join_all(all).await {
        assert!(matches!(verdict.unwrap(), Verdict::Delivered { .. }));
    }
    assert!(destination.accepting());
    let snapshot = destination.snapshot();
    assert_eq!((snapshot.state, snapshot.in_hand, snapshot.delivered, snapshot.dead), (State::Ok, 0, 20, 0));
    assert_eq!(receiver.counts().distinct, 20);
}

#[tokio::test]
async fn gone_suspends_the_destination_for_all_until_it_is_resumed() {
    let receiver = receiver().await;
    receiver.answer([Reply::Status(410)], Reply::Status(200));
    let destination = destination(&spec(&receiver.url()));
    let (code, message) = dead(destination.deliver(trigger("t1")).await);
    assert_eq!(code, "HW623");
    assert!(message.contains("410 and is suspended"), "{message}");
    assert!(!destination.accepting());
    assert_eq!(destination.snapshot().state, State::Suspended);
    let waiting = tokio::spawn(destination.deliver(trigger("t2")));
    until(|| destination.snapshot().in_hand == 1).await;
    assert_eq!(receiver.counts().requests, 1);
    destination.resume();
    assert!(matches!(waiting.await.unwrap(), Verdict::Delivered { attempts: 1, .. }));
    assert!(destination.accepting());
}

#[tokio::test]
async fn no_call_is_started_while_the_worker_may_not_call() {
    let receiver = receiver().await;
    let (may, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let may_call: MayCall = {
        let (may, asked) = (may.clone(), asked.clone());
        Arc::new(move || {
            asked.fetch_add(1, Relaxed);
            may.load(Relaxed)
        })
    };
    let destination = Destination::with_pace(&spec(&receiver.url()), may_call, pace()).unwrap();
    let delivery = tokio::spawn(destination.deliver(trigger("t1")));
    until(|| asked.load(Relaxed) > 5).await;
    assert_eq!(receiver.counts().requests, 0);
    may.store(true, Relaxed);
    assert!(matches!(delivery.await.unwrap(), Verdict::Delivered { attempts: 1, .. }));
}

#[tokio::test]
async fn a_delivery_that_is_dropped_in_the_middle_of_its_probe_leaves_it_to_another() {
    let receiver = receiver().await;
    receiver.answer([], Reply::Status(503));
    let destination = destination(&spec(&receiver.url()));
    let first = tokio::spawn(destination.deliver(trigger("t1")));
    until(|| matches!(destination.snapshot().state, State::Down { .. })).await;
    receiver.set_latency(std::time::Duration::from_secs(3_600));
    let before = receiver.counts().requests;
    until(|| receiver.counts().requests > before).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    receiver.set_latency(std::time::Duration::ZERO);
    receiver.answer([], Reply::Status(200));
    assert!(matches!(destination.deliver(trigger("t2")).await, Verdict::Delivered { .. }));
    assert_eq!(destination.snapshot().in_hand, 0);
}

#[tokio::test]
async fn an_expired_trigger_never_leaves_the_house() {
    let receiver = receiver().await;
    let destination = destination(&spec(&receiver.url()));
    let expired = Trigger { expires_at_ms: Some(headwater::clock::unix_ms() - 1), ..trigger("t1") };
    let (code, message) = dead(destination.deliver(expired).await);
    assert_eq!(code, "HW621");
    assert!(message.contains("before the first attempt"), "{message}");
    assert_eq!(receiver.counts().requests, 0);
}

#[tokio::test]
async fn a_destination_that_asks_for_time_gets_it() {
    let receiver = receiver().await;
    receiver.answer([Reply::RetryAfter(503, 1_200)], Reply::Status(200));
    let destination = destination(&spec(&receiver.url()));
    let waiting = tokio::spawn(destination.deliver(trigger("t1")));
    until(|| matches!(destination.snapshot().state, State::Paused { .. })).await;
    let State::Paused { left } = destination.snapshot().state else { panic!("paused") };
    assert!(
        (std::time::Duration::from_secs(1_000)..=std::time::Duration::from_secs(1_200)).contains(&left),
        "{left:?}"
    );
    assert!(!destination.accepting());
    assert_eq!((receiver.counts().requests, destination.snapshot().last_status), (1, Some(503)));
    waiting.abort();
}

#[tokio::test]
async fn a_trigger_older_than_give_up_is_given_up_while_the_destination_is_down() {
    let receiver = receiver().await;
    receiver.stub().set_alive(false);
    let give_up = std::time::Duration::from_millis(200);
    let destination = destination(&DestinationSpec { give_up, ..spec(&receiver.url()) });
    let (code, message) = dead(destination.deliver(trigger("t1")).await);
    assert_eq!(code, "HW622");
    assert!(message.starts_with("ops-hook is down and the trigger older than give_up (200ms), after "), "{message}");
    assert_eq!((destination.snapshot().dead, destination.snapshot().in_hand), (1, 0));
}
