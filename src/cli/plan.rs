//! `headwater plan`: what would change in the cluster and the registry. Changes nothing.

use std::{
    io::{self, Write},
    path::PathBuf,
    pin::pin,
    time::Duration,
};

use clap::Args;

use super::exit;
use crate::{
    codec::RegistryClient,
    config::Settings,
    kafka::admin::Admin,
    ops::{Deployment, OpsError, Options, Plan, observe, plan},
    topology::{Placement, Topology},
};

/// After so long a person wants to know what is going on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Show what `apply` would change: topics, schemas, first offsets, the chain of stages.
///
/// Nothing is ever deleted.
///
/// Exits with 0; with 1 if the plan cannot be applied, or if anything would change under --fail-on-change; with 3 if
/// Kafka or the registry cannot be used.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  headwater plan topologies/campaign.yaml\n  headwater plan topologies/campaign.yaml --json --fail-on-change"
)]
pub struct PlanArgs {
    #[command(flatten)]
    pub deploy: DeployArgs,
    /// Exit with 1 if anything would change.
    #[arg(long)]
    pub fail_on_change: bool,
}

/// What `plan` and `apply` have in common.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The topology file.
    pub topology: PathBuf,
    /// Partitions of new topics [default: that of the topology's topics that exist, else 12].
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: Option<i32>,
    /// Copies of new topics, at most as many as there are brokers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub replication_factor: i32,
    /// Override the file's placement: split or fused.
    #[arg(long)]
    pub placement: Option<Placement>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// A file with settings (flat YAML) for what HEADWATER_… variables leave unset.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

impl DeployArgs {
    fn options(&self) -> Options {
        Options { partitions: self.partitions, replication: self.replication_factor }
    }
}

/// Both ends of a deployment, and what is there of it.
pub(super) struct Seen {
    pub admin: Admin,
    pub registry: RegistryClient,
    pub plan: Plan,
}

/// Looks at the cluster and the registry and makes the plan.
pub(super) async fn look(topology: &Topology, settings: &Settings, args: &DeployArgs) -> Result<Seen, OpsError> {
    let (admin, registry) = (Admin::new(settings)?, RegistryClient::new(settings)?);
    let deployment = Deployment::of(topology);
    let observed = patient(observe(&deployment, &admin, &registry), settings).await?;
    let plan = plan(&deployment, &observed, &args.options());
    Ok(Seen { admin, registry, plan })
}

/// Says so on stderr where it takes long.
async fn patient<T>(looking: impl Future<Output = T>, settings: &Settings) -> T {
    let mut looking = pin!(looking);
    match tokio::time::timeout(PATIENCE, &mut looking).await {
        Ok(seen) => seen,
        Err(_) => {
            let (kafka, registry) = (&settings.bootstrap_servers, &settings.registry_url);
            let _ = writeln!(io::stderr().lock(), "still asking Kafka at {kafka} and the registry at {registry} …");
            looking.await
        }
    }
}

/// Runs the command for a checked topology and gives its exit code.
pub fn run(args: &PlanArgs, topology: &Topology, settings: &Settings) -> u8 {
    super::blocking(async {
        let seen = match look(topology, settings, &args.deploy).await {
            Ok(seen) => seen,
            Err(error) => return super::unavailable(&error),
        };
        let plan = &seen.plan;
        let text = match args.deploy.json {
            true => format!("{:#}\n", plan.json()),
            false => plan.text(&args.deploy.topology.display().to_string()),
        };
        if io::stdout().lock().write_all(text.as_bytes()).is_err() {
            return exit::UNAVAILABLE;
        }
        if !plan.refusals.is_empty() || (args.fail_on_change && !plan.is_empty()) { exit::NEGATIVE } else { exit::OK }
    })
}
