//! `headwater run`: the real thing, against the cluster in `HEADWATER_…` or the config file.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use super::{complain, exit, load_to_run};
use crate::{
    config::{Settings, environment},
    ops::{Pipeline, RunOptions, start},
    topology::Placement,
};

/// Run a topology's stages against the cluster, until SIGTERM or Ctrl-C.
///
/// The topology must be applied (`headwater apply`). On SIGTERM each stage finishes what it took, commits, and leaves its
/// group within seconds. Exits with 0 after a stop, with 1 if the topology cannot run, with 3 if Kafka or the registry
/// cannot be used.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  headwater run topologies/campaign.yaml\n  headwater run topologies/campaign.yaml --stages intake,geo\n  HEADWATER_BOOTSTRAP_SERVERS=kafka:9092 HEADWATER_SCHEMA_REGISTRY_URL=http://registry:8081 headwater run topologies/campaign.yaml"
)]
pub struct RunArgs {
    /// The topology file.
    #[arg(default_value = super::DEFAULT_TOPOLOGY)]
    topology: PathBuf,
    /// Only these: intake, a stage's name, deliver.<destination> [default: all].
    #[arg(long, value_delimiter = ',')]
    stages: Option<Vec<String>>,
    /// Override the file's placement.
    #[arg(long)]
    placement: Option<Placement>,
    /// Events of one partition under way at once.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    max_in_flight: u16,
    /// Print a line per stage so often, in seconds; 0 is never.
    #[arg(long, default_value_t = 30)]
    report_every: u64,
    /// A file with settings (flat YAML) for what HEADWATER_… variables leave unset.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: RunArgs) -> ExitCode {
    super::log_to_stderr("info");
    let topology = match load_to_run(&args.topology, args.placement) {
        Ok(topology) => topology,
        Err(code) => return code.into(),
    };
    let settings = match Settings::load(environment(), args.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => {
            complain(&error.to_string());
            return exit::USAGE.into();
        }
    };
    let options =
        RunOptions { stages: args.stages.clone(), max_in_flight: args.max_in_flight.into(), ..RunOptions::default() };
    super::blocking(async {
        let pipeline = match start(&topology, &settings, &options).await {
            Ok(pipeline) => pipeline,
            Err(error) => {
                complain(&error.to_string());
                return exit::UNAVAILABLE;
            }
        };
        let names: Vec<&str> = pipeline.workers().iter().map(|worker| &*worker.name).collect();
        complain(&format!("running {} of {}: {}", topology.name, topology.version, names.join(", ")));
        wait(pipeline, args.report_every).await
    })
    .into()
}

async fn wait(mut pipeline: Pipeline, report_every: u64) -> u8 {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut stop = std::pin::pin!(super::stop_signal());
    let mut since_report = 0;
    loop {
        tokio::select! {
            _ = &mut stop => break,
            _ = ticks.tick() => {}
        }
        if let Some((stage, why)) = pipeline.failed() {
            complain(&format!("stage {stage} ended: {why}"));
            let _ = tokio::task::spawn_blocking(move || pipeline.join()).await;
            return exit::UNAVAILABLE;
        }
        since_report += 1;
        if report_every > 0 && since_report >= report_every * 5 {
            since_report = 0;
            report(&pipeline);
        }
    }
    complain("stopping: finishing what was taken in, committing, leaving the groups");
    report(&pipeline);
    match tokio::task::spawn_blocking(move || pipeline.join()).await {
        Ok(Ok(())) => exit::OK,
        Ok(Err(error)) => {
            complain(&error.to_string());
            exit::UNAVAILABLE
        }
        Err(_) => exit::UNAVAILABLE,
    }
}

fn report(pipeline: &Pipeline) {
    for worker in pipeline.workers() {
        complain(&worker.stats.line(&worker.name));
    }
}
