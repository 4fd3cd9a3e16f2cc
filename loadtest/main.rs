//! Load tests: how long an event takes, and how many fit through, on Apache Kafka. `make load` runs them.
//!
//! # Layout
//!
//! - [`stand`]: what stands around the engine: broker, registry, stub CRM, webhook receiver.
//! - [`site`]: a topology applied there, and the real binary running it.
//! - [`paced`]: events at an even pace, open loop; when each became readable. [`tail`] is the reader.
//! - [`feed`]: the sample traffic as a producer sends it.
//! - [`backlog`]: a topic that is full already; [`bare`] is the loop that everything is compared with.
//! - [`agents`]: what an event costs each agent, in this process, without Kafka.
//! - [`usage`]: CPU and memory of a process. [`figures`]: quantiles, medians, tables.
//!
//! Nothing here asserts a time: the figures are for people. What is lost or doubled is counted and shown.

mod agents;
mod backlog;
mod bare;
mod feed;
mod figures;
mod paced;
mod site;
mod stand;
// The tests' own servers and processes. It panics where a test would, which suits a tool that only measures.
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, clippy::expect_used, clippy::panic, clippy::unwrap_used)]
mod support;
mod tail;
mod usage;

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

/// What a measurement gives, or why there is none.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures Headwater on an Apache Kafka of its own.
#[derive(Debug, Parser)]
#[command(name = "make load --")]
struct Args {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Of each paced run, after warming up, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Before that, in seconds: fills the CRM's cache.
    #[arg(long, default_value_t = 30)]
    warm_up: u64,
    /// Events per second of the paced runs.
    #[arg(long, default_value_t = 833, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Events in the backlog.
    #[arg(long, default_value_t = 400_000)]
    events: u64,
    /// Rounds of the backlog: bare loop and engine take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these placements [default: split, fused, keyed].
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Option<Vec<site::Shape>>,
    /// The bare loop itself, as a process of its own: bootstrap, input, output.
    #[arg(long, hide = true, num_args = 3)]
    bare: Option<Vec<String>>,
    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Latency at an even pace.
    Latency,
    /// The share of CONCURRENT_TRANSACTIONS answers, through a proxy that reads them.
    Concurrent,
    /// Events per second and CPU per event out of a backlog.
    Backlog,
    /// CPU per event and state per person of each agent; needs no Kafka.
    Agents,
    All,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr changes nothing.
            let _ = writeln!(std::io::stderr().lock(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    if let Some([bootstrap, input, output]) = args.bare.as_deref() {
        return bare::run(bootstrap, input, output);
    }
    if matches!(args.what, What::Agents | What::All) {
        say(&agents::run()?);
    }
    if args.what == What::Agents {
        return Ok(());
    }
    let shapes = args.only.clone().unwrap_or_else(|| site::Shape::ALL.to_vec());
    let Some(stand) = stand::Stand::start()? else {
        return Err("Apache Kafka needs a Java 17 runtime and Maven".into());
    };
    say(&format!("{}\nwarming the broker", figures::machine()));
    backlog::warm(&stand)?;
    let pace = paced::Pace {
        rate: args.rate,
        warm_up: Duration::from_secs(args.warm_up),
        measured: Duration::from_secs(args.seconds),
    };
    let wants = |what| args.what == what || args.what == What::All;
    if wants(What::Latency) {
        for shape in &shapes {
            say(&paced::run(&stand, *shape, &pace, paced::Way::Direct)?);
        }
    }
    if wants(What::Concurrent) {
        for shape in &shapes {
            say(&paced::run(&stand, *shape, &pace, paced::Way::Counted)?);
        }
    }
    if wants(What::Backlog) {
        say(&backlog::run(&stand, &shapes, args.events, args.rounds)?);
    }
    say(&stand.complaints());
    Ok(())
}

/// Writes to stdout at once, so that a long run shows how far it is.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed stdout ends nothing that is being measured.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
