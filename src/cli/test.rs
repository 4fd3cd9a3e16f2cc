//! `headwater test`: runs the tests beside a topology, without Kafka, secrets or network.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use chrono::DateTime;

use super::{DEFAULT_TOPOLOGY, complain, exit, print};
use crate::{
    clock,
    config::environment,
    rehearse::{Rehearsal, Verdict, report, screen},
    topology::{Case, LoadOptions, Topology, Variables, load, load_cases, render},
};

/// How often `--watch` looks at the files.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Run the tests beside a topology (campaign.test.yaml beside campaign.yaml), without Kafka, secrets or network.
///
/// A test is an event, or several; what services answer (given); and what must come out (expect). Agents that need
/// nobody run for real, and so do guards, fallbacks, state and rules. Where the topology's database of places is not
/// on this machine, MaxMind's small test data stands in (81.2.69.142 is in London).
#[derive(clap::Args)]
#[command(after_help = "\
given says, by agent, what is answered instead of running it; whoever would leave the process and is asked must be there:
  crm: { segment: enterprise }      it answers these fields; the others are null
  crm: { stale: { segment: enterprise }, age: 7m, because: timeout }   it does not answer, and the cache holds this
  crm: { fails: timeout }           or rate_limited, breaker_open, bad_response, unavailable, rejected; then its fallbacks
  crm: { not_found: true }          it has nothing under that key
  state: { session: { page_views: 6 } }   what an agent that keeps state says at this event
Attribution runs without its table of campaigns, unless given speaks of it. No event is ever overdue.
expect holds <agent>.<field>: value, <agent>.outcome and the like, triggers: [campaign], status, incomplete: [agent].
events: [{ event: …, after: 5m, given: …, expect: … }, …] instead of event: each builds on those before it.

A failing test shows the event's way from agent to agent and marks the first difference.
--json prints one object: topology, tests, ok, passed, failed, left_out, and cases, each with name, line, ok and events;
an event has id, ok, faults, differences (path, expected, got), agents (outcome, reason, source, attempts, age_ms,
fields), status, incomplete and triggers.
Exit codes: 0 every test passed, 1 one did not, or a file has errors, 3 a file cannot be read.

Examples:
  headwater test
  headwater test topologies/first-agent.yaml
  headwater test topologies/campaign.yaml --filter crm --json
  headwater test --watch   # again whenever one of the two files is saved")]
pub(crate) struct TestArgs {
    /// The topology file; its tests are in <name>.test.yaml beside it.
    #[arg(value_name = "FILE", default_value = DEFAULT_TOPOLOGY)]
    file: PathBuf,
    /// Runs only tests whose name holds this text, in any case.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Runs them again whenever one of the two files is saved, until Ctrl-C.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Runs the command.
pub(crate) fn run(args: TestArgs) -> ExitCode {
    super::blocking(async {
        if args.watch {
            tokio::select! {
                () = watch(&args) => exit::OK,
                () = super::stop_signal() => exit::OK,
            }
        } else {
            once(&args).await
        }
    })
    .into()
}

/// Runs them again and again, for ever.
async fn watch(args: &TestArgs) {
    let files = [args.file.clone(), beside(&args.file)];
    let saved = || files.each_ref().map(|file| saved_at(file));
    loop {
        let seen = saved();
        once(args).await;
        while saved() == seen {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let now = DateTime::from_timestamp_millis(clock::unix_ms()).unwrap_or_default();
        print(&format!("\n{} UTC saved, again\n", now.format("%H:%M:%S")));
    }
}

/// When the file was last written; `None` while it is not there.
fn saved_at(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|found| found.modified()).ok()
}

/// `campaign.test.yaml` beside `campaign.yaml`.
fn beside(file: &Path) -> PathBuf {
    file.with_extension("test.yaml")
}

async fn once(args: &TestArgs) -> u8 {
    let (topology, cases) = match read(args) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let wanted = |case: &&Case| {
        args.filter.as_ref().is_none_or(|filter| case.name.to_lowercase().contains(&filter.to_lowercase()))
    };
    let chosen: Vec<&Case> = cases.iter().filter(wanted).collect();
    let tests = beside(&args.file).display().to_string();
    if chosen.is_empty() {
        complain(&format!(
            "no test in {tests} has \"{}\" in its name. There are:\n  {}",
            args.filter.as_deref().unwrap_or_default(),
            cases.iter().map(|case| &*case.name).collect::<Vec<_>>().join("\n  ")
        ));
        return exit::NEGATIVE;
    }
    let mut rehearsal = match Rehearsal::new(&topology) {
        Ok(rehearsal) => rehearsal,
        Err(error) => {
            complain(&error.to_string());
            return exit::NEGATIVE;
        }
    };
    if !rehearsal.without_database().is_empty() && !args.json {
        complain(&format!(
            "{}: its database is not on this machine; places are MaxMind's test data",
            rehearsal.without_database().join(", ")
        ));
    }
    let mut verdicts = Vec::new();
    for case in &chosen {
        verdicts.push(rehearsal.run(case).await);
    }
    let left_out = cases.len() - chosen.len();
    print(&if args.json {
        let json = report(&topology, &args.file.display().to_string(), &tests, &verdicts, left_out);
        format!("{}\n", serde_json::to_string_pretty(&json).unwrap_or_default())
    } else {
        as_text(&topology, &tests, &verdicts, left_out)
    });
    if verdicts.iter().all(Verdict::passed) { exit::OK } else { exit::NEGATIVE }
}

/// The topology and its tests. What is wrong with them is printed; what is given is the exit code.
fn read(args: &TestArgs) -> Result<(Topology, Vec<Case>), u8> {
    let file = args.file.display().to_string();
    let text = text_of(&args.file, "")?;
    let options = LoadOptions { variables: Variables::optional(environment()), ..LoadOptions::default() };
    let topology = load(&file, &text, &options).map(|loaded| loaded.topology).map_err(|findings| {
        complain(&render(&findings, &text));
        exit::NEGATIVE
    })?;
    let tests = beside(&args.file);
    let text = text_of(&tests, ". Tests of a topology lie beside it; topologies/first-agent.test.yaml shows how")?;
    let cases = load_cases(&tests.display().to_string(), &text, &topology).map_err(|findings| {
        complain(&render(&findings, &text));
        exit::NEGATIVE
    })?;
    Ok((topology, cases))
}

fn text_of(file: &Path, hint: &str) -> Result<String, u8> {
    std::fs::read_to_string(file).map_err(|error| {
        complain(&format!("{} cannot be read: {error}{hint}", file.display()));
        exit::UNAVAILABLE
    })
}

/// The screens of those that failed, then the count.
fn as_text(topology: &Topology, tests: &str, verdicts: &[Verdict], left_out: usize) -> String {
    let mut out = String::new();
    let failed: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.passed()).collect();
    for verdict in &failed {
        out.push_str(&screen(topology, tests, verdict));
        out.push('\n');
    }
    let passed = verdicts.len() - failed.len();
    let mut counts = vec![format!("{passed} passed")];
    if !failed.is_empty() {
        counts.push(format!("{} failed", failed.len()));
    }
    if left_out > 0 {
        counts.push(format!("{left_out} left out"));
    }
    let mark = if failed.is_empty() { '✓' } else { '✗' };
    out.push_str(&format!("{mark} {}   {tests}\n", counts.join(", ")));
    out
}
