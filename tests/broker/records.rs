//! Records and topics: what every client does.

use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, Timestamp, TopicPartitionList};

use super::{PATIENCE, deliver, eventually, next_record, send};

on_both! {
    fn records_come_back_with_keys_headers_timestamps_and_offsets(running) {
        let events = running.topic("events", 1);
        let producer = running.producer(&[]);
        let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some("v") });
        let record = BaseRecord::to(&events).key("u_1").payload("first").timestamp(1234).headers(headers);
        producer.send(record).map_err(|(e, _)| e).unwrap();
        send(&producer, &events, 0, "second");
        producer.flush(PATIENCE).unwrap();

        let consumer = running.consumer("g", &[]);
        consumer.subscribe(&[&events]).unwrap();
        let first = next_record(&consumer);
        assert_eq!((first.key(), first.payload()), (Some(&b"u_1"[..]), Some(&b"first"[..])));
        assert_eq!((first.offset(), first.timestamp()), (0, Timestamp::CreateTime(1234)));
        assert_eq!(first.headers().unwrap().get(0).value, Some(&b"v"[..]));
        let second = next_record(&consumer);
        assert_eq!((second.offset(), second.payload()), (1, Some(&b"second"[..])));
    }

    fn ten_thousand_idempotent_records_keep_their_order(running) {
        let events = running.topic("events", 1);
        let producer = running.producer(&[("enable.idempotence", "true"), ("batch.num.messages", "100")]);
        for i in 0..10_000 {
            send(&producer, &events, 0, &i.to_string());
        }
        producer.flush(PATIENCE).unwrap();
        let expected: Vec<_> = (0..10_000).map(|i| i.to_string()).collect();
        assert_eq!(running.read(&events, 0, "read_committed"), expected);
    }

    fn compressed_batches_pass_as_they_are(running) {
        let events = running.topic("events", 1);
        for codec in ["gzip", "zstd"] {
            let producer = running.producer(&[("compression.type", codec), ("linger.ms", "20")]);
            (0..50).for_each(|_| send(&producer, &events, 0, codec));
            producer.flush(PATIENCE).unwrap();
        }
        let read = running.read(&events, 0, "read_committed");
        assert_eq!(read, [["gzip"; 50], ["zstd"; 50]].concat());
    }

    fn small_fetches_still_get_every_record(running) {
        let events = running.topic("events", 3);
        let producer = running.producer(&[]);
        for i in 0..30 {
            deliver(&producer, &events, i % 3, &format!("{i}-{}", "x".repeat(500)));
        }
        let limits = [("fetch.max.bytes", "1000"), ("message.max.bytes", "1000"), ("max.partition.fetch.bytes", "600")];
        let consumer = running.consumer("g", &limits);
        consumer.subscribe(&[&events]).unwrap();
        for _ in 0..30 {
            next_record(&consumer);
        }
    }

    fn offsets_are_found_by_time(running) {
        // Records of 1970 are older than any retention: kept, however long this takes.
        let events = running.topic_with("events", 1, &[("retention.ms", "-1")]);
        let producer = running.producer(&[("linger.ms", "50")]);
        for i in 0..10 {
            let record = BaseRecord::<str, str>::to(&events).payload("x").timestamp(1000 + i * 100);
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let consumer = running.consumer("g", &[]);
        let offset_at = |time: i64| {
            let mut at = TopicPartitionList::new();
            at.add_partition_offset(&events, 0, Offset::Offset(time)).unwrap();
            consumer.offsets_for_times(at, PATIENCE).unwrap().elements()[0].offset()
        };
        assert_eq!(offset_at(0), Offset::Offset(0));
        assert_eq!(offset_at(1250), Offset::Offset(3), "the record, not the batch it is in");
        assert_eq!(offset_at(9999), Offset::End);
        assert_eq!(consumer.fetch_watermarks(&events, 0, PATIENCE).unwrap(), (0, 10));
    }

    fn a_topic_may_stamp_records_itself(running) {
        let stamped = running.topic_with("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
        let producer = running.producer(&[]);
        let record = BaseRecord::<str, str>::to(&stamped).payload("x").timestamp(1);
        producer.send(record).map_err(|(e, _)| e).unwrap();
        producer.flush(PATIENCE).unwrap();
        let consumer = running.consumer("g", &[("check.crcs", "true")]);
        consumer.subscribe(&[&stamped]).unwrap();
        let message = next_record(&consumer);
        let Timestamp::LogAppendTime(time) = message.timestamp() else { panic!("{:?}", message.timestamp()) };
        assert!(time > 1_700_000_000_000, "{time}");
    }

    fn topics_are_created_described_configured_grown_and_deleted(running) {
        let admin = running.admin();
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let create = |topic: NewTopic| running.block_on(admin.create_topics([&topic], &options)).unwrap().remove(0);
        let (state, other) = (running.name("state"), running.name("other"));
        let topic = |name| NewTopic::new(name, 4, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
        assert_eq!(create(topic(&state)), Ok(state.clone()));
        let exists = create(topic(&state)).unwrap_err();
        assert_eq!(exists.1, RDKafkaErrorCode::TopicAlreadyExists);
        let unknown = create(topic(&other).set("cleanup.polizy", "compact")).unwrap_err();
        assert_eq!(unknown.1, RDKafkaErrorCode::InvalidConfig);
        let replicas = create(NewTopic::new(&other, 1, TopicReplication::Fixed(3))).unwrap_err();
        assert_eq!(replicas.1, RDKafkaErrorCode::InvalidReplicationFactor);
        let name = create(NewTopic::new("no spaces", 1, TopicReplication::Fixed(1))).unwrap_err();
        assert_eq!(name.1, RDKafkaErrorCode::InvalidTopic);

        let resource = ResourceSpecifier::Topic(&state);
        let described = running.block_on(admin.describe_configs([&resource], &options)).unwrap().remove(0).unwrap();
        assert_eq!(described.get("cleanup.policy").unwrap().value.as_deref(), Some("compact"));
        assert!(described.get("max.message.bytes").unwrap().is_default);

        let more = NewPartitions::new(&state, 6);
        running.block_on(admin.create_partitions([&more], &options)).unwrap().remove(0).unwrap();
        let consumer = running.consumer("g", &[]);
        let partitions = || consumer.fetch_metadata(Some(&state), PATIENCE).unwrap().topics()[0].partitions().len();
        eventually("six partitions", || (partitions() == 6).then_some(()));
        running.block_on(admin.delete_topics(&[&state], &options)).unwrap().remove(0).unwrap();
        eventually("none", || (partitions() == 0).then_some(()));
        let all = consumer.fetch_metadata(None, PATIENCE).unwrap();
        assert!(all.topics().iter().all(|topic| topic.name() != state), "asking did not create it again");
    }

    fn a_record_above_the_topics_limit_is_refused(running) {
        let small = running.topic_with("small", 1, &[("max.message.bytes", "1000")]);
        let producer: FutureProducer = running.client(&[]).create().unwrap();
        let value = "x".repeat(2000);
        let record = FutureRecord::<str, str>::to(&small).payload(&value);
        let refused = running.block_on(producer.send(record, PATIENCE)).unwrap_err().0;
        assert_eq!(refused, KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
    }

    fn deleted_records_move_the_start_and_a_reader_below_it_is_told(running) {
        let events = running.topic("events", 1);
        let producer = running.producer(&[]);
        (0..5).for_each(|i| deliver(&producer, &events, 0, &i.to_string()));
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(&events, 0, Offset::Offset(3)).unwrap();
        running.block_on(running.admin().delete_records(&before, &AdminOptions::new())).unwrap();
        let consumer = running.consumer("g", &[("auto.offset.reset", "error")]);
        assert_eq!(consumer.fetch_watermarks(&events, 0, PATIENCE).unwrap(), (3, 5));
        assert_eq!(running.read(&events, 0, "read_committed"), ["3", "4"]);
        let mut below = TopicPartitionList::new();
        below.add_partition_offset(&events, 0, Offset::Offset(1)).unwrap();
        consumer.assign(&below).unwrap();
        let error = consumer.poll(PATIENCE).unwrap().unwrap_err();
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset), "{error}");
    }
}
