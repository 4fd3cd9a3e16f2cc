//! `headwater check`: every fault of a topology at once. Needs no secrets and no network.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use super::{DEFAULT_TOPOLOGY, complain, exit, print};
use crate::config::environment;
use crate::topology::{
    Diagnostic, LoadOptions, Loaded, Placement, Severity, Topology, Variables, load, plan_refusals, render,
};

/// Check a topology: every error and warning at once, each with a code and what to write instead.
#[derive(clap::Args)]
#[command(after_help = "\
Variables (${NAME}) that are not set stand as placeholders: check needs no secrets and no network.
Exit codes: 0 no errors (warnings may be there), 1 errors, 3 the file cannot be read.

Examples:
  headwater check
  headwater check topologies/two-agents.yaml
  headwater check topologies/campaign.yaml --placement fused --json")]
pub(crate) struct CheckArgs {
    /// The topology file.
    #[arg(value_name = "FILE", default_value = DEFAULT_TOPOLOGY)]
    file: PathBuf,
    /// Prints one JSON object: ok, findings, and the stages with their topics.
    #[arg(long)]
    json: bool,
    /// Where agents run, over what the file says: split or fused.
    #[arg(long, value_name = "PLACEMENT")]
    placement: Option<Placement>,
}

/// Runs the command.
pub(crate) fn run(args: CheckArgs) -> ExitCode {
    let file = args.file.display().to_string();
    let text = match std::fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("{file} cannot be read: {error}"));
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    let options = LoadOptions {
        variables: Variables::optional(environment()),
        placement: args.placement,
        ..LoadOptions::default()
    };
    let (topology, findings) = match load(&file, &text, &options) {
        Ok(Loaded { topology, warnings }) => (Some(topology), warnings),
        Err(findings) => (None, findings),
    };
    print(&if args.json {
        as_json(&file, topology.as_ref(), &findings)
    } else {
        as_text(&file, &text, topology.as_ref(), &findings)
    });
    ExitCode::from(if findings.iter().any(|finding| finding.severity == Severity::Error) {
        exit::NEGATIVE
    } else {
        exit::OK
    })
}

/// Findings with the lines they speak of; for a topology that can be used, what it is.
pub(crate) fn as_text(file: &str, text: &str, topology: Option<&Topology>, findings: &[Diagnostic]) -> String {
    let mut out = render(findings, text);
    let Some(topology) = topology else { return out };
    if !findings.is_empty() {
        out.push('\n');
    }
    let count = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(
        out,
        "✓ {file}: {} in {}, {}, {}",
        count(topology.agents.len(), "agent"),
        count(topology.stages.len(), "stage"),
        count(topology.triggers.len(), "trigger"),
        count(topology.destinations.len(), "destination"),
    );
    for stage in &topology.stages {
        let agents: Vec<&str> =
            stage.agents.iter().filter_map(|index| topology.agents.get(*index)).map(|agent| &*agent.name).collect();
        let _ = writeln!(out, "  {} → {} → {}", stage.input, agents.join(", "), stage.output);
    }
    for refusal in plan_refusals(topology) {
        let _ = writeln!(out, "  run would refuse: {}", refusal.message);
    }
    out
}

fn as_json(file: &str, topology: Option<&Topology>, findings: &[Diagnostic]) -> String {
    let topology = topology.map(|topology| {
        let stages: Vec<_> = topology
            .stages
            .iter()
            .map(|stage| {
                let agents: Vec<&str> =
                    stage.agents.iter().filter_map(|index| topology.agents.get(*index)).map(|agent| &*agent.name).collect();
                serde_json::json!({ "name": &*stage.name, "input": &*stage.input, "output": &*stage.output, "agents": agents })
            })
            .collect();
        let refusals: Vec<String> = plan_refusals(topology).into_iter().map(|refusal| refusal.message).collect();
        serde_json::json!({ "name": &*topology.name, "version": &*topology.version, "stages": stages, "run_would_refuse": refusals })
    });
    let ok = topology.is_some();
    let mut text = serde_json::to_string_pretty(
        &serde_json::json!({ "file": file, "ok": ok, "findings": findings, "topology": topology }),
    )
    .unwrap_or_default();
    text.push('\n');
    text
}
