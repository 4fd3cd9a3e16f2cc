//! A topology and a record to test with.

mod evolution;
mod properties;
mod round_trip;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

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
        kind: AgentKind::UserAgent { bots: None },
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
        feeds: Vec::new(),
    }
}

fn cache(schemas: &[(u32, &str)]) -> Arc<SchemaCache> {
    // A client reads the machine's certificates when it is made: once is enough.
    static NOWHERE: LazyLock<RegistryClient> = LazyLock::new(|| RegistryClient::at("http://127.0.0.1:1").unwrap());
    let cache = SchemaCache::new(NOWHERE.clone());
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
            events_tag: 77,
        },
        repeat: true,
        refire: false,
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
