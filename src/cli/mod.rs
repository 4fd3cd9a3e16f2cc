//! The command line: one file per command. Results to stdout, the rest to stderr.

pub mod apply;
pub mod plan;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

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

/// Real-time enrichment of marketing events on Kafka.
#[derive(Parser)]
#[command(name = "headwater", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}

/// Runs the command line and gives its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {}
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
    let _ = writeln!(io::stderr().lock(), "{error}");
    exit::UNAVAILABLE
}
