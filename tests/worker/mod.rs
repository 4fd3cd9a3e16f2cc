//! The worker on real brokers, with a stage that does what its records say: panics, refused records, holds, bounds.

mod bench;
mod script;

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering::{Acquire, Release},
    time::Duration,
};

use bench::Bench;
use script::Script;

use crate::{
    e2e::{OnDevelopmentBroker, apache_kafka},
    support::world::{Cluster, cases},
};

cases! { on_the_development_broker, OnDevelopmentBroker::start() =>
    a_panic_anywhere_is_a_dead_letter_and_everything_else_comes_out_in_order
    a_record_that_the_broker_refuses_is_found_out_and_everything_else_comes_out_once
    no_more_events_are_under_way_than_allowed
    an_ordered_step_runs_in_the_keys_order_whatever_its_calls_do
    an_ordered_step_waits_for_the_keys_earlier_events_whatever_lies_between
    a_serial_stage_has_one_call_a_key_at_a_time
    what_is_held_back_keeps_its_partition_and_no_other
    a_stop_finishes_what_was_taken_in_and_the_next_life_goes_on_there
    records_that_retention_deleted_are_counted_and_passed_over
}
cases! { on_apache_kafka, apache_kafka() =>
    a_panic_anywhere_is_a_dead_letter_and_everything_else_comes_out_in_order
    a_record_that_the_broker_refuses_is_found_out_and_everything_else_comes_out_once
    a_stop_finishes_what_was_taken_in_and_the_next_life_goes_on_there
    records_that_retention_deleted_are_counted_and_passed_over
}

/// `count` records of three keys, each with its number, and these among them.
fn numbered(count: usize, special: &[(usize, &str)]) -> Vec<(String, String)> {
    (0..count)
        .map(|number| {
            let what = special.iter().find(|(at, _)| *at == number).map_or("plain", |(_, what)| what);
            (format!("key-{}", number % 3), format!("{what} {number}"))
        })
        .collect()
}

fn assert_order(out: &[(String, String)], expected: usize) {
    assert_eq!(out.len(), expected);
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, value) in out {
        let number: usize = value.split(' ').nth(1).expect("a number").parse().expect("a number");
        let before = last.insert(key, number);
        assert!(before.is_none_or(|before| before < number), "{key}: {number} after {before:?}");
    }
}

fn a_panic_anywhere_is_a_dead_letter_and_everything_else_comes_out_in_order(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[]);
    let places = ["panic-accept", "panic-start", "panic-future", "panic-finish", "panic-release"];
    let special: Vec<(usize, &str)> = places.iter().enumerate().map(|(index, what)| (40 * index + 20, *what)).collect();
    bench.send(&numbered(300, &special));
    let run = bench.run(Script::default(), 100);
    bench.wait_for(300);
    run.stop();
    assert_order(&bench.out(), 295);
    let letters = bench.dead_letters();
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|(code, message)| code == "HW610" && message.contains("on purpose")), "{letters:?}");
    assert_eq!(bench.stats.dead_letters.load(Acquire), 5);
}

fn a_record_that_the_broker_refuses_is_found_out_and_everything_else_comes_out_once(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[("max.message.bytes", "3000")]);
    bench.send(&numbered(2_000, &[(500, "huge"), (1_500, "huge")]));
    let run = bench.run(Script::default(), 100);
    bench.wait_for(2_000);
    run.stop();
    assert_order(&bench.out(), 1_998);
    let letters = bench.dead_letters();
    assert_eq!(letters.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), ["HW607", "HW607"], "{letters:?}");
}

fn no_more_events_are_under_way_than_allowed(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[]);
    let script = Script::default();
    let watch = script.watch.clone();
    bench.send(
        &numbered(400, &[]).into_iter().map(|(key, value)| (key, value.replace("plain", "slow"))).collect::<Vec<_>>(),
    );
    let run = bench.run(script, 7);
    bench.wait_for(400);
    run.stop();
    let most = watch.most.load(Acquire);
    assert!((2..=7 * bench::PARTITIONS as usize).contains(&most), "{most} at once");
    assert_order(&bench.out(), 400);
}

fn an_ordered_step_runs_in_the_keys_order_whatever_its_calls_do(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[]);
    let script = Script::default();
    let watch = script.watch.clone();
    let ordered = |(key, value): &(String, String)| (key.clone(), value.replace("plain", "ordered"));
    bench.send(&numbered(600, &[]).iter().map(ordered).collect::<Vec<_>>());
    let run = bench.run(script, 100);
    bench.wait_for(600);
    run.stop();
    assert_order(&bench.out(), 600);
    assert_order(&watch.ran.lock(), 600);
    let per_key = |answers: &[(String, String)], key: &str| -> Vec<String> {
        answers.iter().filter(|(of, _)| of == key).map(|(_, what)| what.clone()).collect()
    };
    let (answered, ran) = (watch.answered.lock(), watch.ran.lock());
    assert_ne!(per_key(&answered, "key-0"), per_key(&ran, "key-0"), "calls of one key did overtake each other");
}

fn an_ordered_step_waits_for_the_keys_earlier_events_whatever_lies_between(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[]);
    let script = Script::default();
    let watch = script.watch.clone();
    // Beside events that take the step: some that skip it, and some that end as dead letters before it.
    let between = ["ordered", "plain", "ordered", "panic-start", "ordered", "panic-future", "panic-accept"];
    let records: Vec<_> = (0..700)
        .map(|number| (format!("key-{}", number % 3), format!("{} {number}", between[number / 3 % between.len()])))
        .collect();
    bench.send(&records);
    let run = bench.run(script, 100);
    bench.wait_for(700);
    run.stop();
    let count = |kinds: &[&str]| {
        records.iter().filter(|(_, what)| kinds.contains(&what.split(' ').next().expect("a kind"))).count()
    };
    assert_order(&watch.ran.lock(), count(&["ordered"]));
    assert_order(&bench.out(), count(&["ordered", "plain"]));
}

fn a_serial_stage_has_one_call_a_key_at_a_time(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[]);
    let script = Script::default();
    let watch = script.watch.clone();
    bench.send(
        &numbered(90, &[]).into_iter().map(|(key, value)| (key, value.replace("plain", "slow"))).collect::<Vec<_>>(),
    );
    let run = bench.run(script::Serial(script), 100);
    bench.wait_for(90);
    run.stop();
    assert!(!watch.overlapped.load(Acquire), "two calls of one key at once");
    assert!((2..=3).contains(&watch.most.load(Acquire)), "different keys do run at once");
    assert_order(&bench.out(), 90);
}

fn what_is_held_back_keeps_its_partition_and_no_other(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[]);
    let script = Script::default();
    let watch = script.watch.clone();
    // The first record of one key waits; its partition with it.
    let mut records = numbered(300, &[]);
    records[0].1 = "hold 0".to_owned();
    let held = bench.partition(&records[0].0);
    let beside = records.iter().filter(|record| bench.partition(&record.0) == held).count();
    assert!(beside < 300, "the keys lie in more than one partition");
    bench.send(&records);
    let run = bench.run(script, 100);
    bench.wait_for(300 - beside);
    assert!(bench.out().iter().all(|(key, _)| bench.partition(key) != held));
    watch.lifted.store(true, Release);
    bench.wait_for(300);
    run.stop();
    assert_order(&bench.out(), 300);
    assert!(bench.dead_letters().is_empty());
}

fn a_stop_finishes_what_was_taken_in_and_the_next_life_goes_on_there(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[]);
    let slow: Vec<_> =
        numbered(500, &[]).into_iter().map(|(key, value)| (key, value.replace("plain", "slow"))).collect();
    bench.send(&slow[..300]);
    let run = bench.run(Script::default(), 20);
    bench.wait_for(20);
    run.stop();
    let (taken, released) = (bench.stats.taken.load(Acquire), bench.stats.released.load(Acquire));
    assert_eq!(taken, released, "nothing is left half done");
    assert_eq!(bench.out().len() as u64, released, "and all of it is committed");
    bench.send(&slow[300..]);
    let run = bench.run(Script::default(), 100);
    bench.wait_for(500);
    run.stop();
    assert_order(&bench.out(), 500);
    assert_eq!(bench.stats.taken.load(Acquire), 500, "nothing was done twice");
}

fn records_that_retention_deleted_are_counted_and_passed_over(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, &[]);
    bench.send(&numbered(100, &[]));
    let deleted = bench.delete_before(10);
    assert!(deleted > 0);
    let run = bench.run(Script::default(), 100);
    bench.wait_for(100 - deleted);
    crate::support::wait::wait_until(
        Duration::from_secs(60),
        || bench.stats.lost.load(Acquire) == deleted as u64,
        || format!("{:?}, deleted {deleted}", bench.stats),
    );
    run.stop();
    assert_order(&bench.out(), 100 - deleted);
}
