//! What the simulation proves, and that it would notice.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::{
    Flaw,
    log::{What, tail},
    plan::Plan,
    world::{self, Report},
};

/// Schedules of a default run.
const SCHEDULES: u64 = 3_000;
/// Within so many each flaw must show.
const PATIENCE: u64 = 3_000;

fn schedule(seed: u64, flaw: Flaw) -> Report {
    let mut rng = Rng::with_seed(seed);
    let plan = Plan::draw(&mut rng);
    world::run(rng, plan, flaw)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn demand(seed: u64, report: &Report) {
    if let Err(violation) = &report.result {
        panic!("seed {seed}: {}\n{}", violation.0, tail(&report.log, 60));
    }
}

#[test]
fn every_invariant_holds_in_every_schedule() {
    if let Some(seed) = number("HEADWATER_SIM_SEED") {
        return demand(seed, &schedule(seed, Flaw::None));
    }
    let mut met: BTreeMap<What, u64> = BTreeMap::new();
    for seed in 0..number("HEADWATER_SIM_SCHEDULES").unwrap_or(SCHEDULES) {
        let report = schedule(seed, Flaw::None);
        demand(seed, &report);
        for entry in &report.log {
            *met.entry(entry.what).or_default() += 1;
        }
    }
    // A fault that never happened proves nothing.
    for what in What::ALL {
        assert!(met.contains_key(what), "{what:?} never happened; what did: {met:?}");
    }
}

#[test]
fn one_seed_gives_one_log() {
    for seed in 0..50 {
        let (first, second) = (schedule(seed, Flaw::None), schedule(seed, Flaw::None));
        assert!(first.log == second.log, "seed {seed}\n{}\n---\n{}", tail(&first.log, 20), tail(&second.log, 20));
        assert!(!first.log.is_empty());
    }
}

#[test]
fn each_flaw_of_the_shell_is_noticed() {
    let flaws = [
        Flaw::LedgerApart,
        Flaw::NoFencing,
        Flaw::TaintIgnored,
        Flaw::AgainAfterDoubt,
        Flaw::OutOfOrder,
        Flaw::NoAssignmentCheck,
        Flaw::StaleBatchKept,
        Flaw::UncheckedMember,
        Flaw::GatheredKept,
        Flaw::StaleFarewell,
        Flaw::NoSolitude,
    ];
    for flaw in flaws {
        let noticed = (0..PATIENCE).any(|seed| schedule(seed, flaw).result.is_err());
        assert!(noticed, "{flaw:?} passes {PATIENCE} schedules");
    }
}

#[test]
fn where_only_records_kill_nothing_else_is_dead_lettered() {
    for seed in 0..SCHEDULES / 3 {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw_quiet(&mut rng);
        let report = world::run(rng, plan, Flaw::None);
        demand(seed, &report);
        assert_eq!(report.innocents, [], "seed {seed}\n{}", tail(&report.log, 600));
    }
}
