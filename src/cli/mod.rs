//! The command line: one file per command. Results to stdout, the rest to stderr.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{Settings, environment},
    topology::{LoadOptions, Placement, Topology, Variables, load, plan_refusals, render},
};

mod apply;
mod check;
mod dev;
mod explain;
mod plan;
mod run;
mod schema;
mod state;
mod test;

/// Exit codes, as documented in `headwater --help`.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// The answer is no: check found errors, plan found changes under --fail-on-change, the demo lost an event.
    pub const NEGATIVE: u8 = 1;
    /// The command line cannot be used.
    pub const USAGE: u8 = 2;
    /// Something outside failed: Kafka, the registry, a file.
    pub const UNAVAILABLE: u8 = 3;
}

/// The topology a command takes when none is named.
pub(crate) const DEFAULT_TOPOLOGY: &str = "topologies/campaign.yaml";

/// Real-time enrichment of marketing events on Kafka.
#[derive(Parser)]
#[command(
    name = "headwater",
    version,
    after_help = "Exit codes: 0 done, 1 the answer is no (check found errors, …), 2 the command line cannot be used, 3 something outside failed (a file, Kafka, the registry)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::DevArgs),
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Test(test::TestArgs),
    Schema(schema::SchemaArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    State(state::StateArgs),
}

/// Runs the command line and gives its exit code.
pub fn main() -> ExitCode {
    // Before anything makes a TLS connection; fails only where a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse().command {
        Command::Dev(args) => dev::run(args),
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Test(args) => test::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Plan(args) => deploy(&args.deploy, |topology, settings| plan::run(&args, topology, settings)),
        Command::State(args) => state::run(&args).into(),
        Command::Apply(args) => deploy(&args.deploy, |topology, settings| apply::run(&args, topology, settings)),
    }
}

/// Loads what `plan` and `apply` work on.
fn deploy(args: &plan::DeployArgs, work: impl FnOnce(&Topology, &Settings) -> u8) -> ExitCode {
    log_to_stderr("warn");
    let topology = match load_to_run(&args.topology, args.placement) {
        Ok(topology) => topology,
        Err(code) => return code.into(),
    };
    match Settings::load(environment(), args.config.as_deref()) {
        Ok(settings) => work(&topology, &settings).into(),
        Err(error) => {
            complain(&error.to_string());
            exit::USAGE.into()
        }
    }
}

/// A topology with all its variables, which this version runs. Errors are printed; what is given is the exit code.
fn load_to_run(file: &Path, placement: Option<Placement>) -> Result<Topology, u8> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        complain(&format!("{}: {error}", file.display()));
        exit::UNAVAILABLE
    })?;
    let options = LoadOptions { variables: Variables::required(environment()), placement, ..LoadOptions::default() };
    let loaded = load(&file.display().to_string(), &text, &options).map_err(|findings| {
        complain(&render(&findings, &text));
        exit::NEGATIVE
    })?;
    if !loaded.warnings.is_empty() {
        complain(&render(&loaded.warnings, &text));
    }
    let refused = plan_refusals(&loaded.topology);
    if !refused.is_empty() {
        complain(&render(&refused, &text));
        return Err(exit::NEGATIVE);
    }
    Ok(loaded.topology)
}

/// Logs to stderr at this level; `HEADWATER_LOG` says otherwise (`debug`, `headwater=debug,librdkafka=warn`).
fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_env("HEADWATER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second subscriber (in tests) is no reason to stop.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
}

/// Ends when the process is asked to stop: SIGTERM or Ctrl-C.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without handlers the signals end the process by themselves.
        _ => std::future::pending().await,
    }
}

/// Writes a result to stdout. A reader that has gone (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes what is not a result to stderr.
pub(crate) fn complain(text: &str) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// Runs a command's work to its end on a runtime of its own.
fn blocking(work: impl Future<Output = u8>) -> u8 {
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => unavailable(&error),
    }
}

/// Says on stderr what failed outside, and gives the exit code for it.
fn unavailable(error: &dyn std::error::Error) -> u8 {
    complain(&error.to_string());
    exit::UNAVAILABLE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_examples_and_every_example_can_be_typed() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            // Variables may stand before the command.
            let examples: Vec<&str> =
                help.lines().filter_map(|line| line.find("headwater ").map(|at| &line[at..])).collect();
            assert!(examples.len() >= 2, "{}: {help}", command.get_name());
            for example in examples {
                let words = example.split("  ").next().unwrap_or_default().split_whitespace();
                let parsed = Cli::try_parse_from(words);
                assert!(
                    parsed.is_ok(),
                    "{example}: {}",
                    parsed.err().map(|error| error.to_string()).unwrap_or_default()
                );
            }
        }
    }
}
