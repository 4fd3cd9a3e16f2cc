//! Transactions: isolation, fencing, offsets, markers, timeouts.

use std::time::Duration;

use headwater::dev::broker::BrokerConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};

use super::wire::{self, Wire};
use super::{PATIENCE, Running, assigned, deliver, eventually, send};

fn slow_markers() -> Running {
    let running =
        Running::start_with(BrokerConfig { marker_delay: Duration::from_millis(300), ..BrokerConfig::default() });
    running.topic("out", 1);
    running
}

#[test]
fn committed_records_appear_and_aborted_ones_never_do() {
    let running = Running::start();
    running.topic("out", 1);
    let producer = running.transactional("t");
    for (value, commit) in [("a", true), ("b", false), ("c", true)] {
        producer.begin_transaction().unwrap();
        deliver(&producer, "out", 0, value);
        match commit {
            true => producer.commit_transaction(PATIENCE).unwrap(),
            false => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }
    // An answered EndTxn is decided, not yet visible: the markers come a little later.
    let end = || running.consumer("g", &[]).fetch_watermarks("out", 0, PATIENCE).unwrap().1;
    eventually("three records and three markers", || (end() == 6).then_some(()));
    assert_eq!(running.read("out", 0, "read_committed"), ["a", "c"]);
    assert_eq!(running.read("out", 0, "read_uncommitted"), ["a", "b", "c"]);
}

#[test]
fn an_open_transaction_holds_the_last_stable_offset() {
    let running = Running::start();
    running.topic("out", 1);
    let producer = running.transactional("t");
    producer.begin_transaction().unwrap();
    deliver(&producer, "out", 0, "open");
    deliver(&running.producer(&[]), "out", 0, "plain");
    let high = |isolation| {
        let consumer = running.consumer("g", &[("isolation.level", isolation)]);
        consumer.fetch_watermarks("out", 0, PATIENCE).unwrap().1
    };
    assert_eq!((high("read_committed"), high("read_uncommitted")), (0, 2));
    assert!(running.read("out", 0, "read_committed").is_empty());
    producer.commit_transaction(PATIENCE).unwrap();
    eventually("the marker", || (high("read_committed") == 3).then_some(()));
    assert_eq!(running.read("out", 0, "read_committed"), ["open", "plain"]);
}

#[test]
fn a_second_owner_of_a_transactional_id_fences_the_first() {
    let running = Running::start();
    running.topic("out", 1);
    let zombie = running.transactional("t");
    zombie.begin_transaction().unwrap();
    deliver(&zombie, "out", 0, "zombie");
    let owner = running.transactional("t");
    send(&zombie, "out", 0, "late");
    let fenced = zombie.commit_transaction(PATIENCE).unwrap_err();
    let KafkaError::Transaction(error) = &fenced else { panic!("{fenced}") };
    assert!(error.is_fatal(), "{fenced}");
    assert_eq!(error.code(), RDKafkaErrorCode::Fenced, "{fenced}");
    owner.begin_transaction().unwrap();
    deliver(&owner, "out", 0, "owner");
    owner.commit_transaction(PATIENCE).unwrap();
    eventually("the owner's record alone", || (running.read("out", 0, "read_committed") == ["owner"]).then_some(()));
}

/// A member of group `g` that holds partition 0 of `in`.
fn member(running: &Running) -> BaseConsumer {
    let consumer = running.consumer("g", &[("isolation.level", "read_committed"), ("heartbeat.interval.ms", "50")]);
    consumer.subscribe(&["in"]).unwrap();
    eventually("assigned", || {
        if let Some(polled) = consumer.poll(Duration::from_millis(5)) {
            polled.unwrap();
        }
        (assigned(&consumer) == [0]).then_some(())
    });
    consumer
}

fn next(offset: i64) -> TopicPartitionList {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("in", 0, Offset::Offset(offset)).unwrap();
    offsets
}

#[test]
fn offsets_in_a_transaction_appear_with_it_and_are_unstable_until_then() {
    let running = Running::start();
    running.topic("in", 1);
    running.topic("out", 1);
    let consumer = member(&running);
    let producer = running.transactional("t");
    let mut wire = Wire::connect(&running.address());
    for (offset, commit, after) in [(5, true, 5), (9, false, 5)] {
        let before = wire.fetch_offset("g", "in", true);
        producer.begin_transaction().unwrap();
        deliver(&producer, "out", 0, "x");
        producer.send_offsets_to_transaction(&next(offset), &consumer.group_metadata().unwrap(), PATIENCE).unwrap();
        assert_eq!(wire.fetch_offset("g", "in", true), (wire::UNSTABLE_OFFSET_COMMIT, -1));
        assert_eq!(wire.fetch_offset("g", "in", false), before, "whoever does not ask for stability sees the old one");
        match commit {
            true => producer.commit_transaction(PATIENCE).unwrap(),
            false => producer.abort_transaction(PATIENCE).unwrap(),
        }
        eventually("stable again", || (wire.fetch_offset("g", "in", true).0 == wire::NONE).then_some(()));
        assert_eq!(wire.fetch_offset("g", "in", true), (wire::NONE, after));
    }
}

#[test]
fn a_member_that_was_replaced_cannot_commit_offsets_in_a_transaction() {
    let running = Running::start();
    running.topic("in", 1);
    let consumer = member(&running);
    let stale = consumer.group_metadata().unwrap();
    drop(consumer);
    let _successor = member(&running);
    let producer = running.transactional("t");
    producer.begin_transaction().unwrap();
    let refused = producer.send_offsets_to_transaction(&next(1), &stale, PATIENCE).unwrap_err();
    let KafkaError::Transaction(error) = &refused else { panic!("{refused}") };
    assert!(error.txn_requires_abort(), "{refused}");
    producer.abort_transaction(PATIENCE).unwrap();
}

#[test]
fn transactional_commits_check_generation_and_member_unless_neither_is_given() {
    let running = Running::start();
    running.topic("in", 1);
    let _consumer = member(&running);
    let mut wire = Wire::connect(&running.address());
    let (_, id, epoch) = wire.init_producer(10_000);
    let producer = (id, epoch);
    assert_eq!(wire.commit_in_txn(producer, "g", ("", -1), "in"), wire::INVALID_TXN_STATE, "the group was not added");
    assert_eq!(wire.add_offsets(producer, "g"), wire::NONE);
    assert_eq!(wire.commit_in_txn(producer, "g", ("stranger", 1), "in"), wire::UNKNOWN_MEMBER_ID);
    assert_eq!(wire.commit_in_txn(producer, "never-seen", ("m", 3), "in"), wire::INVALID_TXN_STATE);
    assert_eq!(wire.add_offsets(producer, "never-seen"), wire::NONE);
    assert_eq!(wire.commit_in_txn(producer, "never-seen", ("m", 3), "in"), wire::ILLEGAL_GENERATION);
    assert_eq!(wire.commit_in_txn(producer, "g", ("", -1), "in"), wire::NONE, "unchecked, as in Kafka");
    assert_eq!(wire.end(producer, false), wire::NONE);
}

#[test]
fn the_next_transaction_waits_until_the_markers_are_written() {
    let running = slow_markers();
    let mut wire = Wire::connect(&running.address());
    let (error, id, epoch) = wire.init_producer(10_000);
    assert_eq!(error, wire::NONE);
    let producer = (id, epoch);
    assert_eq!(wire.add_partition(producer, "out"), wire::NONE);
    assert_eq!(wire.end(producer, true), wire::NONE, "EndTxn answers before the markers");
    assert_eq!(wire.add_partition(producer, "out"), wire::CONCURRENT_TRANSACTIONS);
    assert_eq!(wire.add_offsets(producer, "g"), wire::CONCURRENT_TRANSACTIONS);
    assert_eq!(wire.end(producer, true), wire::CONCURRENT_TRANSACTIONS);
    assert_eq!(wire.end(producer, false), wire::INVALID_TXN_STATE, "it was decided to commit");
    assert_eq!(wire.init_producer(10_000).0, wire::CONCURRENT_TRANSACTIONS);
    eventually("the markers", || (wire.end(producer, true) == wire::NONE).then_some(()));
    assert_eq!(wire.add_partition(producer, "out"), wire::NONE);
}

#[test]
fn librdkafka_waits_for_slow_markers_by_itself() {
    let running = slow_markers();
    let producer = running.transactional("t");
    for value in ["a", "b", "c"] {
        producer.begin_transaction().unwrap();
        send(&producer, "out", 0, value);
        producer.commit_transaction(PATIENCE).unwrap();
    }
    eventually("all three", || (running.read("out", 0, "read_committed") == ["a", "b", "c"]).then_some(()));
}

#[test]
fn initialising_aborts_what_the_previous_owner_left_open() {
    let running = slow_markers();
    let mut wire = Wire::connect(&running.address());
    let (_, id, epoch) = wire.init_producer(10_000);
    assert_eq!(wire.add_partition((id, epoch), "out"), wire::NONE);
    assert_eq!(wire.init_producer(10_000).0, wire::CONCURRENT_TRANSACTIONS, "the abort is under way");
    assert_eq!(wire.end((id, epoch), true), wire::PRODUCER_FENCED);
    let (_, next_id, next_epoch) = eventually("initialised", || Some(wire.init_producer(10_000)).filter(|r| r.0 == 0));
    assert_eq!(next_id, id);
    assert!(next_epoch > epoch + 1, "one epoch for the abort, one for the new owner");
    assert_eq!(wire.add_partition((id, epoch), "out"), wire::PRODUCER_FENCED);
}

#[test]
fn an_overdue_transaction_is_aborted_and_its_producer_fenced() {
    let running = Running::start_with(BrokerConfig {
        transaction_abort_interval: Duration::from_millis(50),
        ..BrokerConfig::default()
    });
    running.topic("out", 1);
    let slow = running.producer(&[("transactional.id", "t"), ("transaction.timeout.ms", "1000")]);
    slow.init_transactions(PATIENCE).unwrap();
    slow.begin_transaction().unwrap();
    deliver(&slow, "out", 0, "overdue");
    let stable = running.consumer("g", &[("isolation.level", "read_committed")]);
    let end = || stable.fetch_watermarks("out", 0, PATIENCE).unwrap().1;
    eventually("the abort marker", || (end() == 2).then_some(()));
    assert!(running.read("out", 0, "read_committed").is_empty());
    assert!(slow.commit_transaction(PATIENCE).is_err());
}
