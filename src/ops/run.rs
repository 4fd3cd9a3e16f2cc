//! Runs a topology's stages in this process: one worker per stage and per destination, each on its own thread.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use super::{
    assemble::{Assembly, RunError, RunOptions, Running, partitions},
    deployment::Deployment,
    plan::chain_difference,
};
use crate::{
    agent,
    codec::{Layout, RegistryClient, SchemaCache},
    config::Settings,
    deliver::Destination,
    kafka::{KafkaError, SESSION_TIMEOUT, admin::Admin, control},
    service::Services,
    stage::{ControlState, Lookups, ReadControl},
    topology::Topology,
    worker::Control,
};
/// How long the control topic may take to be read.
const READ_CONTROL: Duration = Duration::from_secs(15);

/// The stages under way.
pub struct Pipeline {
    workers: Vec<Running>,
    pub services: Arc<Services>,
    pub destinations: Vec<Arc<Destination>>,
}

impl Pipeline {
    /// Starts every stage that the options name. The topology must be applied; `chain` is the deployed chain's number.
    pub async fn start(
        topology: &Topology,
        settings: &Settings,
        options: &RunOptions,
        chain: u32,
        read_control: ReadControl,
    ) -> Result<Pipeline, RunError> {
        let registry = RegistryClient::new(settings)?;
        let runtime = tokio::runtime::Handle::current();
        let lookups = Lookups::new(Arc::new(SchemaCache::new(registry.clone())), runtime.clone());
        let partitions = partitions(topology, settings).await?;
        let assembly = Assembly {
            topology,
            settings,
            options,
            chain,
            read_control,
            runtime,
            registry,
            layout: Layout::new(topology),
            lookups,
            partitions,
        };
        assembly.check_stage_names()?;
        let services = Services::build(topology)?;
        let agents = agent::build(topology, &services)?;
        let mut pipeline = Pipeline { workers: Vec::new(), services: services.clone(), destinations: Vec::new() };
        if !topology.source.keyed && assembly.wants("intake") {
            pipeline.workers.push(assembly.intake().await?);
        }
        for (index, stage) in topology.stages.iter().enumerate() {
            if assembly.wants(&stage.name) {
                pipeline.workers.push(assembly.enrich(index, stage, &agents, &services).await?);
            }
        }
        for spec in &topology.destinations {
            let name = format!("deliver.{}", spec.name);
            if assembly.wants(&name) {
                let control = Control::default();
                let pulse = control.clone();
                // A session that has timed out may have given our partitions to another.
                let destination =
                    Destination::new(spec, Arc::new(move || pulse.silent_ms() < SESSION_TIMEOUT.as_millis() as i64))?;
                pipeline.destinations.push(destination.clone());
                pipeline.workers.push(assembly.deliver(&name, spec.concurrency, destination, control).await?);
            }
        }
        Ok(pipeline)
    }

    /// The workers, with what they count.
    pub fn workers(&self) -> &[Running] {
        &self.workers
    }

    /// The first worker that has ended although nobody stopped it.
    pub fn failed(&mut self) -> Option<(Arc<str>, String)> {
        let worker =
            self.workers.iter_mut().find(|worker| worker.thread.as_ref().is_some_and(JoinHandle::is_finished))?;
        let outcome = worker.thread.take().map(JoinHandle::join);
        let text = match outcome {
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(_)) => "its thread panicked; the log has the place".to_owned(),
            _ => "it ended".to_owned(),
        };
        Some((worker.name.clone(), text))
    }

    /// Asks every worker to finish what it took, commit and leave its group. Front to back, so that what the first
    /// stages still write is there for the others' successors.
    pub fn stop(&self) {
        for worker in &self.workers {
            worker.control.stop();
            if let Some(thread) = &worker.thread {
                thread.thread().unpark();
            }
        }
    }

    /// Waits until all have ended. Blocks for up to the drain time of a worker.
    pub fn join(mut self) -> Result<(), KafkaError> {
        self.stop();
        let mut outcome = Ok(());
        for worker in &mut self.workers {
            if let Some(Ok(Err(error))) = worker.thread.take().map(JoinHandle::join) {
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }
}

/// Starts every stage that the options name, for the chain that is deployed.
pub async fn start(topology: &Topology, settings: &Settings, options: &RunOptions) -> Result<Pipeline, RunError> {
    let admin = Admin::new(settings)?;
    let topic = topology.topic("control");
    // Asked first: it says best what is wrong with the cluster, and whether anything was ever applied.
    let deployed = match admin.topics(std::slice::from_ref(&topic)).await?.is_empty() {
        true => None,
        false => {
            let (config, topic) = (admin.config().clone(), topic.clone());
            let read = tokio::task::spawn_blocking(move || control::read(&config, &topic, READ_CONTROL)).await;
            read.map_err(|error| RunError::Chain(error.to_string()))??
        }
    };
    let config = admin.config().clone();
    let deployed = deployed
        .ok_or_else(|| RunError::Chain(format!("topology {} is not deployed. Run `headwater apply`", topology.name)))?;
    if let Some(difference) = chain_difference(&deployed.chain, &Deployment::of(topology).chain) {
        return Err(RunError::Chain(format!(
            "the deployed chain {} is not this topology's: {difference}. Run `headwater plan` to see what would change",
            deployed.chain.number
        )));
    }
    let read: ReadControl = Arc::new(move || {
        let control = control::read(&config, &topic, READ_CONTROL)
            .map_err(|error| KafkaError::Refused { what: format!("read {topic}"), message: error.to_string() })?;
        Ok(control.map_or(ControlState { chain: 0, open: false, epoch: 0 }, |control| ControlState {
            chain: control.chain.number,
            open: control.chain.open,
            epoch: control.epoch,
        }))
    });
    Pipeline::start(topology, settings, options, deployed.chain.number, read).await
}
