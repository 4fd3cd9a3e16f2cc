//! A read-committed reader at the end of a topic: which event became readable, and when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use headwater::{
    clock,
    codec::{DecodeError, Layout, RecordDecoder, RegistryClient, SchemaCache, TriggerDecoder},
    event::{Record, Source},
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use tokio::runtime::Handle;

use crate::{Outcome, site::Site, stand::PARTITIONS};

/// One sighting of an event.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Its number in the traffic.
    pub number: u64,
    pub at: Instant,
    /// Whether the CRM's part came from the cache; `None` where there is no such part, or it did not ask.
    pub cached: Option<bool>,
}

/// A reader on a thread of its own.
pub struct Tail {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Seen>>,
}

impl Tail {
    /// Begins at the end of `<topology>.<suffix>`; `triggers` holds triggers, every other topic records.
    pub fn start(site: &Site, suffix: &str, runtime: &Handle) -> Outcome<Tail> {
        let topic = site.topology.topic(suffix);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &site.settings.bootstrap_servers)
            // Never joined: partitions are given by hand.
            .set("group.id", "headwater-load-tail")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.queue.backoff.ms", "5")
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let (_, end) = consumer.fetch_watermarks(&topic, partition, Duration::from_secs(10))?;
            list.add_partition_offset(&topic, partition, Offset::Offset(end))?;
        }
        consumer.assign(&list)?;
        let reader = Reader::new(site, suffix == "triggers", runtime)?;
        let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (count.clone(), stop.clone());
        let thread = thread::Builder::new().name(format!("tail-{suffix}")).spawn(move || {
            let mut seen = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
                let at = clock::now();
                if let Some((number, cached)) = reader.read(message.payload().unwrap_or_default()) {
                    seen.push(Seen { number, at, cached });
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
            seen
        })?;
        Ok(Tail { count, stop, thread })
    }

    /// Seen so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends it, and gives all that it saw.
    pub fn finish(self) -> Outcome<Vec<Seen>> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| "a reader panicked".into())
    }
}

struct Reader {
    schemas: Arc<SchemaCache>,
    records: RecordDecoder,
    triggers: TriggerDecoder,
    are_triggers: bool,
    crm: Option<usize>,
    runtime: Handle,
}

impl Reader {
    fn new(site: &Site, are_triggers: bool, runtime: &Handle) -> Outcome<Reader> {
        let schemas = Arc::new(SchemaCache::new(RegistryClient::new(&site.settings)?));
        Ok(Reader {
            records: RecordDecoder::new(Layout::new(&site.topology), schemas.clone()),
            triggers: TriggerDecoder::new(schemas.clone()),
            schemas,
            are_triggers,
            crm: site.topology.agents.iter().position(|agent| &*agent.name == "crm_lookup"),
            runtime: runtime.clone(),
        })
    }

    /// The event's number, and whether its CRM part came from the cache. `None` for what is not of the traffic.
    fn read(&self, value: &[u8]) -> Option<(u64, Option<bool>)> {
        if self.are_triggers {
            let trigger = self.with_schema(|| self.triggers.decode(value)).ok()?;
            return Some((number(&trigger.event_id)?, None));
        }
        let record: Record = self.with_schema(|| self.records.decode(value)).ok()?;
        let part = self.crm.and_then(|crm| record.parts.get(crm));
        let source = part.and_then(|part| part.provenance.source);
        Some((number(&record.event.id)?, source.map(|source| source == Source::Cache)))
    }

    fn with_schema<T>(&self, decode: impl Fn() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        match decode() {
            Err(DecodeError::SchemaNotLoaded(id)) => {
                // Where this fails the second attempt says why.
                let _ = self.runtime.block_on(self.schemas.fetch(id));
                decode()
            }
            outcome => outcome,
        }
    }
}

/// `e-<seed>-<number>`.
fn number(id: &str) -> Option<u64> {
    id.rsplit('-').next()?.parse().ok()
}
