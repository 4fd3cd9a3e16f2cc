//! `headwater dev`: everything in one process, with sample traffic and a story.

use std::{
    io::{IsTerminal, stdout},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{complain, exit, print};
use crate::{
    dev::{
        demo::{DemoOptions, run as tell},
        world::{World, WorldError, WorldOptions},
    },
    state::grouped,
    topology::{Placement, render},
};

/// The topology of the demo, for a binary that stands alone.
const CAMPAIGN: &str = include_str!("../../topologies/campaign.yaml");

/// Run everything in this process: development broker, registry, stub CRM, webhook receiver, sample traffic.
///
/// Tells a story of twenty seconds (the CRM dies and comes back) and counts in the topics what was lost or doubled: exits
/// with 1 if that is not 0. In a terminal the world then stays up until Ctrl-C. A port that is taken is chosen anew.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  headwater dev\n  headwater dev topologies/campaign.yaml --rate 200 --placement fused\n  headwater dev --exit"
)]
pub struct DevArgs {
    /// The topology file [default: topologies/campaign.yaml, or the one built in].
    topology: Option<PathBuf>,
    /// Events per second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// People among whom they are spread.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    people: u32,
    /// Override the file's placement: split or fused.
    #[arg(long)]
    placement: Option<Placement>,
    /// Preferred port of the broker; the others follow the same rule.
    #[arg(long, default_value_t = 9092)]
    broker_port: u16,
    /// Exit after the story also in a terminal.
    #[arg(long)]
    exit: bool,
}

/// Runs the command.
pub fn run(args: DevArgs) -> ExitCode {
    super::log_to_stderr("warn");
    let (name, text) = match source(&args) {
        Ok(source) => source,
        Err(error) => {
            complain(&error);
            return exit::UNAVAILABLE.into();
        }
    };
    super::blocking(dev(args, name, text)).into()
}

fn source(args: &DevArgs) -> Result<(String, String), String> {
    let default = PathBuf::from(super::DEFAULT_TOPOLOGY);
    let file = match &args.topology {
        Some(file) => file.clone(),
        None if default.exists() => default,
        None => return Ok(("campaign.yaml (built in)".to_owned(), CAMPAIGN.to_owned())),
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok((file.display().to_string(), text))
}

async fn dev(args: DevArgs, name: String, text: String) -> u8 {
    let options = WorldOptions { broker_port: args.broker_port, placement: args.placement, ..WorldOptions::default() };
    let (partitions, crm_latency) = (options.partitions, options.crm.latency);
    let mut world = match World::start(&name, &text, options).await {
        Ok(world) => world,
        Err(WorldError::Topology(findings)) => {
            complain(&render(&findings, &text));
            return exit::NEGATIVE;
        }
        Err(error) => {
            complain(&error.to_string());
            return exit::UNAVAILABLE;
        }
    };
    if !world.warnings.is_empty() {
        complain(&render(&world.warnings, &text));
    }
    print(&format!(
        "[2/3] broker {} · registry {} · stub CRM {} ({:.1} s) · receiver {}\n[3/3] {} events/s from {} people\n\n",
        world.broker.address(),
        world.registry.url(),
        world.crm.url(),
        crm_latency.as_secs_f64(),
        world.receiver.url(),
        grouped(args.rate.into()),
        grouped(args.people.into()),
    ));
    let demo = DemoOptions { rate: args.rate, people: args.people, seed: 7, partitions };
    let told = tokio::select! {
        told = tell(&mut world, &demo, print) => Some(told),
        () = super::stop_signal() => None,
    };
    let code = match told {
        None => exit::OK,
        Some(Ok(reckoning)) if reckoning.passed() => {
            if stdout().is_terminal() && !args.exit {
                print(&format!(
                    "\nTry:  kcat -b {0} -L     kcat -b {0} -t {1}.enriched -C -o -5 -e\nCtrl-C stops.\n",
                    world.broker.address(),
                    world.topology.name
                ));
                super::stop_signal().await;
            }
            exit::OK
        }
        Some(Ok(_)) => {
            complain("the demo lost or doubled events: that is a defect, please report it with the log above");
            exit::NEGATIVE
        }
        Some(Err(error)) => {
            complain(&error.to_string());
            exit::NEGATIVE
        }
    };
    if tokio::time::timeout(Duration::from_secs(15), world.shutdown()).await.is_err() {
        complain("the stages did not stop within 15 s");
        return exit::UNAVAILABLE;
    }
    code
}
