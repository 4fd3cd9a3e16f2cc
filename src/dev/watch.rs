//! Reads the topics of a running topology as any consumer would, and counts what the demo tells.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use super::counted::{Counted, Reckoning};
use crate::{
    clock,
    codec::{DecodeError, Layout, RecordDecoder, RegistryClient, SchemaCache, TriggerDecoder},
    config::Settings,
    event::{Outcome, Record, Source, Status, Trigger},
    kafka::client_config,
    topology::{AgentKind, Topology},
    worker::Histogram,
};

#[derive(Default)]
struct State {
    counted: Counted,
    /// Since the last look.
    latency: Histogram,
}

/// A watcher on its own thread.
pub struct Watch {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Why topics could not be read.
#[derive(Debug, thiserror::Error)]
#[error("topics cannot be read: {0}")]
pub struct WatchError(String);

impl WatchError {
    fn of(error: impl std::fmt::Display) -> Self {
        WatchError(error.to_string())
    }
}

impl Watch {
    /// Begins to read records and triggers of that topology.
    pub fn start(topology: &Topology, settings: &Settings, partitions: i32) -> Result<Watch, WatchError> {
        let reader = Reader::new(topology, settings)?;
        let topics = [topology.topic("enriched"), topology.topic("triggers")];
        let consumer = consumer(settings, &topics, partitions)?;
        let crm = topology.agents.iter().position(|agent| matches!(agent.kind, AgentKind::Function { .. }));
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped, runtime) = (state.clone(), stop.clone(), tokio::runtime::Handle::current());
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
                let value = message.payload().unwrap_or_default();
                if message.topic() == topics[0] {
                    if let Ok(record) = reader.record(value, &runtime) {
                        shared.lock().record(&record, crm);
                    }
                } else if let Ok(trigger) = reader.trigger(value, &runtime) {
                    shared.lock().trigger(&trigger);
                }
            }
        });
        Ok(Watch { state, stop, thread: Some(thread.map_err(WatchError::of)?) })
    }

    /// What was counted; latencies and ages since the page was turned.
    pub fn look(&self) -> Counted {
        self.state.lock().counted.clone()
    }

    /// Begins a new stretch of latencies and ages.
    pub fn turn_page(&self) {
        let mut state = self.state.lock();
        state.latency = Histogram::default();
        state.counted.oldest_ms = 0;
        state.counted.p99_ms = None;
    }

    /// Enriched records read so far.
    pub fn records(&self) -> u64 {
        self.state.lock().counted.records
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn record(&mut self, record: &Record, crm: Option<usize>) {
        let counted = &mut self.counted;
        counted.records += 1;
        counted.partial += u64::from(record.status == Status::Partial);
        let Some(part) = crm.and_then(|crm| record.parts.get(crm)) else { return };
        let provenance = &part.provenance;
        match provenance.outcome {
            Outcome::Ok => {
                counted.crm_ok += 1;
                counted.cache_hits += u64::from(provenance.source == Some(Source::Cache));
            }
            Outcome::Stale => {
                counted.crm_stale += 1;
                counted.oldest_ms = counted.oldest_ms.max(provenance.age_ms.unwrap_or_default());
            }
            Outcome::Fallback => counted.crm_fallback += 1,
            Outcome::Failed => counted.crm_failed += 1,
            Outcome::Skipped | Outcome::Pending => {}
        }
    }

    fn trigger(&mut self, trigger: &Trigger) {
        let age = (clock::unix_ms() - trigger.occurred_at_ms).max(0) as u64;
        self.latency.record(Duration::from_millis(age), 1);
        self.counted.p99_ms = self.latency.quantile_ms(0.99).map(|ms| ms.round() as u64);
    }
}

/// Decodes with schemas from the registry.
struct Reader {
    schemas: Arc<SchemaCache>,
    records: RecordDecoder,
    triggers: TriggerDecoder,
}

impl Reader {
    fn new(topology: &Topology, settings: &Settings) -> Result<Self, WatchError> {
        let schemas = Arc::new(SchemaCache::new(RegistryClient::new(settings).map_err(WatchError::of)?));
        Ok(Reader {
            records: RecordDecoder::new(Layout::new(topology), schemas.clone()),
            triggers: TriggerDecoder::new(schemas.clone()),
            schemas,
        })
    }

    fn record(&self, value: &[u8], runtime: &tokio::runtime::Handle) -> Result<Record, DecodeError> {
        self.with_schema(runtime, || self.records.decode(value))
    }

    fn trigger(&self, value: &[u8], runtime: &tokio::runtime::Handle) -> Result<Trigger, DecodeError> {
        self.with_schema(runtime, || self.triggers.decode(value))
    }

    fn with_schema<T>(
        &self,
        runtime: &tokio::runtime::Handle,
        decode: impl Fn() -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        match decode() {
            Err(DecodeError::SchemaNotLoaded(id)) => {
                let _ = runtime.block_on(self.schemas.fetch(id));
                decode()
            }
            outcome => outcome,
        }
    }
}

fn consumer(settings: &Settings, topics: &[String], partitions: i32) -> Result<BaseConsumer, WatchError> {
    let consumer: BaseConsumer = client_config(settings)
        .set("group.id", "headwater-dev-watch")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        .create()
        .map_err(WatchError::of)?;
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).map_err(WatchError::of)?;
        }
    }
    consumer.assign(&list).map_err(WatchError::of)?;
    Ok(consumer)
}

/// Reads the topics from their beginnings and counts: what was lost, what is there twice. Blocks.
pub fn reckon(
    topology: &Topology,
    settings: &Settings,
    partitions: i32,
    delivered: u64,
    runtime: &tokio::runtime::Handle,
) -> Result<Reckoning, WatchError> {
    let reader = Reader::new(topology, settings)?;
    let raw: HashSet<(i32, i64)> =
        read_all(settings, &topology.source.topic, partitions)?.into_iter().map(|(place, _)| place).collect();
    let mut seen = HashSet::new();
    let (mut twice, mut foreign) = (0, 0);
    for (place, value) in read_all(settings, &topology.topic("enriched"), partitions)? {
        let record =
            reader.record(&value, runtime).map_err(|error| WatchError(format!("enriched {place:?}: {error}")))?;
        let origin = (record.origin.partition, record.origin.offset);
        foreign += u64::from(!raw.contains(&origin));
        twice += u64::from(!seen.insert(origin));
    }
    let mut triggers = HashSet::new();
    for (place, value) in read_all(settings, &topology.topic("triggers"), partitions)? {
        let trigger =
            reader.trigger(&value, runtime).map_err(|error| WatchError(format!("triggers {place:?}: {error}")))?;
        twice += u64::from(!triggers.insert(trigger.id));
    }
    if foreign > 0 {
        return Err(WatchError(format!("{foreign} enriched records name an event that is not in the raw topic")));
    }
    Ok(Reckoning {
        events: raw.len() as u64,
        triggers: triggers.len() as u64,
        delivered,
        lost: raw.difference(&seen).count() as u64,
        twice,
    })
}

type Place = (i32, i64);

/// Every committed record of a topic up to where it ends now, markers passed over.
fn read_all(settings: &Settings, topic: &str, partitions: i32) -> Result<Vec<(Place, Vec<u8>)>, WatchError> {
    let consumer = consumer(settings, &[topic.to_owned()], partitions)?;
    let mut records = Vec::new();
    let mut ends = HashMap::new();
    for partition in 0..partitions {
        let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)).map_err(WatchError::of)?;
        ends.insert(partition, end);
    }
    let until = clock::now() + Duration::from_secs(60);
    loop {
        if let Some(message) = consumer.poll(Duration::from_millis(50)) {
            let message = message.map_err(WatchError::of)?;
            records.push(((message.partition(), message.offset()), message.payload().unwrap_or_default().to_vec()));
            continue;
        }
        let position = consumer.position().map_err(WatchError::of)?;
        let behind = position.elements().iter().any(|element| {
            let end = ends.get(&element.partition()).copied().unwrap_or_default();
            end > 0 && !matches!(element.offset(), Offset::Offset(at) if at >= end)
        });
        if !behind {
            return Ok(records);
        }
        if clock::now() > until {
            return Err(WatchError(format!("{topic} does not come to its end")));
        }
    }
}
