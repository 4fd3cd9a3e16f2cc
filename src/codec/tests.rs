//! Round trips, other versions' schemas, and what an outside reader says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro};
use proptest::{collection::btree_map, option, prelude::*};

use super::*;
use crate::{
    event::{
        Class, DeadLetter, Event, Origin, Outcome, Part, Provenance, Reason, Record, Source, Status, Trigger, Type,
        Value,
    },
    topology::{AgentKind, AgentSpec, OutputField, SourceSpec, Start, Topology},
};

type Agents<'a> = &'a [(&'a str, &'a [(&'a str, Type)])];

const GEO: (&str, &[(&str, Type)]) = ("geo", &[("country", Type::Text), ("latitude", Type::Float), ("asn", Type::Int)]);
const CRM: (&str, &[(&str, Type)]) = (
    "crm_lookup",
    &[("segment", Type::Text), ("known", Type::Bool), ("tags", Type::TextList), ("since", Type::Timestamp)],
);
const INTENT: (&str, &[(&str, Type)]) = ("intent", &[("level", Type::Text)]);

fn topology(agents: Agents) -> Topology {
    let agent = |(name, fields): &(&str, &[(&str, Type)])| AgentSpec {
        name: (*name).into(),
        kind: AgentKind::UserAgent,
        deps: vec![],
        input: vec![],
        output: fields
            .iter()
            .map(|(name, ty)| OutputField { name: (*name).into(), ty: *ty, from: (*name).into() })
            .collect(),
        when: None,
        consent: None,
        deadline: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        retry: 0,
        fallback: vec![],
        skip_older_than: None,
    };
    Topology {
        name: "campaign".into(),
        version: "abc123".into(),
        source: SourceSpec {
            topic: "events.raw".into(),
            key: vec![],
            dedup: None,
            keyed: false,
            start: Start::Beginning,
        },
        services: vec![],
        agents: agents.iter().map(agent).collect(),
        stages: vec![],
        triggers: vec![],
        destinations: vec![],
        sinks: vec![],
    }
}

fn cache(schemas: &[(u32, &str)]) -> Arc<SchemaCache> {
    let cache = SchemaCache::new(RegistryClient::at("http://127.0.0.1:1").unwrap());
    for (id, schema) in schemas {
        cache.insert(*id, schema);
    }
    Arc::new(cache)
}

/// Encodes by one set of agents, decodes by another.
fn carried(record: &Record, from: Agents, to: Agents) -> Record {
    let (from, to) = (topology(from), topology(to));
    let mut bytes = Vec::new();
    RecordEncoder::new(Layout::new(&from), 7).unwrap().encode(record, &mut bytes).unwrap();
    let decoder = RecordDecoder::new(Layout::new(&to), cache(&[(7, &enriched_schema(&from))]));
    decoder.decode(&bytes).unwrap()
}

fn event() -> Event {
    Event {
        id: "e-1".into(),
        kind: "page".into(),
        name: "Pricing".into(),
        user_id: Some("u_1842".into()),
        occurred_at_ms: 1_790_000_000_123,
        url: Some("https://acme.example/pricing".into()),
        properties: BTreeMap::from([("plan".into(), "pro".into()), ("seats".into(), "12".into())]),
        consent: BTreeMap::from([("marketing".into(), true)]),
        revenue: Some(12.5),
        ..Event::default()
    }
}

fn record() -> Record {
    let stale = Provenance {
        outcome: Outcome::Stale,
        reason: Some(Reason::Timeout),
        source: Some(Source::Cache),
        attempts: 3,
        latency_ms: 2_001,
        age_ms: Some(412_000),
    };
    Record {
        event: event(),
        status: Status::Partial,
        incomplete: vec!["intent".into()],
        received_at_ms: 1_790_000_000_200,
        enriched_at_ms: 1_790_000_000_300,
        origin: Origin {
            topic: "events.raw".into(),
            tag: u32::MAX,
            partition: 3,
            offset: 99_120,
            events_offset: 10_420,
        },
        chain: 8,
        topology_version: "abc123".into(),
        parts: vec![
            Part::ok(Source::Local, vec!["GB".into(), 51.5.into(), Value::Null]),
            Part {
                fields: vec![
                    "enterprise".into(),
                    true.into(),
                    Value::List(Arc::from(["a".into(), "b".into()])),
                    Value::Int(1_700_000_000_000),
                ],
                provenance: stale,
            },
        ],
    }
}

#[test]
fn the_derived_schema_is_the_same_text_every_time_and_reads_by_apache_avro() {
    let text = enriched_schema(&topology(&[GEO, CRM]));
    assert_eq!(text, enriched_schema(&topology(&[GEO, CRM])));
    assert!(Schema::parse_str(&text).is_ok());
    for text in [EVENT_SCHEMA, TRIGGER_SCHEMA, DEAD_LETTER_SCHEMA, &enriched_schema(&topology(&[]))] {
        Schema::parse_str(text).unwrap();
    }
    assert!(text.contains("\"namespace\": \"headwater.campaign\""), "{text}");
}

#[test]
fn adding_and_removing_agents_and_fields_is_compatible_both_ways() {
    let wider_geo = ("geo", &[("country", Type::Text), ("city", Type::Text)][..]);
    let versions: Vec<_> = [&[][..], &[GEO], &[GEO, CRM], &[INTENT, CRM, GEO], &[wider_geo], &[CRM]]
        .iter()
        .map(|agents| enriched_schema(&topology(agents)))
        .collect();
    for a in &versions {
        for b in &versions {
            assert_eq!(compatibility::cannot_read(a, b), None);
        }
    }
}

#[test]
fn a_changed_type_is_incompatible() {
    let number = ("geo", &[("country", Type::Int)][..]);
    let of = |agents| enriched_schema(&topology(agents));
    assert!(compatibility::cannot_read(&of(&[number]), &of(&[GEO])).is_some());
}

#[test]
fn a_record_survives_the_round_trip() {
    assert_eq!(carried(&record(), &[GEO, CRM], &[GEO, CRM]), record());
}

#[test]
fn an_older_reader_drops_parts_that_it_does_not_know() {
    let mut expected = record();
    expected.parts.remove(0);
    assert_eq!(carried(&record(), &[GEO, CRM], &[CRM]), expected);
}

#[test]
fn a_newer_reader_finds_missing_parts_pending_and_others_by_name() {
    let read = carried(&record(), &[GEO, CRM], &[INTENT, CRM, GEO]);
    assert!(read.parts[0].is_pending() && read.parts[0].fields.is_empty());
    assert_eq!([&read.parts[1], &read.parts[2]], [&record().parts[1], &record().parts[0]]);
}

#[test]
fn fields_of_a_part_go_by_name_and_new_ones_are_null() {
    let other = ("geo", &[("asn", Type::Int), ("city", Type::Text), ("country", Type::Text)][..]);
    let read = carried(&record(), &[GEO, CRM], &[other]);
    assert_eq!(read.parts[0].fields, [Value::Null, Value::Null, "GB".into()]);
}

#[test]
fn a_part_without_values_has_no_fields() {
    let mut sent = record();
    sent.parts[0] = Part { fields: vec![Value::Null; 3], ..Part::without(Outcome::Failed, Reason::Timeout) };
    let read = carried(&sent, &[GEO, CRM], &[GEO, CRM]);
    assert_eq!(read.parts[0], Part::without(Outcome::Failed, Reason::Timeout));
}

#[test]
fn apache_avro_reads_the_same_record() {
    let topology = topology(&[GEO, CRM]);
    let mut bytes = b"before".to_vec();
    RecordEncoder::new(Layout::new(&topology), 7).unwrap().encode(&record(), &mut bytes).unwrap();
    let bytes = &bytes[b"before".len()..];
    let schema = Schema::parse_str(&enriched_schema(&topology)).unwrap();
    let (id, mut datum) = frame::split(bytes).unwrap();
    assert_eq!(id, 7);
    let read = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut datum).unwrap();
    assert!(datum.is_empty());
    let json: serde_json::Value = read.try_into().unwrap();
    assert_eq!(json["event"]["properties"]["seats"], "12");
    assert_eq!(json["status"], "partial");
    assert_eq!(json["origin"]["tag"], u64::from(u32::MAX));
    assert_eq!(json["geo"]["latitude"], 51.5);
    assert_eq!(json["crm_lookup"]["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(json["crm_lookup"]["provenance"]["outcome"], "stale");
    assert_eq!(json["crm_lookup"]["provenance"]["age_ms"], 412_000);
}

/// An event as another producer would write it: by apache-avro, with its own schema.
fn foreign(schema: &str, value: Avro) -> Result<Event, DecodeError> {
    let parsed = Schema::parse_str(schema).unwrap();
    let mut bytes = Vec::new();
    frame::write(3, &mut bytes);
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&parsed).build().unwrap();
    writer.write_value(&mut bytes, value).unwrap();
    EventDecoder::new(cache(&[(3, schema)])).decode(&bytes)
}

#[test]
fn a_producers_own_schema_resolves_by_name_type_and_default() {
    let schema = r#"{ "type": "record", "name": "ShopEvent", "namespace": "com.acme", "fields": [
        { "name": "messageId", "type": "string" },
        { "name": "shelf", "type": { "type": "array", "items": "int" } },
        { "name": "userId", "type": ["string", "null"] },
        { "name": "type", "type": { "type": "enum", "name": "Kind", "symbols": ["page", "track"] } },
        { "name": "occurred_at", "type": "int" },
        { "name": "revenue", "type": "float" },
        { "name": "properties", "type": { "type": "map", "values": ["null", "string", "long", "double", "boolean"] } },
        { "name": "consent", "type": ["null", { "type": "map", "values": "boolean" }] }
    ]}"#;
    let scalar = |index, value| Avro::Union(index, Box::new(value));
    let properties = [
        ("a", scalar(0, Avro::Null)),
        ("b", scalar(1, Avro::String("x".into()))),
        ("c", scalar(2, Avro::Long(-7))),
        ("d", scalar(3, Avro::Double(2.5))),
        ("e", scalar(4, Avro::Boolean(true))),
    ];
    let value = Avro::Record(vec![
        ("messageId".into(), Avro::String("m-1".into())),
        ("shelf".into(), Avro::Array(vec![Avro::Int(1), Avro::Int(2)])),
        ("userId".into(), Avro::Union(0, Box::new(Avro::String("u".into())))),
        ("type".into(), Avro::Enum(0, "page".into())),
        ("occurred_at".into(), Avro::Int(12_345)),
        ("revenue".into(), Avro::Float(1.5)),
        ("properties".into(), Avro::Map(properties.map(|(key, value)| (key.to_owned(), value)).into())),
        ("consent".into(), Avro::Union(0, Box::new(Avro::Null))),
    ]);
    let text = |text: &str| Arc::<str>::from(text);
    assert_eq!(
        foreign(schema, value).unwrap(),
        Event {
            id: text("m-1"),
            kind: text("page"),
            user_id: Some(text("u")),
            occurred_at_ms: 12_345,
            revenue: Some(1.5),
            properties: [("b", "x"), ("c", "-7"), ("d", "2.5"), ("e", "true")].map(|(k, v)| (text(k), text(v))).into(),
            ..Event::default()
        }
    );
}

#[test]
fn an_absent_type_is_track_and_an_absent_id_is_empty() {
    let schema = r#"{ "type": "record", "name": "E", "fields": [{ "name": "occurred_at", "type": "long" }] }"#;
    let event = foreign(schema, Avro::Record(vec![("occurred_at".into(), Avro::Long(5))])).unwrap();
    assert_eq!((&*event.kind, &*event.id), ("track", ""));
}

#[test]
fn a_field_of_another_type_is_malformed_and_named() {
    let schema = r#"{ "type": "record", "name": "E", "fields": [{ "name": "user_id", "type": "long" }] }"#;
    let error = foreign(schema, Avro::Record(vec![("user_id".into(), Avro::Long(5))])).unwrap_err();
    assert_eq!(error.to_string(), "schema 3: user_id: invalid type: integer `5`, expected text");
}

#[test]
fn a_value_that_is_no_record_is_malformed() {
    let error = foreign("\"string\"", Avro::String("x".into())).unwrap_err();
    assert!(error.to_string().contains("expected a record like headwater.Event"), "{error}");
}

#[test]
fn left_over_and_missing_bytes_are_malformed() {
    let decoder = EventDecoder::new(cache(&[(1, EVENT_SCHEMA)]));
    let mut bytes = Vec::new();
    EventEncoder::new(1).unwrap().encode(&event(), &mut bytes).unwrap();
    assert_eq!(decoder.decode(&bytes), Ok(event()));
    bytes.push(0);
    let error = decoder.decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("1 of") && error.contains("left over"), "{error}");
    assert!(matches!(decoder.decode(&bytes[..bytes.len() - 4]), Err(DecodeError::Malformed(_))));
}

#[test]
fn an_unknown_outcome_reads_as_pending() {
    let topology = topology(&[GEO]);
    let newer = enriched_schema(&topology).replacen("\"ok\"", "\"ok\",\"splendid\"", 1);
    let mut bytes = Vec::new();
    let mut sent = record();
    sent.parts.truncate(1);
    // By its number: the newer enum has `splendid` where ours has `stale`.
    sent.parts[0].provenance.outcome = Outcome::Stale;
    RecordEncoder::new(Layout::new(&topology), 7).unwrap().encode(&sent, &mut bytes).unwrap();
    let read = RecordDecoder::new(Layout::new(&topology), cache(&[(7, &newer)])).decode(&bytes).unwrap();
    assert_eq!(read.parts[0].provenance.outcome, Outcome::Pending);
}

#[test]
fn an_unknown_schema_is_to_be_fetched_and_an_unusable_one_says_why() {
    let decoder = EventDecoder::new(cache(&[(1, "syntax = \"proto3\";")]));
    assert_eq!(decoder.decode(b"\0\0\0\0\x02"), Err(DecodeError::SchemaNotLoaded(2)));
    let error = decoder.decode(b"\0\0\0\0\x01").unwrap_err().to_string();
    assert!(error.starts_with("schema 1: not a usable Avro schema"), "{error}");
}

#[test]
fn the_cache_is_bounded_and_drops_the_oldest() {
    let cache = cache(&[]);
    (0..1_002).for_each(|id| cache.insert(id, "\"int\""));
    assert!(matches!(cache.get(1), Lookup::NotLoaded));
    assert!(matches!((cache.get(2), cache.get(1_001)), (Lookup::Ready(_), Lookup::Ready(_))));
}

#[test]
fn a_hostile_count_of_nothing_is_refused_at_once() {
    let schema = r#"{ "type": "record", "name": "E", "fields": [{ "name": "x", "type": { "type": "array", "items": "null" } }] }"#;
    let mut bytes = Vec::new();
    frame::write(1, &mut bytes);
    bytes.extend([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00]);
    let error = EventDecoder::new(cache(&[(1, schema)])).decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("max sequence size"), "{error}");
}

#[test]
fn a_hostile_length_allocates_nothing() {
    let mut bytes = Vec::new();
    frame::write(1, &mut bytes);
    bytes.extend([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'x']);
    let read = EventDecoder::new(cache(&[(1, EVENT_SCHEMA)])).decode(&bytes);
    assert!(matches!(read, Err(DecodeError::Malformed(_))));
}

#[test]
fn a_trigger_survives_the_round_trip_with_its_payload_as_text() {
    let mut trigger = Trigger {
        id: "win-back/e-1".into(),
        campaign: "win-back".into(),
        destination: "customerio".into(),
        user_id: Some("u_1842".into()),
        event_id: "e-1".into(),
        occurred_at_ms: 1,
        fired_at_ms: 2,
        expires_at_ms: Some(3),
        because: "score.value (72) >= 60".into(),
        incomplete: vec!["intent".into()],
        payload: [
            ("city", Value::Null),
            ("score", Value::Float(72.0)),
            ("segment", "enterprise".into()),
            ("tags", Value::List(Arc::from(["a\"b".into()]))),
        ]
        .map(|(key, value)| (key.into(), value))
        .into(),
        ..Trigger::default()
    };
    let mut bytes = Vec::new();
    TriggerEncoder::new(2).unwrap().encode(&trigger, &mut bytes).unwrap();
    let read = TriggerDecoder::new(cache(&[(2, TRIGGER_SCHEMA)])).decode(&bytes).unwrap();
    trigger.payload = [("score", "72"), ("segment", "enterprise"), ("tags", r#"["a\"b"]"#)]
        .map(|(key, text)| (key.into(), text.into()))
        .into();
    assert_eq!(read, trigger);
}

#[test]
fn a_dead_letter_survives_the_round_trip() {
    let letter = DeadLetter {
        id: "events.raw-3-99120/intake".into(),
        failed_at_ms: 1_790_000_000_000,
        stage: "intake".into(),
        code: "HW601",
        class: Class::Decode,
        message: "1 byte is left over".into(),
        agents: vec!["geo".into()],
        destination: None,
        producer: "ios-app".into(),
        attempts: 3,
        replays: 1,
        event_id: Some("e-1".into()),
        topic: "events.raw".into(),
        partition: 3,
        offset: 99_120,
        timestamp_ms: Some(7),
        schema_id: Some(12),
        traceparent: None,
        preview: Some("{}".into()),
        key: Some(b"u_1842".to_vec()),
        value: Some(vec![0xff, 0x00]),
        value_sha256: None,
        headers: vec![("producer".into(), b"ios-app".to_vec()), ("x".into(), vec![0xff])],
    };
    let mut bytes = Vec::new();
    DeadLetterEncoder::new(4).unwrap().encode(&letter, &mut bytes).unwrap();
    let decoder = DeadLetterDecoder::new(cache(&[(4, DEAD_LETTER_SCHEMA)]));
    assert_eq!(decoder.decode(&bytes), Ok(letter.clone()));
    bytes.clear();
    DeadLetterEncoder::new(4).unwrap().encode(&DeadLetter { code: "HW699", ..letter }, &mut bytes).unwrap();
    assert_eq!(decoder.decode(&bytes).unwrap().code, "HW???");
}

#[test]
fn a_value_of_the_wrong_type_leaves_the_output_as_it_was() {
    let mut encoder = RecordEncoder::new(Layout::new(&topology(&[GEO])), 7).unwrap();
    let mut out = b"before".to_vec();
    let wrong = Record { parts: vec![Part::ok(Source::Local, vec![5.into()])], ..record() };
    assert!(matches!(encoder.encode(&wrong, &mut out), Err(CodecError::Value(_))));
    assert_eq!(out, b"before");
}

fn text() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Arc::from)
}

prop_compose! {
    fn any_event()(
        (id, kind, name) in (text(), text(), text()),
        (user_id, anonymous_id, url, referrer) in (option::of(text()), option::of(text()), option::of(text()), option::of(text())),
        (ip, user_agent, description, currency) in (option::of(text()), option::of(text()), option::of(text()), option::of(text())),
        occurred_at_ms in any::<i64>(),
        (client_hints, campaign, properties) in (btree_map(text(), text(), 0..3), btree_map(text(), text(), 0..3), btree_map(text(), text(), 0..6)),
        consent in btree_map(text(), any::<bool>(), 0..3),
        revenue in option::of(-1e300..1e300),
    ) -> Event {
        Event {
            id, kind, name, user_id, anonymous_id, occurred_at_ms, url, referrer, ip, user_agent, description,
            client_hints, campaign, properties, consent, revenue, currency,
        }
    }
}

fn any_value(ty: Type) -> BoxedStrategy<Value> {
    let value = match ty {
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::Int | Type::Timestamp => any::<i64>().prop_map(Value::Int).boxed(),
        Type::Float => (-1e300..1e300).prop_map(Value::Float).boxed(),
        Type::Text => text().prop_map(Value::Text).boxed(),
        Type::TextList => proptest::collection::vec(text().prop_map(Value::Text), 0..3)
            .prop_map(|list| Value::List(list.into()))
            .boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 3 => value].boxed()
}

fn any_part(fields: &[(&str, Type)]) -> impl Strategy<Value = Part> + use<> {
    let values: Vec<_> = fields.iter().map(|(_, ty)| any_value(*ty)).collect();
    let provenance = (
        proptest::sample::select(Outcome::ALL),
        option::of(proptest::sample::select(Reason::ALL)),
        option::of(proptest::sample::select(Source::ALL)),
        0..=i32::MAX as u32,
        any::<u32>(),
        option::of(any::<i64>()),
    );
    (values, provenance).prop_map(|(fields, (outcome, reason, source, attempts, latency_ms, age_ms))| Part {
        fields: if fields.iter().all(Value::is_null) { vec![] } else { fields },
        provenance: Provenance { outcome, reason, source, attempts, latency_ms, age_ms },
    })
}

prop_compose! {
    fn any_record()(
        event in any_event(),
        status in prop_oneof![Just(Status::Complete), Just(Status::Partial)],
        incomplete in proptest::collection::vec(text(), 0..3),
        (received_at_ms, enriched_at_ms, chain, topology_version) in (any::<i64>(), any::<i64>(), any::<u32>(), text()),
        (topic, tag, partition, offset, events_offset) in (text(), any::<u32>(), any::<i32>(), any::<i64>(), any::<i64>()),
        (geo, crm) in (any_part(GEO.1), any_part(CRM.1)),
    ) -> Record {
        let origin = Origin { topic, tag, partition, offset, events_offset };
        Record { event, status, incomplete, received_at_ms, enriched_at_ms, origin, chain, topology_version, parts: vec![geo, crm] }
    }
}

proptest! {
    #[test]
    fn any_record_survives_the_round_trip(record in any_record()) {
        prop_assert_eq!(carried(&record, &[GEO, CRM], &[GEO, CRM]), record);
    }

    #[test]
    fn any_event_survives_the_round_trip(event in any_event()) {
        let mut bytes = Vec::new();
        EventEncoder::new(1).unwrap().encode(&event, &mut bytes).unwrap();
        prop_assert_eq!(EventDecoder::new(cache(&[(1, EVENT_SCHEMA)])).decode(&bytes), Ok(event));
    }

    #[test]
    fn apache_avro_reads_every_record_to_its_end(record in any_record()) {
        let topology = topology(&[GEO, CRM]);
        let mut bytes = Vec::new();
        RecordEncoder::new(Layout::new(&topology), 7).unwrap().encode(&record, &mut bytes).unwrap();
        let schema = Schema::parse_str(&enriched_schema(&topology)).unwrap();
        let mut datum = &bytes[frame::LEN..];
        GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut datum).unwrap();
        prop_assert!(datum.is_empty());
    }

    #[test]
    fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..300), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let topology = topology(&[GEO, CRM]);
        let schemas = cache(&[(0, &enriched_schema(&topology)), (1, EVENT_SCHEMA), (2, DEAD_LETTER_SCHEMA)]);
        let records = RecordDecoder::new(Layout::new(&topology), schemas.clone());
        for id in 0..3 {
            let mut framed = vec![0, 0, 0, 0, id];
            framed.extend(&garbage);
            let _ = records.decode(&framed);
            let _ = EventDecoder::new(schemas.clone()).decode(&framed);
            let _ = DeadLetterDecoder::new(schemas.clone()).decode(&framed);
            let _ = TriggerDecoder::new(schemas.clone()).decode(&framed);
        }
        let mut bytes = Vec::new();
        RecordEncoder::new(Layout::new(&topology), 0).unwrap().encode(&record(), &mut bytes).unwrap();
        for (index, byte) in flips {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = records.decode(&bytes);
    }
}
