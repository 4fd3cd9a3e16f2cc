//! What is written is read, here and by apache-avro; what is broken is refused.

use apache_avro::{Schema, reader::datum::GenericDatumReader};

use super::*;

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
fn a_record_survives_the_round_trip() {
    assert_eq!(carried(&record(), &[GEO, CRM], &[GEO, CRM]), record());
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
fn an_integer_may_stand_for_a_float() {
    let whole = Record { parts: vec![Part::ok(Source::Local, vec![Value::Null, 51.into()])], ..record() };
    let read = carried(&whole, &[GEO], &[GEO]);
    assert_eq!(read.parts[0].field(1), &Value::Float(51.0));
}

#[test]
fn a_value_of_the_wrong_type_leaves_the_output_as_it_was() {
    let mut encoder = RecordEncoder::new(Layout::new(&topology(&[GEO])), 7).unwrap();
    let mut out = b"before".to_vec();
    let wrong = Record { parts: vec![Part::ok(Source::Local, vec![5.into()])], ..record() };
    assert!(matches!(encoder.encode(&wrong, &mut out), Err(CodecError::Value(_))));
    assert_eq!(out, b"before");
}

#[test]
fn a_preview_shows_whatever_decodes() {
    let schema = r#"{ "type": "record", "name": "R", "fields": [
        { "name": "a", "type": { "type": "map", "values": "bytes" } }, { "name": "b", "type": ["null", "double"] },
        { "name": "c", "type": { "type": "array", "items": { "type": "enum", "name": "E", "symbols": ["x", "y"] } } }
    ] }"#;
    let schemas = cache(&[(1, schema)]);
    let framed = b"\0\0\0\0\x01\x02\x02k\x04\xffz\0\0\x04\x00\x02\0";
    assert_eq!(
        preview(&schemas, framed).as_deref(),
        Some("{\"a\":{\"k\":\"\u{fffd}z\"},\"b\":null,\"c\":[\"x\",\"y\"]}")
    );
    assert_eq!(preview(&schemas, b"{\"id\": 7}").as_deref(), Some("{\"id\": 7}"));
    assert_eq!(preview(&schemas, b"\xff\xfe"), None);
    assert_eq!(preview(&schemas, b"plain words"), None);
    let long = format!("\"{}\"", "ж".repeat(2_000));
    let cut = preview(&schemas, long.as_bytes()).unwrap();
    assert!(cut.len() <= MAX_PREVIEW_BYTES && cut.ends_with('…'), "{}", cut.len());
}
