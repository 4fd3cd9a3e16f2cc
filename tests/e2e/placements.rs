//! Placement is a deployment choice and never a change of meaning: the same events give the same records per person.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use apache_avro::types::Value;

use super::{
    site::{OnDevelopmentBroker, Site, apache_kafka, stop},
    state::history,
};
use crate::support::{
    verifier::{at, text},
    wait::say,
    world::{Cluster, cases},
};

cases! { on_the_development_broker, OnDevelopmentBroker::start() =>
    four_placements_of_a_few_events_agree
}
cases! { on_apache_kafka, apache_kafka() =>
    split_and_fused_agree_on_50_000_events
}

const SPLIT: &str = "placement: split";
const FUSED: &str = "placement: fused";
const NAMED: &str = "stages: [{ name: local, agents: [geo, device, session, funnel, attribution] }, \
                     { name: remote, agents: [crm_lookup, account, intent, sentiment, score] }]";
const KEYED: (&str, &str) = ("  key: [user_id, anonymous_id] ", "  keyed: true\n  key: [user_id, anonymous_id] ");

fn four_placements_of_a_few_events_agree(cluster: impl Cluster) {
    const EVENTS: usize = 3_000;
    let split = outcome(&cluster, SPLIT, &[], EVENTS);
    for (placement, edits) in [(FUSED, &[][..]), (NAMED, &[]), (FUSED, &[KEYED])] {
        assert_same(&split, &outcome(&cluster, placement, edits, EVENTS));
    }
}

fn split_and_fused_agree_on_50_000_events(cluster: impl Cluster) {
    const EVENTS: usize = 50_000;
    assert_same(&outcome(&cluster, SPLIT, &[], EVENTS), &outcome(&cluster, FUSED, &[], EVENTS));
}

/// What a run wrote: by topic and person, what each record says, in order, as event id and hash.
struct Outcome {
    site: Site,
    said: BTreeMap<(&'static str, String), Vec<(String, u64)>>,
}

/// What differs from run to run and means nothing.
const STRIPPED: &[&str] = &["received_at", "enriched_at", "fired_at", "origin", "chain", "topology_version"];

fn outcome(cluster: &impl Cluster, placement: &str, edits: &[(&str, &str)], events: usize) -> Outcome {
    // Services are to answer, however busy the machine: what overload does is another matter.
    let patient = [
        ("    expires: 2h ", "    expires: 300d "),
        ("    timeout: 2s                     # per attempt\n", "    deadline: 110s\n    timeout: 30s\n"),
        ("    timeout: 2s\n", "    deadline: 110s\n    timeout: 30s\n"),
        (
            "    timeout: 500ms\n    retry: 1\n    deadline: 2s\n",
            "    timeout: 30s\n    retry: 1\n    deadline: 110s\n",
        ),
        ("    rate_limit: 30/s\n", ""),
    ];
    let edits: Vec<_> = patient.into_iter().chain(edits.iter().copied()).collect();
    let site = Site::with(cluster, placement, Duration::ZERO, &edits);
    let run = site.run("pod-0", &["--stages", &site.enriching_stages()]);
    site.send_events(history(2, events));
    let verdict = site.settled(events, &run);
    say(&format!("{placement}: {verdict}"));
    assert!(verdict.is_clean() && verdict.enriched == events, "{verdict}\n{}", run.stderr());
    stop(run);
    let mut said: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (topic, id) in [("enriched", ["event", "id"].as_slice()), ("triggers", &["id"])] {
        for (message, value) in site.verifier().values(topic) {
            let key = String::from_utf8_lossy(message.key.as_deref().unwrap_or_default()).into_owned();
            let id = text(id.iter().fold(&value, |value, name| at(value, name))).expect("an id");
            let mut hash = DefaultHasher::new();
            format!("{:?}", meaning(value)).hash(&mut hash);
            said.entry((topic, key)).or_default().push((id, hash.finish()));
        }
    }
    Outcome { site, said }
}

fn assert_same(one: &Outcome, other: &Outcome) {
    assert!(one.said.keys().any(|(topic, _)| *topic == "triggers"), "some triggers fire");
    for (of, records) in &one.said {
        let others = other.said.get(of).map(Vec::as_slice).unwrap_or_default();
        let ids = |records: &[(String, u64)]| records.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(records), ids(others), "{of:?}");
        if let Some((differing, _)) = records.iter().zip(others).find(|(one, other)| one != other) {
            panic!("{of:?}, {}:\n{}", differing.0, difference(one, other, of.0, &differing.0));
        }
    }
    assert_eq!(one.said.len(), other.said.len(), "people");
}

/// The fields in which two records of one event differ.
fn difference(one: &Outcome, other: &Outcome, topic: &str, id: &str) -> String {
    let fields = |outcome: &Outcome| -> BTreeMap<String, String> {
        let values = outcome.site.verifier().values(topic);
        let of_event = |value: &Value| {
            let holder = if topic == "enriched" { at(value, "event") } else { value };
            text(at(holder, "id")).as_deref() == Some(id)
        };
        let value = values.into_iter().map(|(_, value)| value).find(of_event).map(meaning);
        let Some(Value::Record(fields)) = value else { return BTreeMap::new() };
        fields.into_iter().map(|(name, value)| (name, format!("{value:?}"))).collect()
    };
    let (one, other) = (fields(one), fields(other));
    let differing = one.iter().filter(|(name, value)| other.get(*name) != Some(value));
    differing.map(|(name, value)| format!("{name}:\n  {value}\n  {:?}", other.get(name))).collect::<Vec<_>>().join("\n")
}

/// A record without what differs from run to run: times of ours, latencies, and how a value came by the cache.
fn meaning(value: Value) -> Value {
    match value {
        Value::Record(fields) => Value::Record(
            fields
                .into_iter()
                .filter(|(name, _)| !STRIPPED.contains(&name.as_str()))
                .filter(|(name, _)| !["latency_ms", "age_ms", "attempts", "source"].contains(&name.as_str()))
                .map(|(name, value)| (name, meaning(value)))
                .collect(),
        ),
        Value::Union(_, inner) => meaning(*inner),
        Value::Map(map) => {
            let sorted: BTreeMap<_, _> = map.into_iter().collect();
            Value::Array(sorted.into_iter().map(|(key, value)| Value::Record(vec![(key, meaning(value))])).collect())
        }
        other => other,
    }
}
