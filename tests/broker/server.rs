//! What is our own: port, memory bound, and what happens to nonsense.

use std::time::Duration;

use headwater::dev::broker::{Broker, BrokerConfig, BrokerError};
use rdkafka::consumer::Consumer;
use rdkafka::producer::Producer;

use super::wire::{Fields, Wire};
use super::{PATIENCE, Running, deliver, send};

#[test]
fn old_records_go_when_memory_is_full_and_the_start_offset_says_so() {
    let running = Running::start_with(BrokerConfig { max_bytes: 100_000, ..BrokerConfig::default() });
    let events = running.topic("events", 1);
    let producer = running.producer(&[("batch.num.messages", "1")]);
    for _ in 0..300 {
        send(&producer, &events, 0, &"x".repeat(1000));
    }
    producer.flush(PATIENCE).unwrap();
    let (start, end) = running.consumer("g", &[]).fetch_watermarks(&events, 0, PATIENCE).unwrap();
    assert_eq!(end, 300);
    assert!((200..290).contains(&start), "{start}");
    assert_eq!(running.read(&events, 0, "read_committed").len() as i64, end - start);
}

#[test]
fn a_taken_port_is_chosen_anew() {
    let running = Running::start();
    let taken: u16 = running.address().rsplit(':').next().unwrap().parse().unwrap();
    let config = BrokerConfig { port: Some(taken), ..BrokerConfig::default() };
    let other = running.block_on(Broker::start(config)).unwrap();
    assert_ne!(other.address(), running.address());
    assert!(other.address().starts_with("127.0.0.1:"));
    running.block_on(other.shutdown());
}

#[test]
fn a_bad_topic_is_an_error_with_its_name() {
    let running = Running::start();
    let error = running.broker().create_topic("t", 1, &[("retention.bytes", "many")]).unwrap_err();
    assert!(matches!(error, BrokerError::Topic { .. }));
    assert_eq!(error.to_string(), "topic t: Invalid value many for configuration retention.bytes");
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let running = Running::start();
    let mut wire = Wire::connect(&running);
    for correlation in 0..100 {
        wire.send(18, 0, false, correlation, Fields::default());
    }
    for correlation in 0..100 {
        assert_eq!(wire.receive().i32(), correlation);
    }
}

#[test]
fn nonsense_closes_the_connection_and_harms_nobody() {
    let running = Running::start();
    let connect = || Wire::connect(&running);
    assert_eq!(connect().raw(&i32::MAX.to_be_bytes()), 0, "too long");
    assert_eq!(connect().raw(&[0, 0, 0, 1, 9]), 0, "too short");
    let unknown = [&12i32.to_be_bytes()[..], &[0x7f, 0x7f, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0]].concat();
    assert_eq!(connect().raw(&unknown), 0, "an unknown request");
    let cut = [&14i32.to_be_bytes()[..], &[0, 1, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
    assert_eq!(connect().raw(&cut), 0, "a fetch that stops in the middle");
    let huge = [&14i32.to_be_bytes()[..], &[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]].concat();
    assert_eq!(connect().raw(&huge), 0, "an array that claims two thousand million entries");
    let compact =
        [&[0, 0, 0, 16, 0, 3, 0, 12, 0, 0, 0, 1, 0xff, 0xff, 0][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert_eq!(connect().raw(&compact), 0, "the same in the compact form");
    let mut wire = connect();
    wire.send(18, 99, true, 3, Fields::default());
    let mut answer = wire.receive();
    assert_eq!((answer.i32(), answer.i16()), (3, 35), "ApiVersions answers even versions it does not know");
}

#[test]
fn topics_appear_by_themselves_only_where_that_is_asked_for() {
    let auto = BrokerConfig { auto_create_topics: true, default_partitions: 3, ..BrokerConfig::default() };
    let running = Running::start_with(auto);
    deliver(&running.producer(&[]), "new", 2, "x");
    assert_eq!(running.read("new", 2, "read_committed"), ["x"]);
    let strict = Running::start();
    let producer = strict.producer(&[("message.timeout.ms", "500")]);
    send(&producer, "new", 0, "x");
    producer.flush(PATIENCE).unwrap();
    let consumer = strict.consumer("g", &[]);
    assert_eq!(consumer.fetch_metadata(None, Duration::from_secs(5)).unwrap().topics().len(), 0);
}
