//! The demo: sample traffic into a world, the story told, the reckoning made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use super::{
    counted::{FirstTrigger, Reckoning},
    story::{Cue, Story, Timeline},
    traffic::Traffic,
    watch::{Watch, WatchError, reckon},
    world::World,
};
use crate::{
    clock,
    codec::{CodecError, EVENT_SCHEMA, EventEncoder, RegistryClient, RegistryError},
    kafka::client_config,
    policy::Phase,
};

/// How the demo runs.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Events per second.
    pub rate: u32,
    pub people: u32,
    pub seed: u64,
    pub partitions: i32,
}

/// Why the demo broke off.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("sample traffic cannot be sent: {0}")]
    Kafka(#[from] KafkaError),
    /// The log says why.
    #[error("stage {0} ended: {1}")]
    StageEnded(Arc<str>, String),
    /// A stage stands still; the log says why.
    #[error("{missing} of {sent} events have not come out {seconds} s after the last one went in")]
    NotDrained { missing: u64, sent: u64, seconds: u64 },
}

/// How long the stages may take to empty at the end.
const DRAIN: Duration = Duration::from_secs(20);

/// Sends traffic and tells the story to its end; `say` gets what is to be printed. Gives the reckoning.
pub async fn run(world: &mut World, options: &DemoOptions, mut say: impl FnMut(&str)) -> Result<Reckoning, DemoError> {
    let watch = Watch::start(&world.topology, &world.settings, options.partitions)?;
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let producer = tokio::spawn(traffic(
        world.settings.clone(),
        world.topology.source.topic.clone(),
        options.clone(),
        stop.clone(),
        sent.clone(),
    ));
    let began = clock::now();
    let mut story = Story::new(Timeline::default());
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut first = None;
    while !story.is_over() {
        ticks.tick().await;
        if let Some((stage, why)) = world.pipeline.failed() {
            return Err(DemoError::StageEnded(stage, why));
        }
        if producer.is_finished() {
            break;
        }
        let mut counted = watch.look();
        first = first.or_else(|| {
            world.receiver.received().first().and_then(|taken| FirstTrigger::read(&taken.body, taken.at_ms))
        });
        counted.first_trigger = first.clone();
        if let Some((_, service)) = world.pipeline.services.snapshot().first() {
            counted.breaker_closed = service.breaker == Phase::Closed;
            counted.probes = service.probes;
        }
        for cue in story.cues(began.elapsed(), &counted) {
            match cue {
                Cue::Say(text) => {
                    say(&text);
                    watch.turn_page();
                }
                Cue::CrmDies => world.crm.set_alive(false),
                Cue::CrmIsBack => world.crm.set_alive(true),
                Cue::End => {}
            }
        }
    }
    stop.store(true, Ordering::Release);
    match producer.await {
        Ok(outcome) => outcome?,
        Err(_) => tracing::error!("the traffic's task panicked"),
    }
    drain(world, &watch, &sent).await?;
    let (topology, settings, partitions) = (world.topology.clone(), world.settings.clone(), options.partitions);
    let (delivered, runtime) = (world.receiver.counts().distinct, tokio::runtime::Handle::current());
    let reckoning =
        tokio::task::spawn_blocking(move || reckon(&topology, &settings, partitions, delivered, &runtime)).await;
    let reckoning = reckoning.unwrap_or_else(|_| {
        tracing::error!("the reckoning panicked");
        Ok(Reckoning::default())
    })?;
    say(&reckoning.line(began.elapsed()));
    Ok(reckoning)
}

/// Waits until every event has come out and every trigger has been delivered.
async fn drain(world: &World, watch: &Watch, sent: &AtomicU64) -> Result<(), DemoError> {
    let sent = sent.load(Ordering::Acquire);
    let until = clock::now() + DRAIN;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut quiet = 0;
    let mut delivered_before = 0;
    loop {
        ticks.tick().await;
        let delivered = world.receiver.counts().distinct;
        quiet = if watch.records() >= sent && delivered == delivered_before { quiet + 1 } else { 0 };
        delivered_before = delivered;
        if quiet >= 20 {
            return Ok(());
        }
        if clock::now() > until {
            let missing = sent.saturating_sub(watch.records());
            return Err(DemoError::NotDrained { missing, sent, seconds: DRAIN.as_secs() });
        }
    }
}

/// Sends events at a steady rate, whatever happens to them.
async fn traffic(
    settings: crate::config::Settings,
    topic: Arc<str>,
    options: DemoOptions,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
) -> Result<(), DemoError> {
    let registry = RegistryClient::new(&settings)?;
    let schema = registry.register(&format!("{topic}-value"), EVENT_SCHEMA).await?;
    let mut encoder = EventEncoder::new(schema)?;
    let producer: ThreadedProducer<DefaultProducerContext> =
        client_config(&settings).set("linger.ms", "0").set("enable.idempotence", "true").create()?;
    let mut traffic = Traffic::new(options.seed, options.people);
    let began = clock::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let mut value = Vec::new();
    while !stop.load(Ordering::Acquire) {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * f64::from(options.rate)) as u64;
        while sent.load(Ordering::Relaxed) < due {
            let event = traffic.next_event(clock::unix_ms());
            value.clear();
            encoder.encode(&event, &mut value)?;
            let key = event.user_id.as_ref().or(event.anonymous_id.as_ref()).cloned().unwrap_or_default();
            let record = BaseRecord::to(&topic).key(key.as_bytes()).payload(value.as_slice());
            match producer.send(record) {
                Ok(()) => sent.fetch_add(1, Ordering::AcqRel),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => return Err(error.into()),
            };
        }
    }
    tokio::task::spawn_blocking(move || producer.flush(Duration::from_secs(10))).await.unwrap_or(Ok(()))?;
    Ok(())
}
