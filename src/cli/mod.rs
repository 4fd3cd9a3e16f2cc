//! The command line: one file per command. Results to stdout, the rest to stderr.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

mod check;
mod explain;
mod schema;

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
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Schema(schema::SchemaArgs),
}

/// Runs the command line and gives its exit code.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Schema(args) => schema::run(args),
    }
}

/// The environment's variables; what is not UTF-8 is no variable of ours.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
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
