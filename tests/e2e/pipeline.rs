//! Whole pipelines, split, fused and in named stages, on both brokers.

use std::time::Duration;

use apache_avro::types::Value;

use super::site::{LIMIT, OnDevelopmentBroker, Site, apache_kafka, stop};
use crate::support::{
    verifier::{at, text},
    wait::wait_until,
    world::{Cluster, cases},
};

const EVENTS: usize = 2_000;
const SPLIT: &str = "placement: split";
const FUSED: &str = "placement: fused";
const NAMED: &str = "stages: [{ name: local, agents: [geo, device, session, funnel, attribution] }, \
                     { name: remote, agents: [crm_lookup, account, intent, sentiment, score] }]";

cases! { on_the_development_broker, OnDevelopmentBroker::start() =>
    every_event_comes_out_once_when_split
    every_event_comes_out_once_when_fused
    every_event_comes_out_once_in_named_stages
    what_cannot_be_processed_is_a_dead_letter_and_stops_nothing
    a_second_pod_joins_and_leaves_under_traffic
    a_keyed_source_is_a_single_hop_and_a_misplaced_record_a_dead_letter
}
cases! { on_apache_kafka, apache_kafka() =>
    every_event_comes_out_once_when_split
    every_event_comes_out_once_when_fused
    every_event_comes_out_once_in_named_stages
    what_cannot_be_processed_is_a_dead_letter_and_stops_nothing
    a_second_pod_joins_and_leaves_under_traffic
    a_keyed_source_is_a_single_hop_and_a_misplaced_record_a_dead_letter
}

fn every_event_comes_out_once_when_split(cluster: impl Cluster) {
    run_and_verify(
        &cluster,
        SPLIT,
        &[
            "events",
            "geo",
            "device",
            "session",
            "funnel",
            "attribution",
            "crm_lookup",
            "account",
            "intent",
            "sentiment",
        ],
    );
}

fn every_event_comes_out_once_when_fused(cluster: impl Cluster) {
    run_and_verify(&cluster, FUSED, &["events"]);
}

fn every_event_comes_out_once_in_named_stages(cluster: impl Cluster) {
    run_and_verify(&cluster, NAMED, &["events", "local"]);
}

fn run_and_verify(cluster: &impl Cluster, placement: &str, topics: &[&str]) {
    let site = Site::new(cluster, placement, Duration::from_millis(20));
    let run = site.run("pod-0", &[]);
    site.send(1, EVENTS);
    let verdict = site.settled(EVENTS, &run);
    assert!(verdict.is_clean(), "{verdict}\n{}", run.stderr());
    assert_eq!((verdict.events, verdict.enriched), (EVENTS, EVENTS), "{verdict}");
    assert!(verdict.triggers > 0, "sample traffic fires some: {verdict}");

    // Every committed trigger reaches the webhook, once, signed.
    wait_until(
        LIMIT,
        || site.receiver.counts().distinct as usize >= verdict.triggers,
        || format!("{:?} of {}\n{}", site.receiver.counts(), verdict.triggers, run.stderr()),
    );
    let counts = site.receiver.counts();
    assert_eq!((counts.distinct as usize, counts.repeats, counts.bad_signature), (verdict.triggers, 0, 0));

    // A stage at rest has lag 0, transaction markers included.
    wait_until(LIMIT, || site.has_no_lag(topics), || "lag stays".to_owned());
    stop(run);
}

fn what_cannot_be_processed_is_a_dead_letter_and_stops_nothing(cluster: impl Cluster) {
    let site = Site::new(&cluster, FUSED, Duration::ZERO);
    let run = site.run("pod-0", &[]);
    site.send_raw(&[
        (0, "u_1", b"not avro at all"),
        (1, "u_2", &[0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]),
        (2, "u_3", b""),
    ]);
    site.send(3, 200);
    let nobody = headwater::event::Event {
        id: "nobody".into(),
        kind: "page".into(),
        occurred_at_ms: headwater::clock::unix_ms(),
        ..Default::default()
    };
    site.send_events([nobody]);
    let verdict = site.settled(204, &run);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.enriched, verdict.dead_lettered), (200, 4), "{verdict}\n{}", run.stderr());
    let letters = site.verifier().values("dead-letters");
    let codes: Vec<Option<String>> = letters.iter().map(|(_, letter)| text(at(letter, "code"))).collect();
    assert_eq!(codes.iter().filter(|code| code.as_deref() == Some("HW601")).count(), 3, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| code.as_deref() == Some("HW602")).count(), 1, "{codes:?}");
    for (message, letter) in &letters {
        // The reason repeats in clear, for people with stock tools, and the original bytes are there.
        assert_eq!(message.header("headwater-error-code"), text(at(letter, "code")));
        assert!(message.header("headwater-error-message").is_some_and(|message| !message.is_empty()));
        assert!(!matches!(at(letter, "value"), Value::Null), "{letter:?}");
    }
    stop(run);
}

fn a_second_pod_joins_and_leaves_under_traffic(cluster: impl Cluster) {
    let site = Site::new(&cluster, NAMED, Duration::from_millis(50));
    let first = site.run("pod-0", &[]);
    site.send(4, EVENTS / 2);
    wait_until(LIMIT, || site.reached("enriched") > 0, || first.stderr());
    let second = site.run("pod-1", &[]);
    second.wait_for_output("partitions assigned", LIMIT);
    site.send(5, EVENTS / 2);
    wait_until(LIMIT, || site.reached("enriched") > EVENTS as i64 / 2, || first.stderr());
    second.sigterm();
    let status = second.wait(Duration::from_secs(30));
    assert!(status.success(), "{status}\n{}", second.stderr());
    let verdict = site.settled(EVENTS, &first);
    assert!(verdict.is_clean(), "{verdict}\n{}", first.stderr());
    assert_eq!(verdict.enriched, EVENTS, "{verdict}");
    stop(first);
}

fn a_keyed_source_is_a_single_hop_and_a_misplaced_record_a_dead_letter(cluster: impl Cluster) {
    let keyed = ("  key: [user_id, anonymous_id] ", "  keyed: true\n  key: [user_id, anonymous_id] ");
    let site = Site::with(&cluster, FUSED, Duration::ZERO, &[keyed]);
    let run = site.run("pod-0", &[]);
    site.send(6, 500);
    site.send_misplaced(7);
    let verdict = site.settled(501, &run);
    assert!(verdict.is_clean(), "{verdict}\n{}", run.stderr());
    assert_eq!((verdict.enriched, verdict.dead_lettered), (500, 1), "{verdict}");
    let letters = site.verifier().values("dead-letters");
    assert_eq!(text(at(&letters[0].1, "code")).as_deref(), Some("HW605"));
    assert!(!run.stderr().contains("running intake"), "intake runs inside the first stage");
    stop(run);
}
