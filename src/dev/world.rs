//! Everything a topology talks to, in this process: broker, registry, stub CRM, webhook receiver; and the topology itself,
//! applied and running among them.

use std::{collections::BTreeMap, io, path::PathBuf};

use super::{
    broker::{Broker, BrokerConfig, BrokerError},
    crm::{Crm, CrmOptions},
    intent::Intent,
    receiver::Receiver,
    registry::Registry,
    salesforce::{Salesforce, SalesforceOptions},
};
use crate::{
    codec::{RegistryClient, RegistryError},
    config::{Settings, SettingsError, environment},
    kafka::admin::{Admin, AdminError},
    ops::{Deployment, Observed, OpsError, Options, Pipeline, RunError, RunOptions, apply, observe, plan, start},
    secret::Secret,
    topology::{Diagnostic, LoadOptions, Loaded, Placement, Topology, Variables, load, plan_refusals},
};

/// Signs the demo's webhooks.
const HOOK_SECRET: &str = "whsec_ZGVtby1zZWNyZXQtb2YtaGVhZHdhdGVy";
/// MaxMind's own test data: a few networks that exist on no real globe's map but theirs.
const PLACES: &[u8] = crate::rehearse::TEST_PLACES;

/// How the world is set up.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Preferred ports; one that is taken is chosen anew.
    pub broker_port: u16,
    pub registry_port: u16,
    pub crm_port: u16,
    pub intent_port: u16,
    pub receiver_port: u16,
    /// Of the topology's topics.
    pub partitions: i32,
    pub crm: CrmOptions,
    /// Overrides the file's.
    pub placement: Option<Placement>,
}

impl Default for WorldOptions {
    fn default() -> Self {
        WorldOptions {
            broker_port: 9092,
            registry_port: 8081,
            crm_port: 8083,
            intent_port: 8085,
            receiver_port: 8084,
            partitions: 4,
            crm: CrmOptions::default(),
            placement: None,
        }
    }
}

/// Why there is no world.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Mend the topology as its findings say.
    #[error("the topology has errors")]
    Topology(Vec<Diagnostic>),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("no port: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Kafka(#[from] AdminError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Ops(#[from] OpsError),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A running world.
pub struct World {
    pub broker: Broker,
    pub registry: Registry,
    pub crm: Crm,
    pub intent: Intent,
    pub salesforce: Salesforce,
    pub receiver: Receiver,
    pub settings: Settings,
    pub topology: Topology,
    /// What the topology's author should know.
    pub warnings: Vec<Diagnostic>,
    pub pipeline: Pipeline,
    scratch: Scratch,
}

impl World {
    /// Starts the stand-ins, loads the topology among them, applies it and runs all its stages.
    pub async fn start(file_name: &str, text: &str, options: WorldOptions) -> Result<World, WorldError> {
        let config = BrokerConfig { port: Some(options.broker_port), ..BrokerConfig::default() };
        let broker = Broker::start(config).await?;
        let registry = Registry::start(Some(options.registry_port)).await?;
        let crm = Crm::start(Some(options.crm_port), options.crm.clone()).await?;
        let intent = Intent::start(Some(options.intent_port)).await?;
        let salesforce = Salesforce::start(None, SalesforceOptions::default()).await?;
        let receiver = Receiver::start(Some(options.receiver_port), &Secret::new(HOOK_SECRET)).await?;
        let scratch = Scratch::new()?;
        let places = scratch.folder.join("places.mmdb");
        std::fs::write(&places, PLACES)?;
        let variables = variables(&crm, &intent, &salesforce, &receiver, &places);
        let options_of_load = LoadOptions {
            variables: Variables::required(variables),
            bind_unbound_to: Some(crm.url()),
            placement: options.placement,
        };
        let Loaded { topology, warnings } = load(file_name, text, &options_of_load).map_err(WorldError::Topology)?;
        let refused = plan_refusals(&topology);
        if !refused.is_empty() {
            return Err(WorldError::Topology(refused));
        }
        let settings = Settings::load(
            [
                ("HEADWATER_BOOTSTRAP_SERVERS".to_owned(), broker.address().to_string()),
                ("HEADWATER_SCHEMA_REGISTRY_URL".to_owned(), registry.url()),
                ("HEADWATER_POD".to_owned(), "dev-0".to_owned()),
                ("HEADWATER_STATE_DIR".to_owned(), scratch.folder.join("state").display().to_string()),
            ],
            None,
        )?;
        deploy(&topology, &settings, options.partitions).await?;
        let pipeline = start(&topology, &settings, &RunOptions::default()).await?;
        Ok(World {
            broker,
            registry,
            crm,
            intent,
            salesforce,
            receiver,
            settings,
            topology,
            warnings,
            pipeline,
            scratch,
        })
    }

    /// Stops the stages, then what they talk to.
    pub async fn shutdown(self) {
        let World { pipeline, broker, registry, scratch, .. } = self;
        let _ = tokio::task::spawn_blocking(move || pipeline.join()).await;
        registry.shutdown().await;
        broker.shutdown().await;
        drop(scratch);
    }
}

/// Applies a topology to a cluster without asking.
pub async fn deploy(topology: &Topology, settings: &Settings, partitions: i32) -> Result<(), OpsError> {
    let (admin, registry) = (Admin::new(settings)?, RegistryClient::new(settings)?);
    let deployment = Deployment::of(topology);
    let observed: Observed = observe(&deployment, &admin, &registry).await?;
    let plan = plan(&deployment, &observed, &Options { partitions: Some(partitions), replication: 1 });
    if let Some(refusal) = plan.refusals.first() {
        return Err(OpsError::Refused(format!("{} {}", refusal.code, refusal.message)));
    }
    apply(&plan, &admin, &registry, |line| tracing::debug!("{line}")).await?;
    Ok(())
}

/// What `${…}` means among the stand-ins: theirs, unless the environment says otherwise.
fn variables(
    crm: &Crm,
    intent: &Intent,
    salesforce: &Salesforce,
    receiver: &Receiver,
    places: &std::path::Path,
) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = [
        ("HUBSPOT_TOKEN", "demo".to_owned()),
        ("HUBSPOT_URL", crm.url()),
        // So that the story's outage outlasts it: values grow stale before the reader's eyes.
        ("CRM_CACHE_TTL", "8s".to_owned()),
        ("INTENT_URL", intent.url()),
        ("SALESFORCE_URL", salesforce.url()),
        ("SALESFORCE_CLIENT_ID", "demo".to_owned()),
        ("SALESFORCE_CLIENT_SECRET", "demo".to_owned()),
        ("HOOK_URL", receiver.url()),
        ("HOOK_SECRET", HOOK_SECRET.to_owned()),
        ("ALLOW_PRIVATE", "true".to_owned()),
        ("GEOIP_DB", places.display().to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    variables.extend(environment());
    variables
}

/// A folder in the system's temporary one that goes with its owner.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn new() -> io::Result<Self> {
        let name = format!("headwater-{}-{:x}", std::process::id(), fastrand::u64(..));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)?;
        Ok(Scratch { folder })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The system clears its temporary folder where this fails.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
