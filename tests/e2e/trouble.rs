//! Trouble with state: pods that come and go, a changelog that is deleted, a store that is damaged, a disk that is full.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use headwater::event::Event;

use super::{
    site::{LIMIT, OnDevelopmentBroker, Site, apache_kafka, stop},
    state::{KEPT, assert_same_memory, history, remembered, wait_for_ids},
};
use crate::support::{
    headwater::Headwater,
    topics,
    wait::{say, wait_until},
    world::{Cluster, cases},
};

cases! { on_the_development_broker, OnDevelopmentBroker::start() =>
    a_second_pod_joins_and_leaves_and_everybodys_state_is_that_of_an_undisturbed_run
    a_changelog_that_is_deleted_is_asked_for_and_begins_anew
    a_store_whose_files_are_damaged_is_rebuilt_and_says_so
    a_full_disk_ends_the_process_and_with_room_it_goes_on
}
cases! { on_apache_kafka, apache_kafka() =>
    a_second_pod_joins_and_leaves_and_everybodys_state_is_that_of_an_undisturbed_run
    a_changelog_that_is_deleted_is_asked_for_and_begins_anew
}

fn wait_for_progress(site: &Site, run: &Headwater, goal: i64) {
    wait_until(
        LIMIT,
        || site.reached("enriched") >= goal || !run.is_running(),
        || format!("{} of {goal}\n{}", site.reached("enriched"), run.stderr()),
    );
    assert!(run.is_running(), "{}", run.stderr());
}

/// What an undisturbed run remembers of these events.
fn undisturbed(cluster: &impl Cluster, placement: &str, events: &[Event]) -> Site {
    let site = Site::with(cluster, placement, Duration::ZERO, &[KEPT]);
    let run = site.run("pod-0", &[]);
    site.send_events(events.to_vec());
    assert!(site.settled(events.len(), &run).is_clean());
    stop(run);
    site
}

fn a_second_pod_joins_and_leaves_and_everybodys_state_is_that_of_an_undisturbed_run(cluster: impl Cluster) {
    const EVENTS: usize = 10_000;
    let events = history(51, EVENTS);
    let calm = undisturbed(&cluster, "placement: split", &events);
    // Calls that finish out of order, so that state is in memory far ahead of what is committed.
    let site = Site::with(&cluster, "placement: split", Duration::from_millis(100), &[KEPT]);
    let first = site.run("pod-0", &[]);
    site.send_events(events);
    wait_for_progress(&site, &first, EVENTS as i64 / 8);
    let second = site.run("pod-1", &[]);
    second.wait_for_output("partitions assigned", LIMIT);
    let seen = site.reached("enriched");
    assert!(seen < EVENTS as i64, "it joined too late to prove anything: {seen}");
    wait_for_progress(&site, &first, seen + EVENTS as i64 / 8);
    say(&format!("the second pod leaves at {} of {EVENTS}", site.reached("enriched")));
    stop(second);
    // And comes back to the copies that it left, which the first pod's commits have outrun meanwhile.
    wait_for_progress(&site, &first, site.reached("enriched") + EVENTS as i64 / 8);
    let second = site.run("pod-1", &[]);
    let verdict = site.settled(EVENTS, &first);
    assert!(verdict.is_clean() && verdict.enriched == EVENTS, "{verdict}\n{}", first.stderr());
    stop(second);
    stop(first);
    assert_same_memory(&remembered(&calm), &remembered(&site));
}

fn a_changelog_that_is_deleted_is_asked_for_and_begins_anew(cluster: impl Cluster) {
    let events = history(52, 800);
    let site = Site::with(&cluster, "placement: fused", Duration::ZERO, &[KEPT]);
    let run = site.run("pod-0", &[]);
    site.send_events(events[..400].to_vec());
    wait_for_ids(&site, &run, 400);
    stop(run);
    let before = remembered(&site);
    let topic = format!("{}.state.session", site.name);
    topics::delete(site.bootstrap(), &topic);
    let run = site.run("pod-0", &[]);
    let status = run.wait(LIMIT);
    let said = run.stderr();
    assert!(!status.success() && said.contains("HW504") && said.contains(&topic), "{status}\n{said}");
    assert!(said.contains("headwater apply"), "{said}");
    let applied = site.command(&["apply"], &["--partitions", "4", "--replication-factor", "1"]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let run = site.run("pod-0", &[]);
    run.wait_for_output("the topic was recreated", LIMIT);
    site.send_events(events[400..].to_vec());
    wait_for_ids(&site, &run, 800);
    stop(run);
    // Sessions begin anew; everything else goes on.
    let after = remembered(&site);
    let sum = |sessions: &std::collections::BTreeMap<String, serde_json::Value>| sessions.len();
    assert!(sum(&after["session"]) > 0 && sum(&after["session"]) < sum(&after["funnel"]), "sessions began anew");
    let kept = |table: &str| before[table].keys().all(|person| after[table].contains_key(person));
    assert!(kept("funnel") && kept("attribution"));
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => files_below(&path, found),
            path => found.push(path),
        }
    }
}

fn a_store_whose_files_are_damaged_is_rebuilt_and_says_so(cluster: impl Cluster) {
    let events = history(53, 1_200);
    let calm = undisturbed(&cluster, "placement: fused", &events);
    let site = Site::with(&cluster, "placement: fused", Duration::ZERO, &[KEPT]);
    let run = site.run("pod-0", &[]);
    site.send_events(events[..600].to_vec());
    wait_for_ids(&site, &run, 600);
    stop(run);
    let mut files = Vec::new();
    files_below(&site.state_dir(), &mut files);
    let mut flipped = 0;
    for file in files {
        let mut bytes = fs::read(&file).expect("its bytes");
        // Some in every part that holds anything.
        for at in (0..bytes.len()).step_by(97).filter(|at| bytes[*at] != 0).collect::<Vec<_>>() {
            bytes[at] ^= 0x55;
            flipped += 1;
        }
        fs::write(&file, bytes).expect("written");
    }
    assert!(flipped > 100, "{flipped}");
    let run = site.run("pod-0", &[]);
    run.wait_for_output("restored from the changelogs", LIMIT);
    site.send_events(events[600..].to_vec());
    wait_for_ids(&site, &run, 1_200);
    stop(run);
    assert_same_memory(&remembered(&calm), &remembered(&site));
}

fn a_full_disk_ends_the_process_and_with_room_it_goes_on(cluster: impl Cluster) {
    const EVENTS: usize = 3_000;
    let events = history(54, EVENTS);
    let calm = undisturbed(&cluster, "placement: fused", &events);
    let site = Site::with(&cluster, "placement: fused", Duration::ZERO, &[KEPT]);
    // Its journal is laid out at once and holds so much; what is full is the disk below it.
    let run = site.run_cramped("pod-0", 128 << 10);
    site.send_events(events);
    let status = run.wait(LIMIT);
    let said = run.stderr();
    assert!(!status.success() && said.contains("HW508 no space"), "{status}\n{said}");
    let run = site.run("pod-0", &[]);
    let verdict = site.settled(EVENTS, &run);
    assert!(verdict.is_clean() && verdict.enriched == EVENTS, "{verdict}\n{}", run.stderr());
    stop(run);
    assert_same_memory(&remembered(&calm), &remembered(&site));
}
