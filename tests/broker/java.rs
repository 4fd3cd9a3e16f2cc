//! Kafka's own console tools against the development broker.

use std::process::Output;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};

use super::{PATIENCE, Running, deliver, eventually};
use crate::support::kafka::{has_tools, java_tool};

/// Runs one of Kafka's tools and gives what it printed.
fn tool(running: &Running, class: &str, arguments: &[&str], input: &str) -> String {
    let class = format!("org.apache.kafka.tools.{class}");
    let ran = java_tool(&running.address(), &class, arguments, input).expect("asked before");
    let Output { status, stdout, stderr } = ran;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{class} {arguments:?}: {stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn kafka_topics_creates_lists_and_describes() {
    let running = Running::start();
    if !has_tools() {
        return;
    }
    let topics = |arguments: &[&str]| tool(&running, "TopicCommand", arguments, "");
    topics(&["--create", "--topic", "state", "--partitions", "3", "--config", "cleanup.policy=compact"]);
    running.broker().create_topic("events", 2, &[]).unwrap();
    assert_eq!(topics(&["--list"]), "events\nstate\n");
    let described = topics(&["--describe", "--topic", "state"]);
    assert!(described.contains("PartitionCount: 3"), "{described}");
    assert!(described.contains("cleanup.policy=compact"), "{described}");
    assert!(described.contains("Partition: 2\tLeader: 1\tReplicas: 1\tIsr: 1"), "{described}");
}

#[test]
fn the_console_producer_and_consumer_agree_and_read_committed_hides_what_was_aborted() {
    let running = Running::start();
    if !has_tools() {
        return;
    }
    running.broker().create_topic("events", 1, &[]).unwrap();
    let aborting = running.transactional("t");
    aborting.begin_transaction().unwrap();
    deliver(&aborting, "events", 0, "aborted");
    aborting.abort_transaction(PATIENCE).unwrap();
    tool(&running, "ConsoleProducer", &["--topic", "events"], "one\ntwo\n");
    let consume = |isolation: &str, most: &str| {
        let arguments =
            ["--topic", "events", "--from-beginning", "--max-messages", most, "--isolation-level", isolation];
        tool(&running, "consumer.ConsoleConsumer", &[&arguments[..], &["--timeout-ms", "30000"]].concat(), "")
    };
    assert_eq!(consume("read_committed", "2"), "one\ntwo\n");
    assert_eq!(consume("read_uncommitted", "3"), "aborted\none\ntwo\n");
}

#[test]
fn kafka_consumer_groups_describes_lag_and_resets_offsets() {
    let running = Running::start();
    if !has_tools() {
        return;
    }
    running.broker().create_topic("events", 1, &[]).unwrap();
    let producer = running.producer(&[]);
    (0..3).for_each(|i| deliver(&producer, "events", 0, &i.to_string()));
    let consumer = running.consumer("campaign.geo", &[]);
    let mut at = TopicPartitionList::new();
    at.add_partition_offset("events", 0, Offset::Offset(1)).unwrap();
    consumer.commit(&at, CommitMode::Sync).unwrap();

    let groups = |arguments: &[&str]| tool(&running, "consumer.group.ConsumerGroupCommand", arguments, "");
    let geo = running.name("campaign.geo");
    assert_eq!(groups(&["--list"]).trim(), geo);
    let fields = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("campaign.geo")).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let described = groups(&["--describe", "--group", &geo]);
    assert_eq!(fields(&described)[1..6], ["events", "0", "1", "3", "2"], "topic, partition, offset, end, lag");

    let reset = ["--reset-offsets", "--group", &geo, "--topic", "events"];
    groups(&[&reset[..], &["--to-earliest", "--execute"]].concat());
    let described = groups(&["--describe", "--group", &geo]);
    assert_eq!(fields(&described)[1..6], ["events", "0", "0", "3", "3"]);

    let reader = running.consumer("campaign.live", &[]);
    reader.subscribe(&["events"]).unwrap();
    super::next_record(&reader);
    let live = running.name("campaign.live");
    let described = groups(&["--describe", "--group", &live, "--members", "--verbose"]);
    assert!(described.contains("rdkafka") && described.contains("events:0"), "{described}");
    drop(reader);
    groups(&["--delete", "--group", &geo]);
    eventually("only the other is left", || (groups(&["--list"]).trim() == live).then_some(()));
}
