//! For any record.

use apache_avro::{Schema, reader::datum::GenericDatumReader};
use proptest::{collection::btree_map, option, prelude::*};

use super::*;

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
        (repeat, refire) in (any::<bool>(), any::<bool>()),
        (topic, tag, partition, offset, events_offset, events_tag) in
            (text(), any::<u32>(), any::<i32>(), any::<i64>(), any::<i64>(), any::<u32>()),
        (geo, crm) in (any_part(GEO.1), any_part(CRM.1)),
    ) -> Record {
        let origin = Origin { topic, tag, partition, offset, events_offset, events_tag };
        Record { event, status, incomplete, received_at_ms, enriched_at_ms, origin, repeat, refire, chain, topology_version, parts: vec![geo, crm] }
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
