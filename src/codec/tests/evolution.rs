//! Other versions' and other people's schemas.

use apache_avro::{Schema, types::Value as Avro};

use super::*;

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
