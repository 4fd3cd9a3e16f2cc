//! Topics, records, limits: what every client does.

use std::time::Duration;

use headwater::dev::broker::{Broker, BrokerConfig, BrokerError};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, Timestamp, TopicPartitionList};

use super::wire::{Fields, Wire};
use super::{PATIENCE, Running, deliver, next_record, send};

#[test]
fn records_come_back_with_keys_headers_timestamps_and_offsets() {
    let running = Running::start();
    running.topic("events", 1);
    let producer = running.producer(&[]);
    let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some("v") });
    let record = BaseRecord::to("events").key("u_1").payload("first").timestamp(1234).headers(headers);
    producer.send(record).map_err(|(e, _)| e).unwrap();
    send(&producer, "events", 0, "second");
    producer.flush(PATIENCE).unwrap();

    let consumer = running.consumer("g", &[]);
    consumer.subscribe(&["events"]).unwrap();
    let first = next_record(&consumer);
    assert_eq!((first.key(), first.payload()), (Some(&b"u_1"[..]), Some(&b"first"[..])));
    assert_eq!((first.offset(), first.timestamp()), (0, Timestamp::CreateTime(1234)));
    assert_eq!(first.headers().unwrap().get(0).value, Some(&b"v"[..]));
    let second = next_record(&consumer);
    assert_eq!((second.offset(), second.payload()), (1, Some(&b"second"[..])));
}

#[test]
fn ten_thousand_idempotent_records_keep_their_order() {
    let running = Running::start();
    running.topic("events", 1);
    let producer = running.producer(&[("enable.idempotence", "true"), ("batch.num.messages", "100")]);
    for i in 0..10_000 {
        send(&producer, "events", 0, &i.to_string());
    }
    producer.flush(PATIENCE).unwrap();
    let expected: Vec<_> = (0..10_000).map(|i| i.to_string()).collect();
    assert_eq!(running.read("events", 0, "read_committed"), expected);
}

#[test]
fn compressed_batches_pass_as_they_are() {
    let running = Running::start();
    running.topic("events", 1);
    for codec in ["gzip", "zstd"] {
        let producer = running.producer(&[("compression.type", codec), ("linger.ms", "20")]);
        (0..50).for_each(|_| send(&producer, "events", 0, codec));
        producer.flush(PATIENCE).unwrap();
    }
    let read = running.read("events", 0, "read_committed");
    assert_eq!(read, [["gzip"; 50], ["zstd"; 50]].concat());
}

#[test]
fn small_fetches_still_get_every_record() {
    let running = Running::start();
    running.topic("events", 3);
    let producer = running.producer(&[]);
    for i in 0..30 {
        deliver(&producer, "events", i % 3, &format!("{i}-{}", "x".repeat(500)));
    }
    let small = [("fetch.max.bytes", "1000"), ("message.max.bytes", "1000"), ("max.partition.fetch.bytes", "600")];
    let consumer = running.consumer("g", &small);
    consumer.subscribe(&["events"]).unwrap();
    for _ in 0..30 {
        next_record(&consumer);
    }
}

#[test]
fn offsets_are_found_by_time() {
    let running = Running::start();
    running.topic("events", 1);
    let producer = running.producer(&[("linger.ms", "50")]);
    for i in 0..10 {
        let record = BaseRecord::<str, str>::to("events").payload("x").timestamp(1000 + i * 100);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let consumer = running.consumer("g", &[]);
    let offset_at = |time: i64| {
        let mut at = TopicPartitionList::new();
        at.add_partition_offset("events", 0, Offset::Offset(time)).unwrap();
        consumer.offsets_for_times(at, PATIENCE).unwrap().elements()[0].offset()
    };
    assert_eq!(offset_at(0), Offset::Offset(0));
    assert_eq!(offset_at(1250), Offset::Offset(3), "the record, not the batch it is in");
    assert_eq!(offset_at(9999), Offset::End);
    assert_eq!(consumer.fetch_watermarks("events", 0, PATIENCE).unwrap(), (0, 10));
}

#[test]
fn a_topic_may_stamp_records_itself() {
    let running = Running::start();
    running.broker().create_topic("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]).unwrap();
    let producer = running.producer(&[]);
    let record = BaseRecord::<str, str>::to("stamped").payload("x").timestamp(1);
    producer.send(record).map_err(|(e, _)| e).unwrap();
    producer.flush(PATIENCE).unwrap();
    let consumer = running.consumer("g", &[("check.crcs", "true")]);
    consumer.subscribe(&["stamped"]).unwrap();
    let message = next_record(&consumer);
    let Timestamp::LogAppendTime(time) = message.timestamp() else { panic!("{:?}", message.timestamp()) };
    assert!(time > 1_700_000_000_000, "{time}");
}

#[test]
fn topics_are_created_described_configured_grown_and_deleted() {
    let running = Running::start();
    let admin: AdminClient<DefaultClientContext> = running.client(&[]).create().unwrap();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let topic = |name| NewTopic::new(name, 4, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    let create = |topic: NewTopic| running.block_on(admin.create_topics([&topic], &options)).unwrap().remove(0);
    assert_eq!(create(topic("state")), Ok("state".to_owned()));
    let exists = create(topic("state")).unwrap_err();
    assert_eq!(exists.1, RDKafkaErrorCode::TopicAlreadyExists);
    let unknown = create(topic("other").set("cleanup.polizy", "compact")).unwrap_err();
    assert_eq!(unknown.1, RDKafkaErrorCode::InvalidConfig);
    let replicas = create(NewTopic::new("r", 1, TopicReplication::Fixed(3))).unwrap_err();
    assert_eq!(replicas.1, RDKafkaErrorCode::InvalidReplicationFactor);
    let name = create(NewTopic::new("no spaces", 1, TopicReplication::Fixed(1))).unwrap_err();
    assert_eq!(name.1, RDKafkaErrorCode::InvalidTopic);

    let resource = ResourceSpecifier::Topic("state");
    let described = running.block_on(admin.describe_configs([&resource], &options)).unwrap().remove(0).unwrap();
    assert_eq!(described.get("cleanup.policy").unwrap().value.as_deref(), Some("compact"));
    assert!(described.get("max.message.bytes").unwrap().is_default);

    let more = NewPartitions::new("state", 6);
    running.block_on(admin.create_partitions([&more], &options)).unwrap().remove(0).unwrap();
    let consumer = running.consumer("g", &[]);
    let partitions = || consumer.fetch_metadata(Some("state"), PATIENCE).unwrap().topics()[0].partitions().len();
    assert_eq!(partitions(), 6);
    running.block_on(admin.delete_topics(&["state"], &options)).unwrap().remove(0).unwrap();
    assert_eq!(partitions(), 0);
    assert_eq!(consumer.fetch_metadata(None, PATIENCE).unwrap().topics().len(), 0, "asking created nothing");
}

#[test]
fn a_record_above_the_topics_limit_is_refused() {
    let running = Running::start();
    running.broker().create_topic("small", 1, &[("max.message.bytes", "1000")]).unwrap();
    let producer: FutureProducer = running.client(&[]).create().unwrap();
    let value = "x".repeat(2000);
    let record = FutureRecord::<str, str>::to("small").payload(&value);
    let refused = running.block_on(producer.send(record, PATIENCE)).unwrap_err().0;
    assert_eq!(refused, KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
}

#[test]
fn old_records_go_when_memory_is_full_and_the_start_offset_says_so() {
    let running = Running::start_with(BrokerConfig { max_bytes: 100_000, ..BrokerConfig::default() });
    running.topic("events", 1);
    let producer = running.producer(&[("batch.num.messages", "1")]);
    for _ in 0..300 {
        send(&producer, "events", 0, &"x".repeat(1000));
    }
    producer.flush(PATIENCE).unwrap();
    let (start, end) = running.consumer("g", &[]).fetch_watermarks("events", 0, PATIENCE).unwrap();
    assert_eq!(end, 300);
    assert!((200..290).contains(&start), "{start}");
    assert_eq!(running.read("events", 0, "read_committed").len() as i64, end - start);
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
    let mut wire = Wire::connect(&running.address());
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
    let connect = || Wire::connect(&running.address());
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
    wire.send(18, 99, false, 3, Fields::default());
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
