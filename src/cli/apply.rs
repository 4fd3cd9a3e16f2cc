//! `headwater apply`: makes the cluster and the registry what the topology needs.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::{
    exit,
    plan::{DeployArgs, look},
};
use crate::{config::Settings, ops, topology::Topology};

/// Do what `plan` shows: create topics, register schemas, commit first offsets, write the chain of stages.
///
/// Nothing is ever deleted. Applying again changes nothing; after a failure it goes on where it stopped.
///
/// Exits with 0; with 1 if the plan cannot be applied (nothing is changed then); with 3 if Kafka or the registry
/// cannot be used.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  headwater apply topologies/campaign.yaml\n  headwater apply topologies/campaign.yaml --partitions 24"
)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub deploy: DeployArgs,
}

/// Runs the command for a checked topology and gives its exit code.
pub fn run(args: &ApplyArgs, topology: &Topology, settings: &Settings) -> u8 {
    super::blocking(async {
        let seen = match look(topology, settings, &args.deploy).await {
            Ok(seen) => seen,
            Err(error) => return super::unavailable(&error),
        };
        let plan = &seen.plan;
        let file = args.deploy.topology.display().to_string();
        if !plan.refusals.is_empty() {
            return print(args, &plan.text(&file), plan.json(), exit::NEGATIVE);
        }
        let progress = |line: &str| {
            let _ = writeln!(io::stderr().lock(), "{line}");
        };
        let made = match ops::apply(plan, &seen.admin, &seen.registry, progress).await {
            Ok(made) => made,
            Err(error) => {
                let _ = writeln!(io::stderr().lock(), "stopped; what is listed above is done. Apply again to go on");
                return super::unavailable(&error);
            }
        };
        let notes: String = plan.notes.iter().map(|note| format!("! {note}\n")).collect();
        let end = match made {
            0 => format!("nothing to change: {}\n", plan.as_it_is()),
            made => format!(
                "{made} change{} made, nothing deleted.  Next: headwater run {file}\n",
                if made == 1 { "" } else { "s" }
            ),
        };
        let mut json = plan.json();
        json["applied"] = json!(made);
        print(args, &(notes + &end), json, exit::OK)
    })
}

fn print(args: &ApplyArgs, text: &str, json: serde_json::Value, code: u8) -> u8 {
    let text = if args.deploy.json { format!("{json:#}\n") } else { text.to_owned() };
    if io::stdout().lock().write_all(text.as_bytes()).is_err() { exit::UNAVAILABLE } else { code }
}
