use std::time::{Duration, Instant};

use kafka_protocol::ResponseError::{self, *};

use super::super::txn::{Coordinator, End, Init, Markers, ProducerRef};
use crate::clock;

fn init(coordinator: &mut Coordinator, now: Instant) -> ProducerRef {
    match coordinator.init("t", 1000, None, now) {
        Ok(Init::Ready(producer)) => producer,
        other => panic!("{other:?}"),
    }
}

fn add(coordinator: &mut Coordinator, producer: ProducerRef, now: Instant) -> Result<(), ResponseError> {
    coordinator.add_partitions("t", producer, vec![("out".to_owned(), 0)], now)
}

#[test]
fn a_transaction_goes_from_begin_to_markers() {
    let (mut coordinator, now) = (Coordinator::default(), clock::now());
    let producer = init(&mut coordinator, now);
    assert_eq!(coordinator.end("t", producer, true), Err(InvalidTxnState), "nothing is open");
    add(&mut coordinator, producer, now).unwrap();
    coordinator.add_group("t", producer, "g", now).unwrap();
    assert_eq!(coordinator.may_write("t", producer, "out", 0), Ok(()));
    assert_eq!(coordinator.may_write("t", producer, "out", 1), Err(InvalidTxnState), "not added");
    assert_eq!(coordinator.may_commit("t", producer, "other"), Err(InvalidTxnState));
    assert_eq!(coordinator.end("t", producer, true), Ok(End::Decided));
    assert_eq!(coordinator.may_write("t", producer, "out", 0), Err(InvalidTxnState), "decided");
    assert_eq!(add(&mut coordinator, producer, now), Err(ConcurrentTransactions));
    let markers = coordinator.complete("t", now).unwrap();
    let (partitions, groups) = ([("out".to_owned(), 0)].into(), ["g".to_owned()].into());
    assert_eq!(markers, Markers { producer, commit: true, partitions, groups });
    assert_eq!(coordinator.complete("t", now), None, "once");
    assert_eq!(coordinator.end("t", producer, true), Ok(End::Repeated));
    assert_eq!(coordinator.end("t", producer, false), Err(InvalidTxnState));
    assert_eq!(add(&mut coordinator, producer, now), Ok(()));
}

#[test]
fn a_new_owner_aborts_the_old_ones_transaction_and_fences_it() {
    let (mut coordinator, now) = (Coordinator::default(), clock::now());
    let zombie = init(&mut coordinator, now);
    add(&mut coordinator, zombie, now).unwrap();
    assert_eq!(coordinator.init("t", 1000, None, now), Ok(Init::Aborting));
    assert_eq!(coordinator.init("t", 1000, None, now), Err(ConcurrentTransactions));
    assert_eq!(coordinator.end("t", zombie, true), Err(ProducerFenced));
    let markers = coordinator.complete("t", now).unwrap();
    assert!(!markers.commit && markers.producer.epoch > zombie.epoch);
    let owner = init(&mut coordinator, now);
    assert_eq!(owner.id, zombie.id);
    assert!(owner.epoch > markers.producer.epoch);
    assert_eq!(add(&mut coordinator, zombie, now), Err(ProducerFenced));
    assert_eq!(coordinator.may_write("t", zombie, "out", 0), Err(InvalidProducerEpoch));
    assert_eq!(add(&mut coordinator, ProducerRef { id: 1, ..owner }, now), Err(InvalidProducerIdMapping));
}

#[test]
fn a_producer_may_bump_its_own_epoch_once_and_repeat_the_request() {
    let (mut coordinator, now) = (Coordinator::default(), clock::now());
    let first = init(&mut coordinator, now);
    let bumped = ProducerRef { epoch: first.epoch + 1, ..first };
    assert_eq!(coordinator.init("t", 1000, Some(first), now), Ok(Init::Ready(bumped)));
    assert_eq!(coordinator.init("t", 1000, Some(first), now), Ok(Init::Ready(bumped)), "the answer was lost");
    let third = init(&mut coordinator, now);
    assert_eq!(coordinator.init("t", 1000, Some(first), now), Err(ProducerFenced));
    assert_eq!(third.epoch, bumped.epoch + 1);
}

#[test]
fn an_overdue_transaction_is_aborted_under_the_next_epoch() {
    let (mut coordinator, now) = (Coordinator::default(), clock::now());
    let producer = init(&mut coordinator, now);
    add(&mut coordinator, producer, now).unwrap();
    assert!(coordinator.expire(now + Duration::from_millis(1000)).is_empty());
    assert_eq!(coordinator.expire(now + Duration::from_millis(1001)), ["t"]);
    assert!(!coordinator.complete("t", now).unwrap().commit);
    assert_eq!(coordinator.end("t", producer, true), Err(ProducerFenced));
    assert!(coordinator.expire(now + Duration::from_secs(9)).is_empty(), "nothing is open any more");
}

#[test]
fn epochs_that_run_out_get_a_new_producer_id() {
    let (mut coordinator, now) = (Coordinator::default(), clock::now());
    let first = init(&mut coordinator, now);
    let mut last = first;
    while last.id == first.id {
        assert!(last.epoch < i16::MAX);
        last = init(&mut coordinator, now);
    }
    assert_eq!(last.epoch, 0);
    assert_ne!(coordinator.idempotent_producer().id, last.id);
}

#[test]
fn impossible_timeouts_are_refused() {
    let (mut coordinator, now) = (Coordinator::default(), clock::now());
    for timeout_ms in [0, -1, 900_001] {
        assert_eq!(coordinator.init("t", timeout_ms, None, now), Err(InvalidTransactionTimeout));
    }
}
