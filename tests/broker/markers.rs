//! Between EndTxn's answer and the markers. The development broker lets one choose how long that is.

use std::time::Duration;

use headwater::dev::broker::BrokerConfig;
use rdkafka::producer::Producer;

use super::wire::{self, Wire};
use super::{PATIENCE, Running, eventually, send};

fn slow_markers() -> Running {
    Running::start_with(BrokerConfig { marker_delay: Duration::from_millis(300), ..BrokerConfig::default() })
}

#[test]
fn the_next_transaction_waits_until_the_markers_are_written() {
    let running = slow_markers();
    let out = running.topic("out", 1);
    let mut wire = Wire::connect(&running);
    let (error, id, epoch) = wire.init_producer(10_000);
    assert_eq!(error, wire::NONE);
    let producer = (id, epoch);
    assert_eq!(wire.add_partition(producer, &out), wire::NONE);
    assert_eq!(wire.end(producer, true), wire::NONE, "EndTxn answers before the markers");
    assert_eq!(wire.add_partition(producer, &out), wire::CONCURRENT_TRANSACTIONS);
    assert_eq!(wire.add_offsets(producer, "g"), wire::CONCURRENT_TRANSACTIONS);
    assert_eq!(wire.end(producer, true), wire::CONCURRENT_TRANSACTIONS);
    assert_eq!(wire.end(producer, false), wire::INVALID_TXN_STATE, "it was decided to commit");
    assert_eq!(wire.init_producer(10_000).0, wire::CONCURRENT_TRANSACTIONS);
    eventually("the markers", || (wire.end(producer, true) == wire::NONE).then_some(()));
    assert_eq!(wire.add_partition(producer, &out), wire::NONE);
}

#[test]
fn librdkafka_waits_for_slow_markers_by_itself() {
    let running = slow_markers();
    let out = running.topic("out", 1);
    let producer = running.transactional("t");
    for value in ["a", "b", "c"] {
        producer.begin_transaction().unwrap();
        send(&producer, &out, 0, value);
        producer.commit_transaction(PATIENCE).unwrap();
    }
    eventually("all three", || (running.read(&out, 0, "read_committed") == ["a", "b", "c"]).then_some(()));
}
