//! Puts together what each worker of a run is made of: stage, committer, settings.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use super::tables;
use crate::{
    agent::{Agent, AgentError},
    codec::{
        CodecError, DEAD_LETTER_SCHEMA, EventDecoder, Layout, RecordDecoder, RecordEncoder, RegistryClient,
        RegistryError, TRIGGER_SCHEMA, TriggerDecoder, TriggerEncoder, enriched_schema,
    },
    config::Settings,
    deliver::{DeliverError, Destination, PayloadTypes},
    engine::Dag,
    kafka::{
        KafkaError,
        admin::{Admin, AdminError},
        control::ControlError,
    },
    service::{ServiceError, Services},
    stage::{Admission, ControlGate, DeadLetters, Decide, Deliver, Enrich, Front, Intake, Lookups, ReadControl},
    state::StateError,
    topology::{Fallback, StageSpec, Topology},
    worker::{Committer, Control, OffsetCommitter, Stage, Stats, TransactionCommitter, Worker, WorkerSettings},
};

/// A record of ours above this many bytes is a dead letter: Kafka's usual limit of 1 MiB, less the batch's own head.
const MAX_RECORD_BYTES: usize = 1024 * 1024 - 4096;

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Only these: `intake`, a stage's name, `deliver.<destination>`. `None` is all.
    pub stages: Option<Vec<String>>,
    /// Events of one partition under way at once, 1 to 1,000.
    pub max_in_flight: usize,
    /// From one transaction's end to the next one's begin.
    pub min_commit_interval: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions { stages: None, max_in_flight: 1_000, min_commit_interval: Duration::from_millis(5) }
    }
}

/// Why a topology does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Kafka(#[from] AdminError),
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Run `headwater apply`: with the same file, from the same version.
    #[error("HW503 {0}")]
    Chain(String),
    /// Run `headwater apply` first, against the same registry.
    #[error("HW507 {subject} is not registered as this topology writes it. Run `headwater apply`")]
    NotApplied { subject: String },
    /// Check the registry's URL and credentials.
    #[error("HW507 {0}")]
    Registry(#[from] RegistryError),
    /// Run `headwater apply`.
    #[error("HW504 {0}")]
    Topics(String),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// A defect of ours: report it with the topology.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Write one of the stages that the message lists.
    #[error("--stages: there is no stage {0:?}; there are {1}")]
    NoSuchStage(String, String),
    /// See the state's error.
    #[error(transparent)]
    State(#[from] StateError),
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// One worker as others see it.
pub struct Running {
    /// `intake`, the stage's name, or `deliver.<destination>`.
    pub name: Arc<str>,
    pub stats: Arc<Stats>,
    pub(super) control: Control,
    pub(super) thread: Option<JoinHandle<Result<(), KafkaError>>>,
}

/// What all stages of a run share.
pub(super) struct Assembly<'a> {
    pub topology: &'a Topology,
    pub settings: &'a Settings,
    pub options: &'a RunOptions,
    pub chain: u32,
    pub read_control: ReadControl,
    pub runtime: tokio::runtime::Handle,
    pub registry: RegistryClient,
    pub layout: Arc<Layout>,
    pub lookups: Lookups,
    pub partitions: i32,
}

/// How many partitions the internal topics have, once all of them are there and agree.
pub(super) async fn partitions(topology: &Topology, settings: &Settings) -> Result<i32, RunError> {
    let mut topics: Vec<String> =
        topology.stages.iter().flat_map(|stage| [stage.input.to_string(), stage.output.to_string()]).collect();
    topics.push(topology.topic("triggers"));
    if topology.source.keyed {
        topics[0] = topology.source.topic.to_string();
    }
    let ids = tables::of_intake(topology).filter(|_| !topology.source.keyed).map(|table| table.topic);
    let states = tables::of(topology).into_iter().map(|table| table.topic).filter(|topic| Some(topic) != ids.as_ref());
    topics.extend(states.map(|topic| topic.to_string()));
    let admin = Admin::new(settings)?;
    let found = admin.topics(&topics).await?;
    let counted = topics.into_iter().map(|topic| (found.get(&topic).map(|state| state.partitions), topic));
    let mut common = None;
    for (count, topic) in counted {
        let count =
            count.ok_or_else(|| RunError::Topics(format!("topic {topic} is missing. Run `headwater apply`")))?;
        match &common {
            None => common = Some((count, topic)),
            Some((expected, first)) if *expected != count => {
                return Err(RunError::Topics(format!(
                    "topics {first} and {topic} have {expected} and {count} partitions; the topics of a topology must \
                     agree. Recreate the one that was changed"
                )));
            }
            Some(_) => {}
        }
    }
    common.map(|(count, _)| count).ok_or_else(|| RunError::Topics("there is no stage".to_owned()))
}

impl Assembly<'_> {
    fn names(&self) -> Vec<String> {
        let intake = (!self.topology.source.keyed).then(|| "intake".to_owned());
        let stages = self.topology.stages.iter().map(|stage| stage.name.to_string());
        let deliver = self.topology.destinations.iter().map(|destination| format!("deliver.{}", destination.name));
        intake.into_iter().chain(stages).chain(deliver).collect()
    }

    pub fn check_stage_names(&self) -> Result<(), RunError> {
        let names = self.names();
        let unknown = self.options.stages.iter().flatten().find(|wanted| !names.contains(wanted));
        match unknown {
            Some(wanted) => Err(RunError::NoSuchStage(wanted.clone(), names.join(", "))),
            None => Ok(()),
        }
    }

    pub fn wants(&self, name: &str) -> bool {
        self.options.stages.as_ref().is_none_or(|stages| stages.iter().any(|stage| stage == name))
    }

    /// The id under which a topic's subject holds this schema.
    async fn schema_id(&self, topic: &str, schema: &str) -> Result<u32, RunError> {
        let subject = format!("{topic}-value");
        let found = self.registry.find(&subject, schema).await?.ok_or(RunError::NotApplied { subject })?;
        self.lookups.schemas().insert(found.id, schema);
        Ok(found.id)
    }

    async fn dead_letters(&self, stage: &str, topic: usize) -> Result<DeadLetters, RunError> {
        let id = self.schema_id(&self.topology.topic("dead-letters"), DEAD_LETTER_SCHEMA).await?;
        Ok(DeadLetters::new(stage.into(), id, topic, self.lookups.schemas().clone())?)
    }

    async fn record_encoder(&self, topic: &str) -> Result<RecordEncoder, RunError> {
        let id = self.schema_id(topic, &enriched_schema(self.topology)).await?;
        Ok(RecordEncoder::new(self.layout.clone(), id)?)
    }

    fn admission(&self, stats: &Arc<Stats>) -> Admission {
        Admission {
            decoder: EventDecoder::new(self.lookups.schemas().clone()),
            lookups: self.lookups.clone(),
            key: self.topology.source.key.clone(),
            chain: self.chain,
            topology_version: self.topology.version.clone(),
            topic: self.topology.source.topic.clone(),
            parts: self.topology.agents.len(),
            tags: Default::default(),
            stats: stats.clone(),
        }
    }

    fn control_gate(&self) -> ControlGate {
        ControlGate::new(self.read_control.clone(), self.chain, self.runtime.clone())
    }

    pub async fn intake(&self) -> Result<Running, RunError> {
        let output = self.topology.topic("events");
        let stats = Arc::new(Stats::default());
        let stage = Intake {
            dedup: self.dedup(Intake::STATE_FROM, &stats)?,
            admission: self.admission(&stats),
            control: self.control_gate(),
            encoder: self.record_encoder(&output).await?,
            dead_letters: self.dead_letters("intake", 1).await?,
            partitions: self.partitions,
            max_bytes: MAX_RECORD_BYTES,
        };
        let mut outputs = vec![output.into(), self.topology.topic("dead-letters").into()];
        outputs.extend(tables::of_intake(self.topology).map(|table| table.topic));
        let group = self.topology.topic("intake");
        self.transactional("intake", self.topology.source.topic.clone(), &group, outputs, stage, stats)
    }

    pub async fn enrich(
        &self,
        index: usize,
        spec: &StageSpec,
        agents: &[Arc<dyn Agent>],
        services: &Arc<Services>,
    ) -> Result<Running, RunError> {
        let topology = self.topology;
        let is_first = index == 0;
        let is_last = index + 1 == topology.stages.len();
        let keyed = is_first && topology.source.keyed;
        let local = |agent: &usize| spec.agents.iter().position(|of_stage| of_stage == agent);
        let dependencies: Vec<Vec<usize>> =
            spec.agents.iter().map(|agent| topology.agents[*agent].deps.iter().filter_map(local).collect()).collect();
        let dag = Dag::new(&dependencies)
            .ok_or_else(|| RunError::Topics(format!("stage {} has more than 64 agents", spec.name)))?;
        let asks_for_copy = |agent: &&usize| topology.agents[**agent].fallback.contains(&Fallback::DeadLetter);
        let (services, all) = (services.clone(), self.partitions);
        let used: Vec<usize> = spec.agents.iter().filter_map(|agent| topology.agents[*agent].kind.service()).collect();
        let stats = Arc::new(Stats::default());
        let tables = tables::of_stage(topology, spec);
        let stage = Enrich {
            memory: self.memory(spec, &tables, &stats)?,
            stats: stats.clone(),
            front: if keyed {
                Front::Raw {
                    admission: Box::new(self.admission(&stats)),
                    control: Box::new(self.control_gate()),
                    dedup: self.dedup(Enrich::STATE_FROM + tables.len(), &stats)?.map(Box::new),
                    partitions: self.partitions,
                }
            } else {
                let decoder = RecordDecoder::new(self.layout.clone(), self.lookups.schemas().clone());
                Front::Record {
                    decoder: Box::new(decoder),
                    lookups: self.lookups.clone(),
                    first: is_first,
                    tags: Default::default(),
                }
            },
            agents: spec.agents.iter().map(|agent| (*agent, agents[*agent].clone())).collect(),
            dag,
            copies: spec.agents.iter().filter(asks_for_copy).copied().collect(),
            encoder: self.record_encoder(&spec.output).await?,
            decide: if is_last {
                let id = self.schema_id(&topology.topic("triggers"), TRIGGER_SCHEMA).await?;
                Some((Decide::new(topology), TriggerEncoder::new(id)?))
            } else {
                None
            },
            dead_letters: self.dead_letters(&spec.name, 1).await?,
            agent_names: topology.agent_names(),
            topology_version: topology.version.clone(),
            chain: self.chain,
            max_bytes: MAX_RECORD_BYTES,
            share: Box::new(move |ours| services.set_share(&used, ours as f64 / f64::from(all.max(1)))),
        };
        let (input, group) = if keyed {
            (topology.source.topic.clone(), topology.topic("intake"))
        } else {
            (spec.input.clone(), spec.input.to_string())
        };
        let mut outputs =
            vec![spec.output.clone(), topology.topic("dead-letters").into(), topology.topic("triggers").into()];
        let ids = keyed.then(|| tables::of_intake(topology)).flatten();
        outputs.extend(tables.into_iter().chain(ids).map(|table| table.topic));
        self.transactional(&spec.name, input, &group, outputs, stage, stats)
    }

    pub async fn deliver(
        &self,
        name: &str,
        concurrency: usize,
        destination: Arc<Destination>,
        control: Control,
    ) -> Result<Running, RunError> {
        let (target, all) = (destination.clone(), self.partitions);
        let stage = Deliver {
            destination,
            decoder: TriggerDecoder::new(self.lookups.schemas().clone()),
            types: PayloadTypes::of(self.topology),
            lookups: self.lookups.clone(),
            dead_letters: self.dead_letters(name, 0).await?,
            share: Box::new(move |ours| target.set_share((ours as f64 / f64::from(all.max(1))).max(f64::MIN_POSITIVE))),
        };
        let committer = OffsetCommitter::new(self.settings.clone(), vec![self.topology.topic("dead-letters").into()]);
        let settings = WorkerSettings {
            max_in_flight: concurrency,
            ..self.worker(self.topology.topic("triggers").into(), &self.topology.topic(name))
        };
        spawn(name, settings, stage, committer, control, Arc::default())
    }

    fn transactional<S: Stage + Send>(
        &self,
        name: &str,
        input: Arc<str>,
        group: &str,
        outputs: Vec<Arc<str>>,
        stage: S,
        stats: Arc<Stats>,
    ) -> Result<Running, RunError> {
        let id = format!("{group}.{}.0", self.settings.pod);
        let committer = TransactionCommitter::new(self.settings.clone(), id, input.clone(), outputs, S::STATE_FROM);
        spawn(name, self.worker(input, group), stage, committer, Control::default(), stats)
    }

    fn worker(&self, topic: Arc<str>, group: &str) -> WorkerSettings {
        WorkerSettings {
            settings: self.settings.clone(),
            topic,
            group: group.into(),
            chain: self.chain,
            max_in_flight: self.options.max_in_flight,
            min_commit_interval: self.options.min_commit_interval,
            runtime: self.runtime.clone(),
        }
    }
}

fn spawn(
    name: &str,
    settings: WorkerSettings,
    stage: impl Stage + Send,
    committer: impl Committer,
    control: Control,
    stats: Arc<Stats>,
) -> Result<Running, RunError> {
    let (for_worker, counted) = (control.clone(), stats.clone());
    let thread = thread::Builder::new()
        .name(format!("worker {name}"))
        .spawn(move || Worker::run(settings, stage, committer, for_worker, counted))?;
    Ok(Running { name: name.into(), stats, control, thread: Some(thread) })
}
