//! Transactions as their readers see them, and the offsets in them.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};

use super::wire::{self, Wire};
use super::{PATIENCE, Running, assigned, deliver, eventually};

/// A member of group `g` that holds partition 0 of the topic.
fn member(running: &Running, topic: &str) -> BaseConsumer {
    let consumer = running.consumer("g", &[("isolation.level", "read_committed"), ("heartbeat.interval.ms", "50")]);
    consumer.subscribe(&[topic]).unwrap();
    eventually("assigned", || {
        if let Some(polled) = consumer.poll(Duration::from_millis(5)) {
            polled.unwrap();
        }
        (assigned(&consumer) == [0]).then_some(())
    });
    consumer
}

fn next(topic: &str, offset: i64) -> TopicPartitionList {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    offsets
}

on_both! {
    fn committed_records_appear_and_aborted_ones_never_do(running) {
        let out = running.topic("out", 1);
        let producer = running.transactional("t");
        for (value, commit) in [("a", true), ("b", false), ("c", true)] {
            producer.begin_transaction().unwrap();
            deliver(&producer, &out, 0, value);
            match commit {
                true => producer.commit_transaction(PATIENCE).unwrap(),
                false => producer.abort_transaction(PATIENCE).unwrap(),
            }
        }
        // An answered EndTxn is decided, not yet visible: the markers come a little later.
        let end = || running.consumer("g", &[]).fetch_watermarks(&out, 0, PATIENCE).unwrap().1;
        eventually("three records and three markers", || (end() == 6).then_some(()));
        assert_eq!(running.read(&out, 0, "read_committed"), ["a", "c"]);
        assert_eq!(running.read(&out, 0, "read_uncommitted"), ["a", "b", "c"]);
    }

    fn an_open_transaction_holds_the_last_stable_offset(running) {
        let out = running.topic("out", 1);
        let producer = running.transactional("t");
        producer.begin_transaction().unwrap();
        deliver(&producer, &out, 0, "open");
        deliver(&running.producer(&[]), &out, 0, "plain");
        let high = |isolation| {
            let consumer = running.consumer("g", &[("isolation.level", isolation)]);
            consumer.fetch_watermarks(&out, 0, PATIENCE).unwrap().1
        };
        assert_eq!((high("read_committed"), high("read_uncommitted")), (0, 2));
        assert!(running.read(&out, 0, "read_committed").is_empty());
        producer.commit_transaction(PATIENCE).unwrap();
        eventually("the marker", || (high("read_committed") == 3).then_some(()));
        assert_eq!(running.read(&out, 0, "read_committed"), ["open", "plain"]);
    }

    fn a_consumers_position_passes_the_markers_when_the_next_record_comes(running) {
        let out = running.topic("out", 1);
        let producer = running.transactional("t");
        let consumer = running.consumer("g", &[("isolation.level", "read_committed")]);
        consumer.assign(&next(&out, 0)).unwrap();
        for expected in [0, 2, 4] {
            producer.begin_transaction().unwrap();
            deliver(&producer, &out, 0, "x");
            producer.commit_transaction(PATIENCE).unwrap();
            assert_eq!(super::next_offset(&consumer), expected, "every second offset is a marker");
        }
    }

    fn offsets_in_a_transaction_appear_with_it_and_are_unstable_until_then(running) {
        let input = running.topic("in", 1);
        let out = running.topic("out", 1);
        let consumer = member(running, &input);
        let producer = running.transactional("t");
        let (mut wire, group) = (Wire::connect(running), running.name("g"));
        for (offset, commit, after) in [(5, true, 5), (9, false, 5)] {
            let before = wire.fetch_offset(&group, &input, true);
            producer.begin_transaction().unwrap();
            deliver(&producer, &out, 0, "x");
            let metadata = consumer.group_metadata().unwrap();
            producer.send_offsets_to_transaction(&next(&input, offset), &metadata, PATIENCE).unwrap();
            assert_eq!(wire.fetch_offset(&group, &input, true), (wire::UNSTABLE_OFFSET_COMMIT, -1));
            assert_eq!(wire.fetch_offset(&group, &input, false), before, "the old one for who asks for no stability");
            match commit {
                true => producer.commit_transaction(PATIENCE).unwrap(),
                false => producer.abort_transaction(PATIENCE).unwrap(),
            }
            eventually("stable again", || (wire.fetch_offset(&group, &input, true).0 == wire::NONE).then_some(()));
            assert_eq!(wire.fetch_offset(&group, &input, true), (wire::NONE, after));
        }
    }

    fn a_member_that_was_replaced_cannot_commit_offsets_in_a_transaction(running) {
        let input = running.topic("in", 1);
        let consumer = member(running, &input);
        let stale = consumer.group_metadata().unwrap();
        drop(consumer);
        let _successor = member(running, &input);
        let producer = running.transactional("t");
        producer.begin_transaction().unwrap();
        let refused = producer.send_offsets_to_transaction(&next(&input, 1), &stale, PATIENCE).unwrap_err();
        let KafkaError::Transaction(error) = &refused else { panic!("{refused}") };
        assert!(error.txn_requires_abort(), "{refused}");
        producer.abort_transaction(PATIENCE).unwrap();
    }

    fn transactional_commits_check_generation_and_member_unless_neither_is_given(running) {
        let input = running.topic("in", 1);
        let _consumer = member(running, &input);
        let (mut wire, group, other) = (Wire::connect(running), running.name("g"), running.name("never-seen"));
        let producer = eventually("initialised", || wire.try_init_producer(10_000));
        assert_eq!(wire.commit_in_txn(producer, &group, ("", -1), &input), wire::INVALID_TXN_STATE, "group not added");
        assert_eq!(wire.add_offsets(producer, &group), wire::NONE);
        assert_eq!(wire.commit_in_txn(producer, &group, ("stranger", 1), &input), wire::UNKNOWN_MEMBER_ID);
        assert_eq!(wire.add_offsets(producer, &other), wire::NONE);
        assert_eq!(wire.commit_in_txn(producer, &other, ("m", 3), &input), wire::ILLEGAL_GENERATION);
        assert_eq!(wire.commit_in_txn(producer, &group, ("", -1), &input), wire::NONE, "unchecked");
        assert_eq!(wire.end(producer, false), wire::NONE);
    }
}
