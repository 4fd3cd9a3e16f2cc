//! A store, changelogs of its own, and what a worker's producer would have written into them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use headwater::{
    clock,
    config::Settings,
    kafka::{Changelog, DELETE_RETENTION_MS, RestoreError, Restorer, client_config},
    state::{Mark, PartitionStore, Store, Write},
};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer},
};
use tempfile::TempDir;

use crate::support::{
    topics::{self, Isolation},
    wait::wait_until,
    world::{Cluster, unique},
};

pub const SESSION: usize = 0;
pub const FUNNEL: usize = 1;
const TABLES: [&str; 2] = ["session", "funnel"];
pub const PARTITIONS: i32 = 3;
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Bench {
    pub settings: Settings,
    name: String,
    folder: TempDir,
    epoch: u64,
}

/// A restore that has come to its end; the store stays open with it.
pub struct Restored {
    pub store: Arc<Store>,
    pub _restorer: Restorer,
}

impl Bench {
    /// Changelogs with these settings.
    pub fn new(cluster: &impl Cluster, config: &[(&str, &str)]) -> Bench {
        let bench = Bench::without_topics(cluster.bootstrap());
        for table in [SESSION, FUNNEL] {
            topics::create_with(cluster.bootstrap(), &[(&bench.topic(table), PARTITIONS)], config);
        }
        bench
    }

    pub fn without_topics(bootstrap: &str) -> Bench {
        let settings = Settings {
            bootstrap_servers: bootstrap.to_owned(),
            registry_url: String::new(),
            registry_auth: None,
            kafka: Default::default(),
            state_dir: Default::default(),
            pod: "pod-0".to_owned(),
        };
        Bench { settings, name: unique("restore"), folder: TempDir::new().expect("a folder"), epoch: 0 }
    }

    pub fn topic(&self, table: usize) -> String {
        format!("{}.state.{}", self.name, TABLES[table])
    }

    pub fn store(&self) -> Arc<Store> {
        let tables = TABLES.iter().map(|table| Arc::from(*table)).collect();
        Arc::new(Store::open(self.folder.path(), tables).expect("the store opens"))
    }

    /// A restorer on that store.
    pub fn restorer(&self, store: &Arc<Store>) -> Restorer {
        self.restorer_at(&self.settings, store)
    }

    /// The same, with other settings.
    pub fn restorer_at(&self, settings: &Settings, store: &Arc<Store>) -> Restorer {
        let changelog = |table| Changelog { topic: self.topic(table), delete_retention_ms: DELETE_RETENTION_MS };
        let test = std::thread::current();
        let changelogs = vec![changelog(SESSION), changelog(FUNNEL)];
        Restorer::start(settings, store.clone(), changelogs, move || test.unpark()).expect("a restorer")
    }

    /// Opens the store and restores these partitions to their ends.
    pub fn restore(&mut self, partitions: &[i32]) -> Restored {
        let store = self.store();
        let restorer = self.restorer(&store);
        self.epoch += 1;
        for partition in partitions {
            restorer.begin(*partition, self.epoch);
        }
        for partition in partitions {
            wait_done(&restorer, *partition, self.epoch);
        }
        Restored { store, _restorer: restorer }
    }

    /// A worker's producer.
    pub fn producer(&self, id: &str) -> BaseProducer {
        let mut config = client_config(&self.settings);
        config
            .set("transactional.id", format!("{}.{id}", self.name))
            .set("transaction.timeout.ms", "30000")
            .set("queue.buffering.max.messages", "1000000")
            .set("linger.ms", "5");
        let producer: BaseProducer = config.create().expect("a producer");
        producer.init_transactions(LIMIT).expect("transactions");
        producer
    }

    /// Sends entries of a table, in the transaction that is open, and waits until the broker has them.
    pub fn send(&self, producer: &BaseProducer, table: usize, partition: i32, entries: &[(&str, Option<&str>)]) {
        let topic = self.topic(table);
        for (key, value) in entries {
            let record = BaseRecord::<str, str>::to(&topic).partition(partition).key(key);
            let record = value.iter().fold(record, |record, value| record.payload(value));
            producer.send(record).map_err(|(error, _)| error).expect("the record is queued");
        }
        producer.flush(LIMIT).expect("delivered");
    }

    /// One transaction.
    pub fn write(&self, producer: &BaseProducer, partition: i32, entries: &[(&str, Option<&str>)], commit: bool) {
        producer.begin_transaction().expect("begin");
        self.send(producer, SESSION, partition, entries);
        match commit {
            true => producer.commit_transaction(LIMIT).expect("commit"),
            false => producer.abort_transaction(LIMIT).expect("abort"),
        }
    }

    /// The last committed value of each key, as a stranger reads the topic.
    pub fn fold(&self, table: usize, partition: i32) -> BTreeMap<String, String> {
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).expect("text"));
        let mut fold = BTreeMap::new();
        for message in topics::read(&self.settings.bootstrap_servers, &self.topic(table), Isolation::Committed, LIMIT) {
            let Some(key) = text(message.key).filter(|_| message.partition == partition) else { continue };
            match text(message.value) {
                Some(value) => fold.insert(key, value),
                None => fold.remove(&key),
            };
        }
        fold
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        client_config(&self.settings).create().expect("an admin client")
    }

    /// Deletes what lies before this offset of a partition, as retention does.
    pub fn delete_before(&self, table: usize, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic(table), partition, Offset::Offset(offset)).expect("an offset");
        let deleted = futures::executor::block_on(self.admin().delete_records(&list, &AdminOptions::new()));
        deleted.expect("records are deleted");
    }

    /// Deletes a table's topic and makes one of the same name.
    pub fn recreate(&self, table: usize) {
        let topic = self.topic(table);
        let deleted = futures::executor::block_on(self.admin().delete_topics(&[&topic], &AdminOptions::new()));
        deleted.expect("an answer").into_iter().for_each(|result| drop(result.expect("deleted")));
        let gone = || topics::partitions(&self.settings.bootstrap_servers, &topic).is_empty();
        wait_until(LIMIT, gone, || format!("{topic} is still there"));
        topics::create(&self.settings.bootstrap_servers, &[(&topic, PARTITIONS)]);
    }
}

/// Waits until the job is done.
pub fn wait_done(restorer: &Restorer, partition: i32, epoch: u64) {
    let done = || restorer.is_done(partition, epoch).expect("no failure");
    wait_until(LIMIT, done, || format!("partition {partition}: {:?}", restorer.progress()));
}

/// Waits until the job has failed.
pub fn wait_failed(restorer: &Restorer, partition: i32, epoch: u64) -> RestoreError {
    let mut failed = None;
    let has_failed = || {
        failed = restorer.is_done(partition, epoch).err();
        failed.is_some()
    };
    wait_until(LIMIT, has_failed, || "it did not fail".to_owned());
    failed.expect("just seen")
}

impl Restored {
    pub fn partition(&self, partition: i32) -> PartitionStore {
        self.store.partition(partition).expect("the partition")
    }

    pub fn value(&self, partition: i32, key: &str) -> Option<String> {
        let entry = self.partition(partition).get(SESSION, key.as_bytes()).expect("readable")?;
        Some(String::from_utf8(entry.value().to_vec()).expect("text"))
    }

    /// Writes what is in no changelog: it is there as long as the store is not built anew.
    pub fn haunt(&self, partition: i32) {
        let store = self.partition(partition);
        let ghost = Write { table: SESSION, key: b"ghost", value: Some(b"boo"), at_ms: clock::unix_ms() };
        let at = store.position(SESSION).expect("restored");
        store.apply([ghost], &[Mark { table: SESSION, next_offset: at.offset, at_ms: at.at_ms }]).expect("written");
    }

    pub fn is_haunted(&self, partition: i32) -> bool {
        self.value(partition, "ghost").is_some()
    }
}
