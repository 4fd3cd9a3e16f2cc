//! `headwater state` as a shell meets it, on a changelog that a producer wrote.

use std::path::Path;

use headwater::{cli::exit, codec::murmur2};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use super::bench::{Bench, LIMIT};
use crate::support::{
    headwater::run,
    topics,
    world::{Cluster, unique},
};

const PARTITIONS: i32 = 3;

/// A topology of that name with sessions, a duplicate check and a campaign.
fn topology(folder: &Path, name: &str) -> String {
    let file = folder.join("topology.yaml");
    let text = format!(
        "name: {name}\nsource: {{ topic: {name}.raw, key: [user_id, anonymous_id], dedup: 24h }}\nagents:\n  \
         - {{ name: session, type: session }}\ntriggers:\n  \
         - {{ campaign: back, when: session.number > 1, destination: hook }}\ndestinations:\n  \
         hook: {{ type: webhook, url: \"https://hooks.example/\", secret: \"${{HOOK_SECRET}}\" }}\n"
    );
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, key: &str, value: Option<&str>) {
    let record = BaseRecord::<str, str>::to(topic).partition(partition).key(key);
    let record = value.iter().fold(record, |record, value| record.payload(value));
    producer.send(record).map_err(|(error, _)| error).expect("queued");
}

pub fn the_last_committed_state_of_a_key_can_be_looked_at(cluster: impl Cluster) {
    let (folder, name) = (TempDir::new().expect("a folder"), unique("state"));
    let file = topology(folder.path(), &name);
    let (session, dedup) = (format!("{name}.state.session"), format!("{name}.state.dedup"));
    topics::create(cluster.bootstrap(), &[(&session, PARTITIONS), (&dedup, PARTITIONS)]);
    let producer = Bench::without_topics(cluster.bootstrap()).producer("p");
    let home = |key: &str| murmur2::partition(key.as_bytes(), PARTITIONS);
    let writes = [("u1", Some(r#"{"is":1}"#)), ("u2", Some(r#"{"is":1}"#)), ("u1", Some(r#"{"is":2}"#)), ("u2", None)];
    producer.begin_transaction().expect("begin");
    for (key, value) in writes {
        send(&producer, &session, home(key), key, value);
    }
    // Event ids lie where their events did.
    send(&producer, &dedup, (home("e1") + 1) % PARTITIONS, "e1", Some("events.raw-3@99120"));
    producer.commit_transaction(LIMIT).expect("commit");
    producer.begin_transaction().expect("begin");
    send(&producer, &session, home("u1"), "u1", Some(r#"{"is":"aborted"}"#));
    producer.flush(LIMIT).expect("delivered");
    producer.abort_transaction(LIMIT).expect("abort");

    let ask = |args: &[&str]| {
        let all: Vec<&str> = ["state", &file].into_iter().chain(args.iter().copied()).collect();
        let output = run(&all, &cluster.env(), LIMIT);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("an exit code") as u8, text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = ask(&["session", "u1"]);
    let (place, value) = out.split_once('\n').unwrap_or_else(|| panic!("{out} {err}"));
    assert!(place.starts_with(&format!("{session}-{}@", home("u1"))), "{place}");
    assert_eq!((code, value), (exit::OK, "{\n  \"is\": 2\n}\n"));

    let (code, out, _) = ask(&["session", "u2"]);
    assert!(code == exit::NEGATIVE && out.ends_with("deleted\n"), "{out}");
    let (code, out, err) = ask(&["session", "nobody"]);
    assert_eq!((code, out.as_str()), (exit::NEGATIVE, ""));
    assert!(err.contains(&format!("nothing is known of nobody in {session}-{}", home("nobody"))), "{err}");

    let (code, out, _) = ask(&["dedup", "e1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (code, json["value"].as_str(), json["found"].as_bool()),
        (exit::OK, Some("events.raw-3@99120"), Some(true))
    );

    let (code, _, err) = ask(&["sesion", "u1"]);
    assert!(code == exit::USAGE && err.contains("There are: dedup, session, decide"), "{err}");
    let (code, _, err) = ask(&["decide", "u1"]);
    assert!(
        code == exit::UNAVAILABLE && err.contains(&format!("HW504 topic {name}.state.decide does not exist")),
        "{err}"
    );
}
