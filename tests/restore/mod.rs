//! The restore on real brokers: whatever happened to changelog and store, the store is the fold of what is committed.

mod bench;
mod state_command;

use bench::{Bench, FUNNEL, LIMIT, SESSION, wait_done, wait_failed};
use headwater::clock;
use rdkafka::producer::Producer;
use state_command::the_last_committed_state_of_a_key_can_be_looked_at;

use crate::{
    e2e::{OnDevelopmentBroker, apache_kafka},
    support::{
        topics,
        wait::{say, wait_until},
        world::{Cluster, cases},
    },
};

cases! { on_the_development_broker, OnDevelopmentBroker::start() =>
    a_restored_store_is_the_fold_of_what_is_committed
    an_open_transaction_is_waited_for_and_counts_if_it_commits
    an_open_transaction_is_waited_for_and_leaves_no_trace_if_it_aborts
    a_second_restore_goes_on_where_the_first_one_ended
    a_store_that_the_log_has_left_behind_is_built_anew
    a_recreated_topic_is_read_from_its_beginning
    a_missing_topic_and_a_missing_partition_say_what_to_do
    a_later_job_replaces_an_earlier_one_and_a_cancelled_one_never_ends
    a_restore_that_was_broken_off_goes_on_where_it_stopped
    a_broker_that_is_away_is_waited_for
    two_hundred_thousand_records_are_restored
    the_last_committed_state_of_a_key_can_be_looked_at
}
cases! { on_apache_kafka, apache_kafka() =>
    a_restored_store_is_the_fold_of_what_is_committed
    an_open_transaction_is_waited_for_and_counts_if_it_commits
    an_open_transaction_is_waited_for_and_leaves_no_trace_if_it_aborts
    a_second_restore_goes_on_where_the_first_one_ended
    a_store_that_the_log_has_left_behind_is_built_anew
    a_recreated_topic_is_read_from_its_beginning
    a_missing_topic_and_a_missing_partition_say_what_to_do
    a_later_job_replaces_an_earlier_one_and_a_cancelled_one_never_ends
    a_restore_that_was_broken_off_goes_on_where_it_stopped
    two_hundred_thousand_records_are_restored
    the_last_committed_state_of_a_key_can_be_looked_at
}

const COMPACT: &[(&str, &str)] = &[("cleanup.policy", "compact")];
const WINDOWED: &[(&str, &str)] = &[("cleanup.policy", "compact,delete")];

fn a_restored_store_is_the_fold_of_what_is_committed(cluster: impl Cluster) {
    let mut bench = Bench::new(&cluster, COMPACT);
    let producer = bench.producer("a");
    let mut last = std::collections::BTreeMap::new();
    for round in 0..40 {
        let entries: Vec<(String, Option<String>)> = (0..fastrand::usize(1..20))
            .map(|_| (format!("u{}", fastrand::u8(..30)), fastrand::bool().then(|| format!("round {round}"))))
            .collect();
        let entries: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let commit = fastrand::u8(..3) > 0;
        bench.write(&producer, round % 2, &entries, commit);
        if commit {
            for (key, value) in entries {
                last.insert((round % 2, key.to_owned()), value.map(str::to_owned));
            }
        }
    }
    // The last thing in the log is an abort.
    bench.write(&producer, 0, &[("u1", Some("never"))], false);
    bench.write(&producer, 1, &[("u1", Some("never"))], false);
    let restored = bench.restore(&[0, 1, 2]);
    for partition in 0..2 {
        let fold = bench.fold(SESSION, partition);
        for user in 0..30 {
            let key = format!("u{user}");
            let expected = last.get(&(partition, key.clone())).cloned().flatten();
            assert_eq!(restored.value(partition, &key), expected, "{key} in {partition}");
            assert_eq!(fold.get(&key), expected.as_ref(), "{key} in {partition}: the test's own book");
        }
    }
    assert!(restored.partition(2).position(SESSION).is_some(), "an empty partition is done as well");
}

/// A restore under way while a transaction is open: its end, one way or the other, is the value of the key.
fn open_transaction(cluster: impl Cluster, commit: bool) {
    let bench = Bench::new(&cluster, COMPACT);
    let (producer, hanging) = (bench.producer("a"), bench.producer("b"));
    bench.write(&producer, 0, &[("u1", Some("before")), ("u2", Some("before"))], true);
    hanging.begin_transaction().expect("begin");
    bench.send(&hanging, SESSION, 0, &[("u1", Some("hanging"))]);
    bench.write(&producer, 0, &[("u2", Some("behind it"))], true);

    let store = bench.store();
    let restorer = bench.restorer(&store);
    restorer.begin(0, 7);
    let waits = || restorer.progress().iter().any(|progress| progress.is_waiting);
    wait_until(LIMIT, waits, || format!("{:?}", restorer.progress()));
    assert!(!restorer.is_done(0, 7).expect("no failure"));
    match commit {
        true => hanging.commit_transaction(LIMIT).expect("commit"),
        false => hanging.abort_transaction(LIMIT).expect("abort"),
    }
    wait_done(&restorer, 0, 7);
    let restored = bench::Restored { store, _restorer: restorer };
    assert_eq!(restored.value(0, "u1").as_deref(), Some(if commit { "hanging" } else { "before" }));
    assert_eq!(restored.value(0, "u2").as_deref(), Some("behind it"));
}

fn an_open_transaction_is_waited_for_and_counts_if_it_commits(cluster: impl Cluster) {
    open_transaction(cluster, true);
}

fn an_open_transaction_is_waited_for_and_leaves_no_trace_if_it_aborts(cluster: impl Cluster) {
    open_transaction(cluster, false);
}

fn a_second_restore_goes_on_where_the_first_one_ended(cluster: impl Cluster) {
    let mut bench = Bench::new(&cluster, COMPACT);
    let producer = bench.producer("a");
    bench.write(&producer, 0, &[("u1", Some("1")), ("u2", Some("1"))], true);
    let first = bench.restore(&[0]);
    first.haunt(0);
    let at = first.partition(0).position(SESSION).expect("restored");
    drop(first);
    bench.write(&producer, 0, &[("u1", Some("2")), ("u2", None), ("u3", Some("2"))], true);
    let second = bench.restore(&[0]);
    assert!(second.is_haunted(0), "it was read from the beginning");
    let values = ["u1", "u2", "u3"].map(|key| second.value(0, key));
    assert_eq!(values, [Some("2".to_owned()), None, Some("2".to_owned())]);
    assert!(second.partition(0).position(SESSION).expect("restored").offset >= at.offset + 4);
    drop(second);
    assert!(bench.restore(&[0]).is_haunted(0), "nothing new");
}

fn a_store_that_the_log_has_left_behind_is_built_anew(cluster: impl Cluster) {
    let mut bench = Bench::new(&cluster, WINDOWED);
    let producer = bench.producer("a");
    bench.write(&producer, 0, &[("old", Some("1")), ("u1", Some("1"))], true);
    let first = bench.restore(&[0]);
    first.haunt(0);
    drop(first);
    for round in 2..5 {
        bench.write(&producer, 0, &[("u1", Some(&round.to_string()))], true);
    }
    bench.delete_before(SESSION, 0, 6);
    let second = bench.restore(&[0]);
    assert!(!second.is_haunted(0), "what the log no longer has may be out of date");
    assert_eq!((second.value(0, "old"), second.value(0, "u1").as_deref()), (None, Some("4")));
}

fn a_recreated_topic_is_read_from_its_beginning(cluster: impl Cluster) {
    let mut bench = Bench::new(&cluster, COMPACT);
    bench.write(&bench.producer("a"), 0, &[("old", Some("1")), ("u1", Some("1"))], true);
    let first = bench.restore(&[0]);
    first.haunt(0);
    drop(first);
    bench.recreate(SESSION);
    // Longer than what the store knows: offsets alone would not tell.
    let producer = bench.producer("b");
    for round in 0..5 {
        bench.write(&producer, 0, &[("u1", Some(&format!("new {round}")))], true);
    }
    let second = bench.restore(&[0]);
    assert!(!second.is_haunted(0));
    assert_eq!((second.value(0, "old"), second.value(0, "u1").as_deref()), (None, Some("new 4")));
}

fn a_missing_topic_and_a_missing_partition_say_what_to_do(cluster: impl Cluster) {
    let bench = Bench::without_topics(cluster.bootstrap());
    let store = bench.store();
    let restorer = bench.restorer(&store);
    restorer.begin(0, 1);
    let error = wait_failed(&restorer, 0, 1).to_string();
    assert_eq!(error, format!("HW504 topic {} does not exist. Run `headwater apply`", bench.topic(SESSION)));

    for table in [SESSION, FUNNEL] {
        topics::create(cluster.bootstrap(), &[(&bench.topic(table), 1)]);
    }
    restorer.begin(0, 2);
    wait_done(&restorer, 0, 2);
    restorer.begin(4, 3);
    let error = wait_failed(&restorer, 4, 3).to_string();
    assert!(error.contains("has 1 partitions and none with number 4"), "{error}");
}

/// Numbered values of so many keys, in transactions of 1,000 with an abort now and then.
fn fill(bench: &Bench, partition: i32, records: usize, keys: usize) {
    let producer = bench.producer("filler");
    let padding = "x".repeat(200);
    for transaction in 0..records / 1_000 {
        let number = |index: usize| transaction * 1_000 + index;
        let entries: Vec<(String, String)> = (0..1_000)
            .map(|index| (format!("u{}", number(index) % keys), format!("{} {padding}", number(index))))
            .collect();
        let entries: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
        bench.write(&producer, partition, &entries, true);
        if transaction % 10 == 0 {
            bench.write(&producer, partition, &[("u0", Some("never"))], false);
        }
    }
}

fn a_later_job_replaces_an_earlier_one_and_a_cancelled_one_never_ends(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, COMPACT);
    fill(&bench, 0, 5_000, 1_000);
    let store = bench.store();
    let restorer = bench.restorer(&store);
    restorer.begin(0, 1);
    restorer.begin(0, 2);
    restorer.begin(1, 3);
    restorer.cancel(1);
    wait_done(&restorer, 0, 2);
    assert!(!restorer.is_done(0, 1).expect("no failure"), "the earlier one");
    assert!(!restorer.is_done(1, 3).expect("no failure"), "the cancelled one");
    assert!(restorer.progress().is_empty());
    // What was restored before stays, and the next job has nothing to do but to look.
    restorer.cancel(0);
    restorer.begin(0, 4);
    wait_done(&restorer, 0, 4);
    let restored = bench::Restored { store, _restorer: restorer };
    assert!(restored.value(0, "u999").is_some_and(|value| value.starts_with("4999 ")));
}

fn a_restore_that_was_broken_off_goes_on_where_it_stopped(cluster: impl Cluster) {
    let mut bench = Bench::new(&cluster, COMPACT);
    fill(&bench, 0, 60_000, 20_000);
    {
        let store = bench.store();
        let restorer = bench.restorer(&store);
        restorer.begin(0, 1);
        let has_begun = || restorer.progress().iter().any(|progress| progress.restored > 0);
        wait_until(LIMIT, has_begun, || "it does not begin".to_owned());
    }
    let at = bench.store().partition(0).expect("the partition").position(SESSION).expect("some of it").offset;
    assert!(at > 0);
    let restored = bench.restore(&[0]);
    for key in 0..20_000 {
        let value = restored.value(0, &format!("u{key}")).expect("each key is there");
        assert!(value.starts_with(&format!("{} ", 40_000 + key)), "u{key} broken off at {at}: {}", &value[..20]);
    }
}

fn a_broker_that_is_away_is_waited_for(cluster: impl Cluster) {
    let bench = Bench::new(&cluster, COMPACT);
    bench.write(&bench.producer("a"), 0, &[("u1", Some("1"))], true);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let mut away = bench.settings.clone();
    away.bootstrap_servers = format!("127.0.0.1:{port}");
    let store = bench.store();
    let restorer = bench.restorer_at(&away, &store);
    restorer.begin(0, 1);
    for _ in 0..3 {
        drop(listener.accept().expect("a connection, in vain"));
    }
    assert!(!restorer.is_done(0, 1).expect("no failure, however often it tries"));
    relay(listener, cluster.bootstrap().to_owned());
    wait_done(&restorer, 0, 1);
    let restored = bench::Restored { store, _restorer: restorer };
    assert_eq!(restored.value(0, "u1").as_deref(), Some("1"));
}

/// From now on passes everything on, until the process ends.
fn relay(listener: std::net::TcpListener, upstream: String) {
    let pass = |mut from: std::net::TcpStream, mut to: std::net::TcpStream| {
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let broker = std::net::TcpStream::connect(&upstream).expect("the broker is there");
            pass(client.try_clone().expect("a handle"), broker.try_clone().expect("a handle"));
            pass(broker, client);
        }
    });
}

fn two_hundred_thousand_records_are_restored(cluster: impl Cluster) {
    const RECORDS: usize = 200_000;
    const KEYS: usize = 50_000;
    let mut bench = Bench::new(&cluster, COMPACT);
    fill(&bench, 0, RECORDS, KEYS);
    let started = clock::now();
    let restored = bench.restore(&[0]);
    let took = started.elapsed();
    say(&format!("restored {RECORDS} records in {took:?}: {:.0}/s", RECORDS as f64 / took.as_secs_f64()));
    for key in 0..KEYS {
        let value = restored.value(0, &format!("u{key}")).expect("each key is there");
        assert!(value.starts_with(&format!("{} ", RECORDS - KEYS + key)), "u{key}: {}", &value[..20]);
    }
}
