//! What an event costs each agent, and what each keeps of a person. One thread, no Kafka, nobody asked.
//!
//! ```text
//! 2,000 events ─▶ agent 1: start, run, state as JSON ─▶ agent 2: … ─▶ the next 2,000
//!                 └──────── timed as one ──────────┘
//! ```

use std::{collections::HashMap, fmt::Write as _, io::Write as _, sync::Arc, time::Duration};

use headwater::{
    agent::{self, Decoded, Step},
    clock,
    dev::traffic::Traffic,
    event::{Origin, Part, Record},
    rehearse::TEST_PLACES,
    service::Services,
    topology::{LoadOptions, Variables, load, plan_refusals},
};

use crate::Outcome;

const TOPOLOGY: &str = include_str!("agents.yaml");
/// The same in every run.
const SEED: u64 = 0x10AD;
const EVENTS: usize = 200_000;
const PEOPLE: u32 = 10_000;
/// 2026-03-01, and how long all events take: 200,000 in fourteen days.
const START_MS: i64 = 1_772_323_200_000;
const EVERY: Duration = Duration::from_millis(14 * 86_400_000 / EVENTS as u64);
/// Events that an agent gets in one go: few enough for caches, many enough for the clock.
const CHUNK: usize = 2_000;

/// What is measured of one agent.
struct Measured {
    spent: Duration,
    states: Vec<(Decoded, Box<[u8]>)>,
    /// Of all that it wrote.
    writes: u64,
    written_bytes: u64,
}

/// The table.
pub fn run() -> Outcome<String> {
    let mut places = tempfile::NamedTempFile::new()?;
    places.write_all(TEST_PLACES)?;
    let variables = Variables::required([("GEOIP_DB".to_owned(), places.path().display().to_string())]);
    let options = LoadOptions { variables, ..LoadOptions::default() };
    let said = |faults: Vec<_>| faults.iter().map(|fault| format!("{fault:?}\n")).collect::<String>();
    let topology = load("agents.yaml", TOPOLOGY, &options).map_err(said)?.topology;
    let refused = plan_refusals(&topology);
    if !refused.is_empty() {
        return Err(said(refused).into());
    }
    let agents = agent::build(&topology, &Services::build(&topology)?)?;

    let mut people: HashMap<Arc<str>, usize> = HashMap::new();
    let mut measured: Vec<Measured> = agents.iter().map(|_| Measured::new()).collect();
    let mut traffic = Traffic::new(SEED, PEOPLE).events(START_MS, EVERY).zip(1..);
    for _ in 0..EVENTS / CHUNK {
        let mut records: Vec<(usize, Record)> = traffic
            .by_ref()
            .take(CHUNK)
            .map(|(event, offset)| {
                let key = event.user_id.clone().or_else(|| event.anonymous_id.clone()).unwrap_or_default();
                let next = people.len();
                let person = *people.entry(key).or_insert(next);
                let origin = Origin { offset, events_offset: offset, events_tag: 1, ..Origin::default() };
                let parts = vec![Part::default(); agents.len()];
                (person, Record { event, received_at_ms: i64::MAX, origin, parts, ..Record::default() })
            })
            .collect();
        for (index, (agent, measured)) in agents.iter().zip(&mut measured).enumerate() {
            if let Some(ordered) = agent.ordered() {
                measured.states.resize_with(people.len(), || (ordered.decode(None), Box::default()));
            }
            let start = clock::now();
            for (person, record) in &mut records {
                record.parts[index] = match (agent.start(record), agent.ordered()) {
                    (Step::Ordered(part), Some(ordered)) => {
                        let (state, written) = &mut measured.states[*person];
                        let mut value = Vec::new();
                        let ran = ordered.run(record, part, state, &mut value);
                        if ran.changed {
                            measured.writes += 1;
                            measured.written_bytes += value.len() as u64;
                            *written = value.into();
                        }
                        ran.part
                    }
                    (Step::Done(part), _) => part,
                    _ => return Err(format!("agent {index} asks somebody").into()),
                };
            }
            measured.spent += start.elapsed();
        }
    }

    let mut table = format!(
        "{EVENTS} events of {} people over 14 days; ns per event: start, run and, where it changed, the state as JSON\n\
         {:<12} {:>8} {:>9} {:>9} {:>7} {:>7} {:>7} {:>9}\n",
        people.len(),
        "agent",
        "ns/event",
        "written",
        "mean B",
        "p50 B",
        "p99 B",
        "max B",
        "decode ns"
    );
    for ((spec, agent), measured) in topology.agents.iter().zip(&agents).zip(&measured) {
        write!(table, "{:<12} {:>8.0}", spec.name, measured.spent.as_nanos() as f64 / EVENTS as f64)?;
        if let Some(ordered) = agent.ordered() {
            let mut sizes: Vec<usize> = measured.states.iter().map(|(_, written)| written.len()).collect();
            sizes.sort_unstable();
            let at = |share: f64| sizes[((sizes.len() - 1) as f64 * share) as usize];
            let start = clock::now();
            for (_, written) in measured.states.iter().filter(|(_, written)| !written.is_empty()) {
                if ordered.decode(Some(written)).is_unreadable {
                    return Err(format!("{}: its own state cannot be read", spec.name).into());
                }
            }
            let decode_ns = start.elapsed().as_nanos() as f64 / sizes.len().max(1) as f64;
            let mean = measured.written_bytes / measured.writes.max(1);
            let share = measured.writes as f64 * 100.0 / EVENTS as f64;
            let (middle, most, max) = (at(0.5), at(0.99), at(1.0));
            write!(table, " {share:>7.1} % {mean:>9} {middle:>7} {most:>7} {max:>7} {decode_ns:>9.0}")?;
        }
        table.push('\n');
    }
    Ok(table)
}

impl Measured {
    fn new() -> Self {
        Measured { spent: Duration::ZERO, states: Vec::new(), writes: 0, written_bytes: 0 }
    }
}
