//! `headwater state`: what is known of one key.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat};
use clap::Args;
use serde_json::{Value, json};

use super::{complain, exit, print};
use crate::{
    clock,
    config::{Settings, environment},
    kafka::{admin::Admin, lookup::Found},
    ops::{StateOf, state_of, state_tables},
    topology::{LoadOptions, Topology, Variables, load, render},
};

/// After so long a person wants to know what is going on; and so often after that.
const PATIENCE: Duration = Duration::from_secs(2);

/// Show what an agent knows of one key: the last committed record of its changelog.
///
/// The key is that of the records: a user id, else an anonymous id. Besides agents there are the tables decide (repeats
/// and cooldowns of a person) and dedup (its keys are event ids). The changelog is read from its beginning, which takes
/// its time for a long one. Needs no secrets of the topology.
///
/// Exits with 0; with 1 if nothing is known of the key; with 2 if there is no such agent; with 3 if Kafka cannot be
/// used.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  headwater state topologies/campaign.yaml session u_1842\n  headwater state topologies/campaign.yaml dedup 5f0c9a1e --json"
)]
pub struct StateArgs {
    /// The topology file.
    topology: PathBuf,
    /// An agent's name, dedup or decide.
    table: String,
    /// The key.
    key: String,
    /// Print one JSON object: topic, partition, offset, time, value.
    #[arg(long)]
    json: bool,
    /// A file with settings (flat YAML) for what HEADWATER_… variables leave unset.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Runs the command and gives its exit code.
pub fn run(args: &StateArgs) -> u8 {
    super::log_to_stderr("warn");
    let topology = match topology(args) {
        Ok(topology) => topology,
        Err(code) => return code,
    };
    let tables = state_tables(&topology);
    let Some(table) = tables.iter().find(|table| *table.name == *args.table) else {
        let names: Vec<&str> = tables.iter().map(|table| &*table.name).collect();
        let there =
            if names.is_empty() { "It keeps no state".to_owned() } else { format!("There are: {}", names.join(", ")) };
        complain(&format!("no table \"{}\" in {}. {there}", args.table, topology.name));
        return exit::USAGE;
    };
    let settings = match Settings::load(environment(), args.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => {
            complain(&error.to_string());
            return exit::USAGE;
        }
    };
    super::blocking(async {
        let admin = match Admin::new(&settings) {
            Ok(admin) => admin,
            Err(error) => return super::unavailable(&error),
        };
        match state_of(&admin, table, &args.key, Arc::new(patient())).await {
            Ok(state) => answer(&state, args),
            Err(error) => super::unavailable(&error),
        }
    })
}

/// The topology, whose variables may be unset.
fn topology(args: &StateArgs) -> Result<Topology, u8> {
    let file = args.topology.display().to_string();
    let text = std::fs::read_to_string(&args.topology).map_err(|error| {
        complain(&format!("{file}: {error}"));
        exit::UNAVAILABLE
    })?;
    let options = LoadOptions { variables: Variables::optional(environment()), ..LoadOptions::default() };
    load(&file, &text, &options).map(|loaded| loaded.topology).map_err(|findings| {
        complain(&render(&findings, &text));
        exit::NEGATIVE
    })
}

/// Says on stderr how far it is, where it takes long.
fn patient() -> impl Fn(i32, u64, u64) + Send + Sync {
    let next = Mutex::new(clock::now() + PATIENCE);
    move |partition, read, total| {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        if clock::now() >= *next {
            *next = clock::now() + PATIENCE;
            complain(&format!("partition {partition}: {read} of {total} records read …"));
        }
    }
}

fn answer(state: &StateOf, args: &StateArgs) -> u8 {
    let found = state.found.as_ref();
    let value = found.and_then(|found| found.value.as_deref());
    match (args.json, found) {
        (true, _) => print(&format!("{}\n", as_json(state, &args.key))),
        (false, Some(found)) => {
            let value = value.map_or_else(|| "deleted".to_owned(), |value| format!("{:#}", readable(value)));
            print(&format!("{}-{}@{}  {}\n{value}\n", state.topic, found.partition, found.offset, time(found)));
        }
        (false, None) => complain(&format!("nothing is known of {} in {}", args.key, place(state))),
    }
    if value.is_some() { exit::OK } else { exit::NEGATIVE }
}

fn as_json(state: &StateOf, key: &str) -> Value {
    match &state.found {
        None => json!({ "topic": state.topic, "key": key, "found": false }),
        Some(found) => json!({
            "topic": state.topic,
            "key": key,
            "found": true,
            "partition": found.partition,
            "offset": found.offset,
            "time": time(found),
            "deleted": found.value.is_none(),
            "value": found.value.as_deref().map(readable),
        }),
    }
}

/// JSON as it is, other text as text, the rest as base64.
fn readable(value: &[u8]) -> Value {
    serde_json::from_slice(value)
        .or_else(|_| std::str::from_utf8(value).map(|text| json!(text)))
        .unwrap_or_else(|_| json!(STANDARD.encode(value)))
}

fn time(found: &Found) -> String {
    DateTime::from_timestamp_millis(found.at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn place(state: &StateOf) -> String {
    match &state.partitions[..] {
        [only] => format!("{}-{only}", state.topic),
        all => format!("the {} partitions of {}", all.len(), state.topic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_is_it_can_be_read() {
        assert_eq!(readable(br#"{"at":{"tag":7},"is":1}"#), json!({ "at": { "tag": 7 }, "is": 1 }));
        assert_eq!(readable(b"events.raw-3@99120"), json!("events.raw-3@99120"));
        assert_eq!(readable(b"\xff\x00"), json!("/wA="));
    }

    #[test]
    fn a_script_can_tell_found_from_deleted_and_from_unknown() {
        let found = Found { partition: 3, offset: 7, at_ms: 1_764_000_000_000, value: None };
        let mut state = StateOf { topic: "c.state.session".to_owned(), partitions: vec![3], found: Some(found) };
        let deleted = as_json(&state, "u1");
        assert_eq!((&deleted["found"], &deleted["deleted"]), (&json!(true), &json!(true)));
        assert_eq!(deleted["time"], "2025-11-24T16:00:00.000Z");
        state.found = None;
        assert_eq!(as_json(&state, "u1")["found"], false);
    }
}
