//! The support for Apache Kafka itself: it starts, its own tools and ours see the same, and it leaves nothing behind.

use std::time::Duration;

use crate::support::{
    headwater,
    kafka::ApacheKafka,
    topics::{self, Isolation},
    wait::wait_until,
    world::unique,
};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn kafkas_own_tools_see_what_we_wrote() {
    let Some(kafka) = ApacheKafka::shared() else { return };
    let topic = unique("tools");
    topics::create_with(kafka.bootstrap(), &[(&topic, 3)], &[("cleanup.policy", "compact")]);
    let records = (0..30).map(|number| (number % 3, "key", format!("value {number}").into_bytes()));
    topics::fill(kafka.bootstrap(), &topic, records);

    let described = kafka.tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", &topic], "");
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    assert!(described.contains("PartitionCount: 3") && described.contains("cleanup.policy=compact"), "{described}");

    let args = ["--topic", &topic, "--from-beginning", "--max-messages", "30", "--timeout-ms", "20000"];
    let consumed = kafka.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &args, "");
    let mut consumed: Vec<String> = String::from_utf8_lossy(&consumed.stdout).lines().map(str::to_owned).collect();
    let ours = topics::read(kafka.bootstrap(), &topic, Isolation::Committed, LIMIT);
    let mut ours: Vec<String> = ours
        .iter()
        .map(|message| String::from_utf8_lossy(message.value.as_deref().unwrap_or_default()).into())
        .collect();
    consumed.sort();
    ours.sort();
    assert_eq!(consumed.len(), 30, "{consumed:?}");
    assert_eq!(consumed, ours);
}

#[test]
fn a_topic_that_is_not_there_reads_as_empty() {
    let Some(kafka) = ApacheKafka::shared() else { return };
    assert_eq!(topics::read(kafka.bootstrap(), &unique("nowhere"), Isolation::Committed, LIMIT), []);
}

#[test]
fn a_broker_that_is_dropped_leaves_no_process_and_no_folder() {
    let Some(kafka) = ApacheKafka::start() else { return };
    let (data, pid) = (kafka.data().to_owned(), kafka.broker_pid());
    assert!(data.exists());
    drop(kafka);
    headwater::wait_until_gone(pid, LIMIT);
    wait_until(LIMIT, || !data.exists(), || format!("{} is still there", data.display()));
}
