//! The verifier is believed because it finds each fault that is put before it.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    time::Duration,
};

use apache_avro::{Schema, types::Value, writer::datum::GenericDatumWriter};

use crate::support::{
    kafka::ApacheKafka,
    topics,
    verifier::{Enriched, Place, Triggered, Verdict, Verifier, count},
    world::unique,
};

fn raw(offsets: std::ops::Range<i64>) -> HashSet<Place> {
    offsets.map(|offset| (0, offset)).collect()
}

/// The enriched record of raw place (0, `origin`), at `offset`, for user `key`; its hop had the same offsets.
fn enriched(offset: i64, key: &str, origin: i64) -> Enriched {
    Enriched {
        partition: 0,
        offset,
        key: key.into(),
        origin: (0, origin),
        events_offset: origin,
        event_id: format!("e{origin}"),
        people: vec![key.into()],
    }
}

fn trigger(id: &str, event_id: &str) -> Triggered {
    Triggered { id: id.into(), event_id: event_id.into() }
}

fn counted(raw: &HashSet<Place>, enriched: &[Enriched], triggers: &[Triggered]) -> Verdict {
    count(raw, enriched, triggers, &HashSet::new())
}

#[test]
fn users_may_overtake_each_other_but_nobody_is_lost_or_doubled() {
    let records = [enriched(0, "b", 1), enriched(1, "a", 0), enriched(3, "a", 2)];
    let verdict = counted(&raw(0..3), &records, &[trigger("t1", "e1"), trigger("t2", "e2")]);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.events, verdict.enriched, verdict.triggers), (3, 3, 2));
}

#[test]
fn a_missing_event_is_lost_unless_it_is_a_dead_letter() {
    let records = [enriched(0, "a", 0)];
    let verdict = count(&raw(0..3), &records, &[], &HashSet::from([(0, 1), (0, 0)]));
    assert_eq!((verdict.lost, verdict.dead_lettered), (1, 1), "a copy of an event that went on is no dead event");
    assert!(!verdict.is_clean());
    assert!(verdict.to_string().contains("lost: raw (0, 2)"), "{verdict}");
}

#[test]
fn a_second_record_of_one_origin_is_doubled_and_not_also_out_of_order() {
    let records = [enriched(0, "a", 0), enriched(1, "a", 1), enriched(2, "a", 0)];
    let verdict = counted(&raw(0..2), &records, &[]);
    assert_eq!((verdict.doubled, verdict.out_of_order, verdict.enriched), (1, 0, 2));
}

#[test]
fn an_earlier_event_after_a_later_one_of_the_same_user_is_out_of_order() {
    let records = [enriched(0, "a", 1), enriched(1, "a", 0), enriched(2, "a", 2)];
    assert_eq!(counted(&raw(0..3), &records, &[]).out_of_order, 1);
}

#[test]
fn the_order_of_the_first_hop_counts_where_a_users_events_lay_in_several_raw_partitions() {
    let place = |offset, origin, events_offset| Enriched { origin, events_offset, ..enriched(offset, "a", 0) };
    let both = HashSet::from([(0, 7), (1, 3)]);
    let kept = [place(0, (1, 3), 10), place(1, (0, 7), 11)];
    assert_eq!(counted(&both, &kept, &[]).out_of_order, 0);
    let swapped = [place(0, (0, 7), 11), place(1, (1, 3), 10)];
    assert_eq!(counted(&both, &swapped, &[]).out_of_order, 1);
}

#[test]
fn a_user_in_two_partitions_has_no_order() {
    let records = [enriched(0, "a", 0), Enriched { partition: 1, ..enriched(0, "a", 1) }];
    assert_eq!(counted(&raw(0..2), &records, &[]).out_of_order, 1);
}

#[test]
fn a_record_from_nowhere_or_under_another_persons_key_is_a_fault() {
    let stranger = Enriched { people: vec!["b".into()], ..enriched(1, "a", 9) };
    let verdict = counted(&raw(0..1), &[enriched(0, "a", 0), stranger], &[]);
    assert_eq!((verdict.unknown_origin, verdict.miskeyed), (1, 1));
}

#[test]
fn a_trigger_twice_or_for_no_event_is_a_fault() {
    let verdict =
        counted(&raw(0..1), &[enriched(0, "a", 0)], &[trigger("t", "e0"), trigger("t", "e0"), trigger("u", "e7")]);
    assert_eq!((verdict.triggers, verdict.triggers_doubled, verdict.triggers_orphaned), (2, 1, 1));
}

const SCHEMA: &str = r#"{"type":"record","name":"Enriched","fields":[
  {"name":"event","type":{"type":"record","name":"Event","fields":[
    {"name":"id","type":"string"},{"name":"user_id","type":["null","string"]},{"name":"anonymous_id","type":["null","string"]}]}},
  {"name":"origin","type":{"type":"record","name":"Origin","fields":[
    {"name":"partition","type":"int"},{"name":"offset","type":"long"},{"name":"events_offset","type":"long"}]}}]}"#;

#[test]
fn a_verdict_is_read_from_topics_and_registry() {
    let Some(kafka) = ApacheKafka::shared() else { return };
    let topology = unique("verified");
    let (raw, enriched) = (format!("{topology}.raw"), format!("{topology}.enriched"));
    topics::create(kafka.bootstrap(), &[(&raw, 2), (&enriched, 2)]);
    let events = [(0, "a"), (1, "b"), (0, "a"), (1, "b")];
    topics::fill(kafka.bootstrap(), &raw, events.map(|(partition, key)| (partition, key, b"{}".to_vec())));
    // Of four events one is missing and one is there twice.
    let written = [(0, "a", 0), (0, "a", 1), (0, "a", 1), (1, "b", 0)];
    let records = written.map(|(partition, key, offset)| (partition, key, framed(partition, key, offset)));
    topics::fill(kafka.bootstrap(), &enriched, records);

    let registry = registry_with_one_schema();
    let verifier = Verifier {
        bootstrap: kafka.bootstrap(),
        registry: &registry,
        raw: &raw,
        topology: &topology,
        limit: Duration::from_secs(30),
    };
    let verdict = verifier.verdict();
    let expected = Verdict { events: 4, enriched: 3, lost: 1, doubled: 1, ..Verdict::default() };
    assert_eq!(Verdict { examples: Vec::new(), ..verdict.clone() }, expected, "{verdict}");
    assert!(verdict.to_string().contains("lost: raw (1, 1)"), "{verdict}");
}

fn framed(partition: i32, key: &str, offset: i64) -> Vec<u8> {
    let schema = Schema::parse_str(SCHEMA).expect("a schema");
    let some = |text: &str| Value::Union(1, Box::new(Value::String(text.into())));
    let null = Value::Union(0, Box::new(Value::Null));
    let event = vec![
        ("id".into(), Value::String(format!("e{partition}-{offset}"))),
        ("user_id".into(), some(key)),
        ("anonymous_id".into(), null),
    ];
    let origin = vec![
        ("partition".into(), Value::Int(partition)),
        ("offset".into(), Value::Long(offset)),
        ("events_offset".into(), Value::Long(offset)),
    ];
    let record = Value::Record(vec![("event".into(), Value::Record(event)), ("origin".into(), Value::Record(origin))]);
    let mut framed = vec![0, 0, 0, 0, 1];
    let writer = GenericDatumWriter::builder(&schema).build().expect("a schema that resolves");
    framed.extend(writer.write_value_to_vec(record).expect("fits the schema"));
    framed
}

/// Answers one request, for schema 1, as a registry would; its address.
fn registry_with_one_schema() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("one connection");
        let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines().map_while(Result::ok);
        let asked = lines.next().unwrap_or_default();
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        assert!(asked.starts_with("GET /schemas/ids/1 "), "{asked}");
        let body = serde_json::json!({ "schema": SCHEMA }).to_string();
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("answered");
    });
    format!("http://{address}")
}
