//! Topics of its own, and a worker on its own thread.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use headwater::{
    codec::murmur2,
    config::Settings,
    kafka::{KafkaError, admin::Admin},
    worker::{Control, Stage, Stats, TransactionCommitter, Worker, WorkerSettings},
};
use rdkafka::{Offset, TopicPartitionList, admin::AdminOptions};
use tokio::runtime::Runtime;

use crate::support::{
    topics::{self, Isolation},
    wait::wait_until,
    world::{Cluster, unique},
};

pub const PARTITIONS: i32 = 2;
const LIMIT: Duration = Duration::from_secs(120);

pub struct Bench {
    runtime: Runtime,
    settings: Settings,
    name: String,
    pub stats: Arc<Stats>,
}

/// A worker under way.
pub struct Run {
    control: Control,
    thread: JoinHandle<Result<(), KafkaError>>,
}

impl Run {
    /// Stops it and waits; it must end well.
    pub fn stop(self) {
        self.control.stop();
        self.thread.thread().unpark();
        self.thread.join().expect("no panic").expect("a clean end");
    }
}

impl Bench {
    /// `out`: settings of the output topic.
    pub fn new(cluster: &impl Cluster, out: &[(&str, &str)]) -> Bench {
        let name = unique("worker");
        let settings = Settings {
            bootstrap_servers: cluster.bootstrap().to_owned(),
            registry_url: String::new(),
            registry_auth: None,
            kafka: Default::default(),
            pod: "pod-0".to_owned(),
            state_dir: Default::default(),
        };
        let topic = |suffix: &str| format!("{name}.{suffix}");
        topics::create(cluster.bootstrap(), &[(&topic("in"), PARTITIONS), (&topic("dead"), PARTITIONS)]);
        topics::create_with(cluster.bootstrap(), &[(&topic("out"), PARTITIONS)], out);
        let runtime = Runtime::new().expect("a runtime");
        let admin = Admin::new(&settings).expect("an admin client");
        let first: Vec<(i32, i64)> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
        runtime.block_on(admin.commit_first(&topic("in"), &topic("in"), &first)).expect("first offsets");
        Bench { runtime, settings, name, stats: Arc::default() }
    }

    fn topic(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.name)
    }

    /// Where a key lies.
    pub fn partition(&self, key: &str) -> i32 {
        murmur2::partition(key.as_bytes(), PARTITIONS)
    }

    pub fn send(&self, records: &[(String, String)]) {
        let records =
            records.iter().map(|(key, value)| (self.partition(key), key.as_str(), value.clone().into_bytes()));
        topics::fill(&self.settings.bootstrap_servers, &self.topic("in"), records);
    }

    pub fn run(&self, stage: impl Stage + Send, max_in_flight: usize) -> Run {
        let (input, group) = (Arc::<str>::from(self.topic("in")), Arc::<str>::from(self.topic("in")));
        let outputs = vec![Arc::from(self.topic("out")), Arc::from(self.topic("dead"))];
        let id = format!("{group}.pod-0.0");
        let committer = TransactionCommitter::new(self.settings.clone(), id, input.clone(), outputs, usize::MAX);
        let settings = WorkerSettings {
            settings: self.settings.clone(),
            topic: input,
            group,
            chain: 1,
            max_in_flight,
            min_commit_interval: Duration::from_millis(5),
            runtime: self.runtime.handle().clone(),
        };
        let control = Control::default();
        let (theirs, stats) = (control.clone(), self.stats.clone());
        let thread = std::thread::spawn(move || Worker::run(settings, stage, committer, theirs, stats));
        Run { control, thread }
    }

    /// Waits until so many records have come out, one way or the other.
    pub fn wait_for(&self, count: usize) {
        wait_until(
            LIMIT,
            || self.out().len() + self.dead_letters().len() >= count,
            || format!("{} + {} of {count}: {:?}", self.out().len(), self.dead_letters().len(), self.stats),
        );
    }

    fn read(&self, suffix: &str) -> Vec<topics::Message> {
        topics::read(&self.settings.bootstrap_servers, &self.topic(suffix), Isolation::Committed, LIMIT)
    }

    /// Key and value of every output, by partition and offset.
    pub fn out(&self) -> Vec<(String, String)> {
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        self.read("out").iter().map(|message| (text(&message.key), text(&message.value))).collect()
    }

    /// Code and message of every dead letter.
    pub fn dead_letters(&self) -> Vec<(String, String)> {
        let header = |message: &topics::Message, name: &str| message.header(name).unwrap_or_default();
        self.read("dead")
            .iter()
            .map(|message| (header(message, "headwater-error-code"), header(message, "headwater-error-message")))
            .collect()
    }

    /// Deletes what lies before this offset, as retention does; gives how many records that were.
    pub fn delete_before(&self, offset: i64) -> usize {
        let admin: rdkafka::admin::AdminClient<_> =
            headwater::kafka::client_config(&self.settings).create().expect("an admin client");
        let ends = topics::ends(&self.settings.bootstrap_servers, &self.topic("in"), Isolation::Committed);
        let mut list = TopicPartitionList::new();
        let mut deleted = 0;
        for (partition, end) in ends {
            let before = offset.min(end);
            deleted += before;
            list.add_partition_offset(&self.topic("in"), partition, Offset::Offset(before)).expect("an offset");
        }
        self.runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).expect("records are deleted");
        deleted as usize
    }
}
