//! What is remembered of people: whatever happens to processes, groups and disks, it comes out as if nothing had.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use headwater::{dev::traffic::Traffic, event::Event};
use serde_json::Value as Json;

use super::site::{LIMIT, OnDevelopmentBroker, Site, apache_kafka, stop};
use crate::support::{
    headwater::Headwater,
    kafka::{has_tools, java_tool},
    topics::{self, Isolation},
    verifier::{at, text},
    wait::{say, wait_until},
    world::{Cluster, cases},
};

cases! { on_the_development_broker, OnDevelopmentBroker::start() =>
    an_event_that_comes_twice_counts_once
    a_group_that_is_reset_counts_nothing_twice_and_fires_nothing_twice
    a_volume_that_is_lost_is_rebuilt_from_the_changelogs
    a_second_pod_that_joins_and_leaves_changes_nobodys_state
}
cases! { on_apache_kafka, apache_kafka() =>
    an_event_that_comes_twice_counts_once
    a_group_that_is_reset_counts_nothing_twice_and_fires_nothing_twice
    a_volume_that_is_lost_is_rebuilt_from_the_changelogs
    a_second_pod_that_joins_and_leaves_changes_nobodys_state
    killed_three_times_everybodys_state_is_that_of_an_undisturbed_run
}

/// Triggers of old events are not to expire here.
pub const KEPT: (&str, &str) = ("    expires: 2h ", "    expires: 300d ");
/// Between two events of the stream.
const STEP_MS: i64 = 20_000;

/// So many events, over days: the same for the same seed, but for the day on which they end.
pub fn history(seed: u64, events: usize) -> Vec<Event> {
    // Midnight splits sessions: on whatever day a test runs, it is equally far away.
    let midnight_ms = headwater::clock::unix_ms() / 86_400_000 * 86_400_000;
    let start_ms = midnight_ms - events as i64 * STEP_MS;
    let mut traffic = Traffic::new(seed, 500);
    (0..events as i64).map(|index| traffic.next_event(start_ms + index * STEP_MS)).collect()
}

/// What the changelogs say of everybody, by table and key, without the places in topics of this run.
pub fn remembered(site: &Site) -> BTreeMap<String, BTreeMap<String, Json>> {
    let prefix = format!("{}.state.", site.name);
    let mut tables = BTreeMap::new();
    for topic in site.topics_with_prefix(&prefix) {
        let table = topic.trim_start_matches(&prefix).to_owned();
        if table == "dedup" {
            continue; // Nothing but places.
        }
        let mut fold = BTreeMap::new();
        for message in topics::read(site.bootstrap(), &topic, Isolation::Committed, LIMIT) {
            let key = String::from_utf8_lossy(message.key.as_deref().unwrap_or_default()).into_owned();
            let mut value: Json = serde_json::from_slice(message.value.as_deref().unwrap_or_default()).expect("JSON");
            value.as_object_mut().expect("an object").remove("at");
            fold.insert(key, value);
        }
        tables.insert(table, fold);
    }
    assert!(!tables.is_empty(), "there are changelogs");
    tables
}

/// The first difference between two memories, in words.
pub fn assert_same_memory(
    one: &BTreeMap<String, BTreeMap<String, Json>>,
    other: &BTreeMap<String, BTreeMap<String, Json>>,
) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (table, people) in one {
        for (person, state) in people {
            assert_eq!(Some(state), other[table].get(person), "{table} of {person}");
        }
        assert_eq!(people.len(), other[table].len(), "{table}");
    }
}

fn event_ids(site: &Site) -> Vec<String> {
    let records = site.verifier().values("enriched");
    records.iter().map(|(_, record)| text(at(at(record, "event"), "id")).expect("an id")).collect()
}

fn trigger_ids(site: &Site) -> Vec<String> {
    site.verifier().values("triggers").iter().map(|(_, trigger)| text(at(trigger, "id")).expect("an id")).collect()
}

pub fn wait_for_ids(site: &Site, run: &Headwater, count: usize) {
    wait_until(
        LIMIT,
        || !run.is_running() || event_ids(site).len() >= count,
        || format!("{} of {count}\n{}", event_ids(site).len(), run.stderr()),
    );
    assert!(run.is_running(), "{}", run.stderr());
}

fn an_event_that_comes_twice_counts_once(cluster: impl Cluster) {
    let site = Site::with(&cluster, "placement: split", Duration::ZERO, &[KEPT]);
    let run = site.run("pod-0", &["--report-every", "1"]);
    let events = history(31, 400);
    site.send_events(events.clone());
    wait_for_ids(&site, &run, 400);
    let before = remembered(&site);
    // Again, in another life as well, and something new behind it.
    site.send_events(events[..150].to_vec());
    run.wait_for_output("duplicates 150", LIMIT);
    stop(run);
    let run = site.run("pod-0", &["--report-every", "1"]);
    site.send_events(events[100..300].to_vec());
    run.wait_for_output("duplicates 200", LIMIT);
    let ids = event_ids(&site);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (400, 400));
    assert_same_memory(&before, &remembered(&site));
    stop(run);
}

fn a_group_that_is_reset_counts_nothing_twice_and_fires_nothing_twice(cluster: impl Cluster) {
    if !has_tools() {
        return; // Said by has_tools.
    }
    let site = Site::with(&cluster, "placement: split", Duration::ZERO, &[KEPT]);
    let run = site.run("pod-0", &[]);
    site.send_events(history(32, 1_000));
    wait_for_ids(&site, &run, 1_000);
    stop(run);
    let (memory, mut triggers) = (remembered(&site), trigger_ids(&site));
    triggers.sort();
    assert!(!triggers.is_empty());
    let mut expected = 1_000;
    // What is reset first is written into the later topics once more, hence twice over by the second.
    for (group, topic, again) in [
        (format!("{}.events", site.name), format!("{}.events", site.name), 1_000),
        (format!("{}.sentiment", site.name), format!("{}.sentiment", site.name), 2_000),
        (format!("{}.intake", site.name), site.raw.clone(), 1_000),
    ] {
        let reset = ["--reset-offsets", "--group", &group, "--topic", &topic, "--to-earliest", "--execute"];
        let done =
            java_tool(site.bootstrap(), "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &reset, "")
                .expect("the tool");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let run = site.run("pod-0", &[]);
        expected += again;
        wait_for_ids(&site, &run, expected);
        stop(run);
        assert_same_memory(&memory, &remembered(&site));
        let mut after = trigger_ids(&site);
        after.sort();
        assert_eq!(triggers, after, "{group} was reset");
    }
    let ids = event_ids(&site);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (expected, 1_000), "the same events again");
}

fn a_volume_that_is_lost_is_rebuilt_from_the_changelogs(cluster: impl Cluster) {
    let events = history(33, 1_200);
    let of = |lose: bool| {
        let site = Site::with(&cluster, "placement: fused", Duration::ZERO, &[KEPT]);
        let run = site.run("pod-0", &[]);
        site.send_events(events[..600].to_vec());
        wait_for_ids(&site, &run, 600);
        stop(run);
        if lose {
            std::fs::remove_dir_all(site.state_dir()).expect("there was a store");
        }
        let run = site.run("pod-0", &[]);
        site.send_events(events[600..].to_vec());
        wait_for_ids(&site, &run, 1_200);
        stop(run);
        remembered(&site)
    };
    assert_same_memory(&of(false), &of(true));
}

fn a_second_pod_that_joins_and_leaves_changes_nobodys_state(cluster: impl Cluster) {
    const EVENTS: usize = 3_000;
    let events = history(35, EVENTS);
    let calm = Site::with(&cluster, "placement: fused", Duration::ZERO, &[KEPT]);
    let run = calm.run("pod-0", &[]);
    calm.send_events(events.clone());
    assert!(calm.settled(EVENTS, &run).is_clean());
    stop(run);

    let site = Site::with(&cluster, "placement: fused", Duration::from_millis(40), &[KEPT]);
    let first = site.run("pod-0", &[]);
    site.send_events(events[..1_500].to_vec());
    wait_until(LIMIT, || site.reached("enriched") > 300, || first.stderr());
    // Partitions go to the other pod while their people are in memory here, and come back later.
    let second = site.run("pod-1", &[]);
    second.wait_for_output("partitions assigned", LIMIT);
    site.send_events(events[1_500..].to_vec());
    wait_until(LIMIT, || site.reached("enriched") > 2_000, || first.stderr());
    stop(second);
    let verdict = site.settled(EVENTS, &first);
    assert!(verdict.is_clean(), "{verdict}\n{}", first.stderr());
    stop(first);
    assert_same_memory(&remembered(&calm), &remembered(&site));
    let mut triggers = [trigger_events(&calm), trigger_events(&site)];
    triggers.iter_mut().for_each(|of| of.sort());
    assert_eq!(triggers[0], triggers[1]);
}

/// Campaign and event of each trigger.
fn trigger_events(site: &Site) -> Vec<(String, String)> {
    let of = |trigger: &apache_avro::types::Value, name| text(at(trigger, name)).expect("a text");
    let triggers = site.verifier().values("triggers");
    triggers.iter().map(|(_, trigger)| (of(trigger, "campaign"), of(trigger, "event_id"))).collect()
}

fn killed_three_times_everybodys_state_is_that_of_an_undisturbed_run(cluster: impl Cluster) {
    const EVENTS: usize = 20_000;
    let events = history(34, EVENTS);
    let site = |latency| Site::with(&cluster, "placement: split", Duration::from_millis(latency), &[KEPT]);
    let calm = site(0);
    let run = calm.run("pod-0", &[]);
    calm.send_events(events.clone());
    assert!(calm.settled(EVENTS, &run).is_clean());
    stop(run);
    // Calls that finish out of order, so that state is in memory far ahead of what is committed.
    let site = site(100);
    let mut run = site.run("pod-0", &[]);
    site.send_events(events);
    for kill in 1..=3i64 {
        let goal = kill * EVENTS as i64 / 6;
        wait_until(
            LIMIT,
            || site.reached("enriched") >= goal || !run.is_running(),
            || format!("{} of {goal}\n{}", site.reached("enriched"), run.stderr()),
        );
        assert!(run.is_running(), "{}", run.stderr());
        say(&format!("killed for the {kill}. time at {} of {EVENTS}", site.reached("enriched")));
        run.kill9();
        run = site.run("pod-0", &[]);
    }
    let verdict = site.settled(EVENTS, &run);
    assert!(verdict.is_clean(), "{verdict}\n{}", run.stderr());
    stop(run);
    assert_same_memory(&remembered(&calm), &remembered(&site));
}
